"""Create pre-training shards from text files: all steps. Does not import paddle.

output_dir/.NAME_spool/           work folder, temporary: text of each shard, plan, vocabulary
output_dir/NAME_training_0.hdf5   a shard; the file appears only when it is complete
output_dir/vocab.txt              (and tokenizer_config.json) the vocabulary of the shards' ids
output_dir/NAME_metadata.json     settings, inputs and statistics of the shards; written last
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
from bert_paddle.models.tokenizer import VOCAB_FILE, Tokenizer, has_vocabulary, load_tokenizer
from bert_paddle.pretrain.create import partition, wordpiece, workers
from bert_paddle.pretrain.create.args import CreateArgs
from bert_paddle.pretrain.create.documents import read_documents
from bert_paddle.pretrain.create.examples import Recipe, ShardJob
from bert_paddle.pretrain.create.output_dir import ShardOutputDir
from bert_paddle.pretrain.create.text_files import find_files
from bert_paddle.pretrain.data import schema

SHARD_BYTES = 64_000_000  # text per training shard when --shards is not given
_GZIP_RATIO = 3  # approximate size of text relative to its gzip file
FORMAT_VERSION = 1  # to be incremented whenever the same flags and seed produce different rows


def run(args: CreateArgs) -> None:
    """Create the shards, or those that an interrupted run has not completed.

    Raises UserError for unusable flags, inputs or output folders, RunError for failures while
    writing.
    """
    start_time = time.monotonic()
    wordpiece.load_segmenter(args.segmenter)  # report a missing package before any work
    inputs = find_files(args.inputs)
    tokenizer = tokenizer_from_flags(args)
    for message in tokenizer.messages:
        _log(message)
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
        "vocabulary": _describe_vocabulary(tokenizer),
        "inputs": [_describe_file(path) for path in inputs],
    }
    wordpiece.replacement_ids(tokenizer.vocab)  # raises an error if there are none
    _check_same_vocabulary(tokenizer, output)
    try:
        if not output.prepare(made_from, args.overwrite_output_dir):
            _log(f"{output.path}: all shards of {args.corpus} exist already; nothing to do")
            return
        counts = output.load_plan() or _partition_input(args, inputs, tokenizer, output)
        tokenizer.save(output.path)
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
        f"{rows:,} rows in {total} shards, {random_share:.1%} with a random next sentence; "
        f"{sentences:,} sentences in {seconds:.1f} s ({sentences / seconds:,.0f}/s) "
        f"-> {output.path}"
    )


def _check_same_vocabulary(tokenizer: Tokenizer, output: ShardOutputDir) -> None:
    """Raise OutputError when the folder has shards of another corpus with a different vocabulary:
    pre-training reads all shards of a folder with its one vocab.txt."""
    if not output.has_other_corpora() or not has_vocabulary(output.path):
        return
    existing = load_tokenizer(output.path)
    if _describe_vocabulary(existing) != _describe_vocabulary(tokenizer):
        raise OutputError(
            f"{output.path} has shards of another corpus with a different vocabulary or "
            f"do_lower_case ({output.path / VOCAB_FILE}): give another --output_dir"
        )


def tokenizer_from_flags(args: CreateArgs) -> Tokenizer:
    """The tokenizer of --vocab_file, with the do_lower_case of the flag if it is given.

    Raises WeightsError for an unusable vocabulary.
    """
    path = args.vocabulary_path()
    if path.is_dir():
        return load_tokenizer(path, None, args.do_lower_case)
    return load_tokenizer(path.parent, str(path), args.do_lower_case)


def _partition_input(
    args: CreateArgs, inputs: Sequence[Path], tokenizer: Tokenizer, output: ShardOutputDir
) -> dict[str, partition.SplitCounts]:
    """Read all input and write the text of each shard into the work folder; returns the counts of
    the training and the test set."""
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
        # Once more without a test set: the input is too small for the default of --test_share.
        _log(f"no test shard: too few documents for --test_share {test_share:g}")
        test_share = 0.0
    partition.check_counts(counts, args.shards > 0)
    tokenizer.save(output.work_dir)
    output.save_plan(counts)
    for name, split in counts.items():
        _log(f"{name}: {split.documents:,} documents, {split.sentences:,} sentences")
    return counts


def _default_shards(inputs: Sequence[Path], training_share: float) -> int:
    """The number of training shards when --shards is not given."""
    size = sum(
        path.stat().st_size * (_GZIP_RATIO if path.suffix.lower() == ".gz" else 1)
        for path in inputs
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


def _describe_vocabulary(tokenizer: Tokenizer) -> dict[str, Any]:
    """The vocabulary as recorded in the metadata."""
    added_tokens = [token.as_json() | {"id": token.id} for token in tokenizer.added_tokens]
    return {
        "pieces": len(tokenizer),
        "sha256": schema.vocabulary_sha256(tokenizer.vocab),
        "do_lower_case": tokenizer.do_lower_case,
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.tokenize_chinese_chars,
        **({"added_tokens": added_tokens} if added_tokens else {}),
    }


def _describe_file(path: Path) -> dict[str, Any]:
    """An input file as recorded in the metadata."""
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    return {"name": name, "size": path.stat().st_size, "sha256": atomic_files.sha256(path)}


def _build_metadata(
    made_from: dict[str, Any],
    counts: dict[str, partition.SplitCounts],
    shards: list[dict[str, Any]],
) -> dict[str, Any]:
    """The content of the metadata file. shards: the statistics of each (ShardCounts as a dict)."""
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
