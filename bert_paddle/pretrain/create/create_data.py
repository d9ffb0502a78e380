"""Making pre-training shards from text: the whole story. No paddle.

output_dir/.NAME_spool/           each shard's text, the plan, the vocabulary; removed when done
output_dir/NAME_training_0.hdf5   whole as soon as it is there
output_dir/vocab.txt              (and tokenizer_config.json) what the ids mean
output_dir/NAME_metadata.json     how the shards were made and what is in them; written last
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
from bert_paddle.pretrain.create import documents as create_documents
from bert_paddle.pretrain.create import partition, wordpiece, workers
from bert_paddle.pretrain.create.args import CreateArgs
from bert_paddle.pretrain.create.examples import Recipe, ShardJob
from bert_paddle.pretrain.create.output_dir import ShardOutputDir
from bert_paddle.pretrain.data import schema

SHARD_BYTES = 64_000_000  # of text, for each training shard when --shards is not given
_GZIP_RATIO = 3  # of text, about
FORMAT = 1  # of what a seed means; to be raised whenever the same flags make other rows


def run(args: CreateArgs) -> None:
    """Make the shards that the flags ask for. Raises UserError and RunError."""
    begun = time.monotonic()
    wordpiece.cutter(args.segmenter)  # missing, it would be missed in the middle
    inputs = create_documents.find_files(args.inputs)
    rules = vocabulary(args)
    folder = ShardOutputDir(Path(args.output_dir), args.corpus)
    recipe = Recipe(**{field.name: getattr(args, field.name) for field in fields(Recipe)})
    made_from = {
        "format": FORMAT,
        "recipe": asdict(recipe),
        "form": args.form,
        "language": args.language,
        "shards": args.shards,
        "test_share": args.test_share,
        "test_shards": args.test_shards,
        "vocabulary": _about_vocabulary(rules),
        "inputs": [_about_file(path) for path in inputs],
    }
    wordpiece.ordinary_ids(rules.vocab)  # there have to be some
    _check_vocabulary(rules, folder)
    try:
        if not folder.begin(made_from, args.overwrite_output_dir):
            _say(f"{folder.path}: all shards of {args.corpus} are there already; nothing to do")
            return
        counts = folder.plan() or _deal_out(args, inputs, rules, folder)
        rules.save(folder.path)
        done = folder.made(counts)
        about_rules = json.dumps(made_from["vocabulary"])
        jobs = _jobs(folder, counts, set(done), about_rules, recipe)
        if done:
            _say(f"going on: {len(done)} of {len(done) + len(jobs)} shards are whole")
        total, new = len(done) + len(jobs), 0
        for made in workers.run(jobs, args.workers, args.scheduler):
            done[made.name] = asdict(made)
            folder.keep(done[made.name])
            new += made.sentences
            _say(f"{made.name}: {made.rows:,} rows ({len(done)} of {total} shards)")
        shards = [done[name] for name in folder.names(counts)]
        content = _metadata(made_from, counts, shards)
        folder.end(content)
    except OSError as error:
        raise RunError(
            f"{error.filename or folder.path}: {error.strerror or error}; see to it and run the "
            "same command again: whole shards are kept"
        ) from error
    seconds = time.monotonic() - begun
    rows, share = content["rows"], content["random_next_share"]
    _say(
        f"{rows:,} rows in {total} shards, {share:.1%} with a random next text; {new:,} sentences "
        f"in {seconds:.1f} s ({new / seconds:,.0f}/s) -> {folder.path}"
    )


def _check_vocabulary(rules: Tokenizer, folder: ShardOutputDir) -> None:
    """One vocabulary lies beside the shards, where pre-training finds it.

    Raises OutputError when another corpus in the folder was made with another one.
    """
    if not folder.has_other_corpora() or not tokenizer.holds_vocabulary(folder.path):
        return
    theirs = tokenizer.load(folder.path)
    if _about_vocabulary(theirs) != _about_vocabulary(rules):
        raise OutputError(
            f"{folder.path} has shards of another corpus made with another vocabulary or case "
            f"({folder.path / tokenizer.VOCAB_FILE}): give another --output_dir"
        )


def vocabulary(args: CreateArgs) -> Tokenizer:
    """The vocabulary that the flags name, with --do_lower_case where it is given.

    Raises WeightsError for an unusable one.
    """
    path = args.vocabulary()
    rules = tokenizer.load(path) if path.is_dir() else tokenizer.load(path.parent, str(path))
    if args.do_lower_case is None or args.do_lower_case == rules.do_lower_case:
        return rules
    # How accents and Chinese characters are treated goes with the case, unless it is settled.
    settings = {
        "strip_accents": rules.strip_accents,
        "tokenize_chinese_chars": rules.tokenize_chinese_chars,
    }
    return Tokenizer(rules.vocab, args.do_lower_case, settings)


def _deal_out(
    args: CreateArgs, inputs: Sequence[Path], rules: Tokenizer, folder: ShardOutputDir
) -> dict[str, partition.Counts]:
    """Read all input, and write the text of each shard."""
    share = args.test_share
    shards = args.shards if args.shards > 0 else _default_shards(inputs, 1 - share)
    while True:
        folder.empty_spool()
        documents = create_documents.read_documents(inputs, args.form, args.language, _say)
        counts = partition.partition_documents(
            folder.spool, documents, shards, args.test_shards, share, args.random_seed
        )
        few = counts[schema.TEST].documents < 2 <= sum(c.documents for c in counts.values())
        if not (share and few and "test_share" not in args.given):
            break
        _say(f"no test shard: too few documents for --test_share {share:g}")
        share = 0.0
    partition.check(counts, args.shards > 0)
    rules.save(folder.spool)
    folder.keep_plan(counts)
    for name, split in counts.items():
        _say(f"{name}: {split.documents:,} documents, {split.sentences:,} sentences")
    return counts


def _default_shards(inputs: Sequence[Path], share: float) -> int:
    size = sum(
        path.stat().st_size * (_GZIP_RATIO if path.suffix.lower() == ".gz" else 1)
        for path in inputs
    )
    return max(1, round(size * share / SHARD_BYTES))


def _jobs(
    folder: ShardOutputDir,
    counts: dict[str, partition.Counts],
    done: set[str],
    rules: str,
    recipe: Recipe,
) -> list[ShardJob]:
    """A job for each shard that is not done."""
    place = folder.path.resolve()
    return [
        ShardJob(place / name, folder.spool.resolve(), split, index, rules, recipe)
        for split, own in counts.items()
        for index in range(own.shards)
        if (name := schema.shard_name(folder.corpus, split, index)) not in done
    ]


def _about_vocabulary(rules: Tokenizer) -> dict[str, Any]:
    """The vocabulary as it goes into the metadata."""
    return {
        "pieces": len(rules),
        "sha256": schema.vocabulary_sha256(rules.vocab),
        "do_lower_case": rules.do_lower_case,
        "strip_accents": rules.strip_accents,
        "tokenize_chinese_chars": rules.tokenize_chinese_chars,
    }


def _about_file(path: Path) -> dict[str, Any]:
    name = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    return {"name": name, "size": path.stat().st_size, "sha256": atomic_files.sha256(path)}


def _metadata(
    made_from: dict[str, Any], counts: dict[str, partition.Counts], shards: list[dict[str, Any]]
) -> dict[str, Any]:
    """What is written at the end: made_from as it was compared, and what came of it."""
    keys = [key for key in shards[0] if key != "name"]
    total = {key: sum(shard[key] for shard in shards) for key in keys}
    predictions, rows = total["predictions"], total["rows"]
    return {
        "bert_paddle": bert_paddle.__version__,
        "made_from": made_from,
        "sets": partition.as_json(counts),
        **total,
        "random_next_share": total["random_next"] / rows,
        "masked_share": total["masked"] / predictions,
        "random_share": total["random"] / predictions,
        "kept_share": total["kept"] / predictions,
        "tokens_per_row": total["tokens"] / rows,
        "shards": shards,
    }


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
