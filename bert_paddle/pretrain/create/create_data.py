"""Create pre-training shards from text, from start to end. No paddle.

output_dir/.NAME_spool/           temporary: the text of each shard, the plan, the vocabulary
output_dir/NAME_training_0.hdf5   a shard, complete as soon as it is there
output_dir/vocab.txt              (and tokenizer_config.json) the vocabulary of the ids
output_dir/NAME_metadata.json     how the shards were made, and their statistics; written last
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import bert_paddle
from bert_paddle.common import atomic_files
from bert_paddle.common.errors import OutputError, RunError
from bert_paddle.models import tokenizer
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.create import partition, wordpiece, workers
from bert_paddle.pretrain.create.args import CreateArgs
from bert_paddle.pretrain.create.documents import read_documents
from bert_paddle.pretrain.create.examples import Recipe, ShardJob
from bert_paddle.pretrain.create.output_dir import ShardOutputDir
from bert_paddle.pretrain.create.text_files import find_files
from bert_paddle.pretrain.data import schema

SHARD_BYTES = 64_000_000  # of text, for each training shard when --shards is not given
_GZIP_RATIO = 3  # approximate compression ratio of text
FORMAT_VERSION = 1  # to be raised whenever the same flags and seed produce other rows


def run(args: CreateArgs) -> None:
    """Create the shards that the flags ask for. Raises UserError and RunError."""
    start_time = time.monotonic()
    wordpiece.load_segmenter(args.segmenter)  # report a missing package before any work
    inputs = find_files(args.inputs)
    vocabulary = load_tokenizer(args)
    output = ShardOutputDir(Path(args.output_dir), args.corpus)
    recipe = Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)})
    made_from = {
        "format": FORMAT_VERSION,
        "recipe": asdict(recipe),
        "form": args.form,
        "language": args.language,
        "shards": args.shards,
        "test_share": args.test_share,
        "test_shards": args.test_shards,
        "vocabulary": _describe_vocabulary(vocabulary),
        "inputs": [_describe_file(path) for path in inputs],
    }
    wordpiece.replacement_ids(vocabulary.vocab)  # raises if there are none
    _check_same_vocabulary(vocabulary, output)
    try:
        if not output.prepare(made_from, args.overwrite_output_dir):
            _log(f"{output.path}: all shards of {args.corpus} exist already; nothing to do")
            return
        counts = output.load_plan() or _partition_input(args, inputs, vocabulary, output)
        vocabulary.save(output.path)
        complete = output.complete_shards(counts)
        vocabulary_key = json.dumps(made_from["vocabulary"])
        jobs = _shard_jobs(output, counts, set(complete), vocabulary_key, recipe)
        total, sentences = len(complete) + len(jobs), 0
        if complete:
            _log(f"resuming: {len(complete)} of {total} shards are complete")
        for shard in workers.run_jobs(jobs, args.workers, args.scheduler):
            complete[shard.name] = asdict(shard)
            output.save_statistics(complete[shard.name])
            sentences += shard.sentences
            _log(f"{shard.name}: {shard.rows:,} rows ({len(complete)} of {total} shards)")
        shards = [complete[name] for name in output.shard_names(counts)]
        metadata = _build_metadata(made_from, counts, shards)
        output.finish(metadata)
    except OSError as error:
        raise RunError(
            f"{error.filename or output.path}: {error.strerror or error}; fix that and run the "
            "same command again: complete shards are kept"
        ) from error
    seconds = time.monotonic() - start_time
    rows, random_share = metadata["rows"], metadata["random_next_share"]
    _log(
        f"{rows:,} rows in {total} shards, {random_share:.1%} with a random next text; "
        f"{sentences:,} sentences in {seconds:.1f} s ({sentences / seconds:,.0f}/s) "
        f"-> {output.path}"
    )


def _check_same_vocabulary(vocabulary: Tokenizer, output: ShardOutputDir) -> None:
    """A folder of shards has one vocabulary, where pre-training finds it.

    Raises OutputError when another corpus in the folder was made with another one.
    """
    if not output.has_other_corpora() or not tokenizer.has_vocabulary(output.path):
        return
    existing = tokenizer.load_tokenizer(output.path)
    if _describe_vocabulary(existing) != _describe_vocabulary(vocabulary):
        raise OutputError(
            f"{output.path} has shards of another corpus made with another vocabulary or case "
            f"({output.path / tokenizer.VOCAB_FILE}): give another --output_dir"
        )


def load_tokenizer(args: CreateArgs) -> Tokenizer:
    """The tokenizer of --vocab_file, with --do_lower_case where it is given.

    Raises WeightsError for an unusable vocabulary.
    """
    path = args.vocabulary_path()
    if path.is_dir():
        loaded = tokenizer.load_tokenizer(path)
    else:
        loaded = tokenizer.load_tokenizer(path.parent, str(path))
    if args.do_lower_case is None or args.do_lower_case == loaded.do_lower_case:
        return loaded
    # Where not set explicitly, handling of accents and Chinese characters follows the case.
    settings = {
        "strip_accents": loaded.strip_accents,
        "tokenize_chinese_chars": loaded.tokenize_chinese_chars,
    }
    return Tokenizer(loaded.vocab, args.do_lower_case, settings)


def _partition_input(
    args: CreateArgs, inputs: Sequence[Path], vocabulary: Tokenizer, output: ShardOutputDir
) -> dict[str, partition.SplitCounts]:
    """Read all input and write the text of each shard."""
    test_share = args.test_share
    shards = args.shards if args.shards > 0 else _default_shards(inputs, 1 - test_share)
    while True:
        output.reset_work_dir()
        documents = read_documents(inputs, args.form, args.language, _log)
        counts = partition.partition_documents(
            output.work_dir, documents, shards, args.test_shards, test_share, args.random_seed
        )
        total = sum(split.documents for split in counts.values())
        too_few = counts[schema.TEST].documents < 2 <= total
        if not (test_share and too_few and "test_share" not in args.explicit_flags):
            break
        _log(f"no test shard: too few documents for --test_share {test_share:g}")
        test_share = 0.0
    partition.check_counts(counts, args.shards > 0)
    vocabulary.save(output.work_dir)
    output.save_plan(counts)
    for name, split in counts.items():
        _log(f"{name}: {split.documents:,} documents, {split.sentences:,} sentences")
    return counts


def _default_shards(inputs: Sequence[Path], training_share: float) -> int:
    size = sum(
        path.stat().st_size * (_GZIP_RATIO if path.suffix.lower() == ".gz" else 1)
        for path in inputs
    )
    return max(1, round(size * training_share / SHARD_BYTES))


def _shard_jobs(
    output: ShardOutputDir,
    counts: dict[str, partition.SplitCounts],
    complete: set[str],
    vocabulary_key: str,
    recipe: Recipe,
) -> list[ShardJob]:
    """A job for each shard that is not complete."""
    folder, work_dir = output.path.resolve(), output.work_dir.resolve()
    return [
        ShardJob(folder / name, work_dir, split, index, vocabulary_key, recipe)
        for split, split_counts in counts.items()
        for index in range(split_counts.shards)
        if (name := schema.shard_name(output.corpus, split, index)) not in complete
    ]


def _describe_vocabulary(vocabulary: Tokenizer) -> dict[str, Any]:
    """The vocabulary as recorded in the metadata."""
    return {
        "pieces": len(vocabulary),
        "sha256": schema.vocabulary_sha256(vocabulary.vocab),
        "do_lower_case": vocabulary.do_lower_case,
        "strip_accents": vocabulary.strip_accents,
        "tokenize_chinese_chars": vocabulary.tokenize_chinese_chars,
    }


def _describe_file(path: Path) -> dict[str, Any]:
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    return {"name": name, "size": path.stat().st_size, "sha256": atomic_files.sha256(path)}


def _build_metadata(
    made_from: dict[str, Any],
    counts: dict[str, partition.SplitCounts],
    shards: list[dict[str, Any]],
) -> dict[str, Any]:
    """The metadata file: what the shards were made from, and their statistics."""
    keys = [key for key in shards[0] if key != "name"]
    total = {key: sum(shard[key] for shard in shards) for key in keys}
    predictions, rows = total["predictions"], total["rows"]
    return {
        "bert_paddle": bert_paddle.__version__,
        "made_from": made_from,
        "sets": partition.counts_to_json(counts),
        **total,
        "random_next_share": total["random_next"] / rows,
        "masked_share": total["masked"] / predictions,
        "random_share": total["random"] / predictions,
        "kept_share": total["kept"] / predictions,
        "tokens_per_row": total["tokens"] / rows,
        "shards": shards,
    }


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
