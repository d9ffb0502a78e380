"""Create pre-training shards from text files: all steps. Does not import paddle.

output_dir/.NAME_spool/           work folder, temporary: text of each shard, plan, vocabulary
output_dir/NAME_training_0.hdf5   a shard; the file appears only when it is complete
output_dir/vocab.txt              (and tokenizer_config.json) the vocabulary of the shards' ids
output_dir/NAME_metadata.json     settings, inputs and statistics of the shards; written last
"""

import json
import os
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, error_exit
from bert_paddle.common.errors import RunError
from bert_paddle.common.flag_fields import OnResume, flags_with
from bert_paddle.common.printed_lines import print_line
from bert_paddle.models.tokenizer import TOKENIZER_JSON_FILE, VOCAB_FILE, Tokenizer, load_tokenizer
from bert_paddle.pretrain.create import (
    file_layouts,
    partition,
    result_checks,
    segmenter,
    tokenizer_files,
    workers,
)
from bert_paddle.pretrain.create.args import CreateArgs
from bert_paddle.pretrain.create.compressed_files import SUFFIXES
from bert_paddle.pretrain.create.documents import LINES, TextFormat, read_documents
from bert_paddle.pretrain.create.examples import ShardJob
from bert_paddle.pretrain.create.input_files import (
    VOCAB_FLAG,
    FoundFiles,
    InputFile,
    ReservedPaths,
    find_files,
)
from bert_paddle.pretrain.create.output_dir import ShardOutputDir
from bert_paddle.pretrain.create.recipe import Recipe
from bert_paddle.pretrain.create.shard_metadata import build_metadata, summarize
from bert_paddle.pretrain.data import masking, schema

SHARD_BYTES = 64_000_000  # text per training shard when --shards is not given
_COMPRESSION_RATIO = 3  # approximate size of text relative to its compressed file
# Flags in `_describe_reading`, where they make a difference.
_DESCRIBED_READING = ("document_format", "text_field", "encoding_errors")
FORMAT_VERSION = 1  # to be incremented whenever the same flags and seed produce different rows


def run(args: CreateArgs) -> None:
    """Create the shards, or those that an interrupted run has not completed.

    Raises UserError for unusable flags, inputs or output folders, RunError for failures while
    writing.
    """
    start_time = time.monotonic()
    segmenter.load_segmenter(args.segmenter)  # report a missing package before any work
    output = ShardOutputDir(Path(args.output_dir), args.corpus)
    found = _find_inputs(args, output)
    tokenizer = tokenizer_from_flags(args)
    for message in tokenizer.messages:
        _log(message)
    recipe = Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)})
    made_from = {
        "format": FORMAT_VERSION,
        "recipe": recipe.as_recorded(),
        "form": args.form,
        "language": args.language,
        "shards": args.shards,
        "test_share": args.test_share,
        "test_shards": args.test_shards,
        "vocabulary": tokenizer_files.describe(tokenizer),
        "inputs": [_describe_file(file.path) for file in found.files],
        **_describe_reading(found.files, args.text_format),
    }
    made_from |= _other_flags(args, {*made_from, *made_from["recipe"]})
    masking.replacement_ids(tokenizer.vocab)  # raises an error if there are none
    try:
        output.check_vocabulary(tokenizer)
        if not output.prepare(made_from, args.overwrite_output_dir):
            _log(f"{output.path}: all shards of {args.corpus} exist already; nothing to do")
            return
        counts = output.load_plan() or _partition_input(args, found.files, tokenizer, output)
        output.save_vocabulary(tokenizer)
        complete = output.complete_shards(counts)
        cache_key = json.dumps(made_from["vocabulary"])
        jobs = _shard_jobs(output, counts, set(complete), cache_key, recipe)
        total, sentences = len(complete) + len(jobs), 0
        if complete:
            _log(f"resuming: {len(complete)} of {total} shards are complete")
        for shard_counts in workers.run_jobs(jobs, args.workers, args.scheduler):
            name = shard_counts.name
            complete[name] = asdict(shard_counts)
            output.save_statistics(complete[name])
            sentences += shard_counts.sentences
            _log(f"{name}: {shard_counts.rows:,} rows ({len(complete)} of {total} shards)")
        shards = [complete[name] for name in output.shard_names(counts)]
        metadata = build_metadata(made_from, counts, shards)
        warnings = result_checks.check_result(metadata, counts, tokenizer, args)
        output.finish(metadata)
    except OSError as error:
        place = error_exit.target_path(error) if error.filename else output.path
        cause = "the disk is full: " if error_exit.is_disk_full(error) else ""
        reason = f"{cause}{place}: {error.strerror or error}"
        way_out = "fix that and run the same command again: complete shards are kept"
        raise RunError(f"{reason}; {way_out}") from error
    for warning in warnings:
        _warn(warning)
    _log(summarize(metadata, total, sentences, time.monotonic() - start_time, output.path))


def _find_inputs(args: CreateArgs, output: ShardOutputDir) -> FoundFiles:
    """The input files, said in one line or two. Raises OutputError for an input that this command
    writes."""
    vocabulary = args.vocabulary_path()
    files = [vocabulary]
    if vocabulary.is_dir():
        files = [vocabulary / VOCAB_FILE, vocabulary / TOKENIZER_JSON_FILE]
    reserved = ReservedPaths(
        output.path,
        output.work_dir,
        output.written_files(),
        [(path, VOCAB_FLAG) for path in files],
    )
    found = find_files(args.inputs, args.document_format, reserved)
    for line in found.describe(args.text_format.form_of):
        _log(line)
    return found


def _describe_reading(files: Sequence[InputFile], text_format: TextFormat) -> dict[str, Any]:
    """What the text depends on beside --form, for the metadata: empty for plain text as earlier
    versions read it, whose shards stay valid."""
    reading: dict[str, Any] = {}
    if text_format.document_format != "auto":
        reading["document_format"] = text_format.document_format
    layouts = sorted({file.layout for file in files} - {file_layouts.PLAIN})
    if layouts:
        reading["layouts"] = {layout: text_format.form_of(layout) for layout in layouts}
    if file_layouts.JSON_LINES in layouts:
        reading["text_field"] = text_format.text_field
    if text_format.encoding_errors != "strict":
        reading["encoding_errors"] = text_format.encoding_errors
    return reading


def _other_flags(args: CreateArgs, recorded: Collection[str]) -> dict[str, Any]:
    """The flags on which the shards depend and that are not recorded otherwise, for the metadata:
    only those that are not at their default, since earlier versions did not have them."""
    return {
        field.name: value
        for field in flags_with(type(args), on_resume=OnResume.FIXED)
        if field.name not in {*recorded, *_DESCRIBED_READING}
        and (value := getattr(args, field.name)) != field.default
    }


def tokenizer_from_flags(args: CreateArgs) -> Tokenizer:
    """The tokenizer of --vocab_file, with the do_lower_case of the flag if it is given.

    Raises WeightsError for an unusable vocabulary.
    """
    path = args.vocabulary_path()
    if path.is_dir():
        return load_tokenizer(path, None, args.do_lower_case)
    return load_tokenizer(path.parent, str(path), args.do_lower_case)


def _partition_input(
    args: CreateArgs, inputs: Sequence[InputFile], tokenizer: Tokenizer, output: ShardOutputDir
) -> dict[str, partition.SplitCounts]:
    """Read all input and write the text of each shard into the work folder; returns the counts of
    the training and the test set."""
    test_share = args.test_share
    shards = args.shards if args.shards > 0 else _default_shards(inputs, 1 - test_share)
    while True:
        output.reset_work_dir()
        documents = read_documents(inputs, args.text_format, _warn)
        sample = result_checks.SentenceSample()
        counts = partition.partition_documents(
            output.work_dir,
            sample.taken_from(documents),
            shards,
            args.test_shards,
            test_share,
            args.random_seed,
        )
        total = sum(split.documents for split in counts.values())
        too_few = counts[schema.TEST].documents < _least_documents(args) <= total
        if not (test_share and too_few and "test_share" not in args.explicit_flags):
            break
        # Once more without a test set: the input is too small for the default of --test_share.
        _log(f"no test shard: too few documents for --test_share {test_share:g}")
        test_share = 0.0
    partition.check_counts(counts, args.shards > 0, _least_documents(args))
    if args.nsp:
        result_checks.check_documents(counts, args)
    warnings = [result_checks.check_vocabulary_fits(sample, tokenizer, args.max_unknown_share)]
    tokenizer.save(output.work_dir)
    output.save_plan(counts)
    all_lines = all(args.text_format.form_of(file.layout) == LINES for file in inputs)
    if all_lines and args.nsp:
        warnings.append(result_checks.find_long_lines(sample))
    for warning in filter(None, warnings):
        _warn(warning)
    for name, split in counts.items():
        _log(f"{name}: {split.documents:,} documents, {split.sentences:,} sentences")
    return counts


def _least_documents(args: CreateArgs) -> int:
    """How many documents a set needs: a random next sentence is one of another document."""
    return 2 if args.nsp else 1


def _default_shards(inputs: Sequence[InputFile], training_share: float) -> int:
    """The number of training shards when --shards is not given."""
    size = sum(
        file.path.stat().st_size
        * (_COMPRESSION_RATIO if file.path.suffix.lower() in SUFFIXES else 1)
        for file in inputs
    )
    return max(1, round(size * training_share / SHARD_BYTES))


def _shard_jobs(
    output: ShardOutputDir,
    counts: dict[str, partition.SplitCounts],
    complete: set[str],
    tokenizer_cache_key: str,
    recipe: Recipe,
) -> list[ShardJob]:
    """The jobs for the shards that are not complete."""
    folder, work_dir = output.path.resolve(), output.work_dir.resolve()
    return [
        ShardJob(folder / name, work_dir, split, index, tokenizer_cache_key, recipe)
        for split, split_counts in counts.items()
        for index in range(split_counts.shards)
        if (name := schema.shard_name(output.corpus, split, index)) not in complete
    ]


def _describe_file(path: Path) -> dict[str, Any]:
    """An input file as recorded in the metadata."""
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    return {"name": name, "size": path.stat().st_size, "sha256": atomic_files.sha256(path)}


def _log(message: str) -> None:
    print_line(message)


def _warn(message: str) -> None:
    _log(f"warning: {message}")
