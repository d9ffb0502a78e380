"""The shards of a run: which files are trained on and which are held out, headers, log lines."""

from pathlib import Path
from typing import Any

from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.data.epoch_order import BLOCK_ROWS, split_into_blocks
from bert_paddle.pretrain.data.loader import eval_row_ranges
from bert_paddle.pretrain.data.shard_roles import (
    NO_PATTERN,
    PATTERN_BEFORE_THE_FLAG,
    ShardFiles,
    find_shards,
    is_held_out,
)
from bert_paddle.pretrain.data.shards import ShardSet, check_shards
from bert_paddle.training import resume_check
from bert_paddle.training import run as training_run

_MAX_NAMED = 3


def open_shards(
    args: PretrainArgs, config: dict[str, Any], resume_from: str | None, log: RunLog
) -> tuple[ShardSet, ShardSet | None]:
    """The training shards, and the held-out shards unless --do_eval is off or there are none; logs
    the role of every file. Headers are checked, and that there are masked tokens at all.

    config: the model's. resume_from: the checkpoint, or None; unless they are given, its run's
    --eval_pattern and --max_eval_samples are set in `args`, so that the best step is chosen by one
    measure. Raises DataError.
    """
    if resume_from is not None:
        _keep_evaluation_flags(args, resume_from, log)
    files = find_shards(Path(args.input_dir), args.eval_pattern)
    _log_roles(args, files, log)
    limits = (
        *(config["vocab_size"], config["max_position_embeddings"], config["type_vocab_size"]),
        config["pad_token_id"],
    )
    held_out = check_shards(files.held_out, *limits) if files.held_out and args.do_eval else None
    train_shards = check_shards(files.training, *limits)
    collectives.run_on_main(lambda: _check_predictions(args, train_shards, held_out))
    _log_rows(args, train_shards, held_out, log)
    return train_shards, held_out


def warn_rows_without_predictions(shards: ShardSet, log: RunLog) -> None:
    """Tell how many of the rows read so far have no masked token, if there are any."""
    ranges = sorted(shards.rows_without_predictions)
    if ranges:
        count = sum(shards.rows_without_predictions.values())
        names = list(dict.fromkeys(shards.paths[shard].name for shard, _, _ in ranges))
        listed = ", ".join(names[:_MAX_NAMED]) + (", ..." if len(names) > _MAX_NAMED else "")
        log.warning(
            f"{count} row(s) read so far have no masked token ({listed}): they count for the "
            "next-sentence loss only"
        )


def _keep_evaluation_flags(args: PretrainArgs, resume_from: str, log: RunLog) -> None:
    saved = training_run.saved_flags(resume_from)
    if "eval_pattern" not in {*saved, *args.explicit_flags}:
        saved["eval_pattern"] = _pattern_of_run(Path(args.input_dir), log)
    # Its earlier name, when the default was all rows.
    saved.setdefault("max_eval_samples", saved.get("max_eval_rows", args.max_eval_samples))
    resume_check.take_flags_of_run(args, saved)


def _pattern_of_run(folder: Path, log: RunLog) -> str:
    """The --eval_pattern of a run to resume that is of a version without the flag: it held out the
    names with _test_ only."""
    names = [path.name for path in folder.glob("*.hdf5")] if folder.is_dir() else []
    matches = any(is_held_out(name, PATTERN_BEFORE_THE_FLAG) for name in names)
    pattern = PATTERN_BEFORE_THE_FLAG if matches else NO_PATTERN
    if any(is_held_out(name) != is_held_out(name, pattern) for name in names):
        log.warning(
            f"the run to resume is of a version that held out the shards {PATTERN_BEFORE_THE_FLAG} "
            f"only: resuming with --eval_pattern {pattern}"
        )
    return pattern


def _log_roles(args: PretrainArgs, files: ShardFiles, log: RunLog) -> None:
    for line in files.describe():
        log.note(line)
    for path in files.ambiguous[:_MAX_NAMED]:
        log.warning(
            f"{path.name} is trained on, although its name suggests held-out rows: "
            "--eval_pattern says otherwise"
        )
    if args.do_eval and not files.held_out:
        log.warning("no shard is held out (--eval_pattern): the model is not evaluated")


def _check_predictions(args: PretrainArgs, train: ShardSet, held_out: ShardSet | None) -> None:
    train.check_predictions(split_into_blocks(train.rows, BLOCK_ROWS))
    if held_out is not None:
        held_out.check_predictions(
            eval_row_ranges(held_out, args.eval_batch_size, args.max_eval_samples)
        )


def _log_rows(
    args: PretrainArgs, train_shards: ShardSet, held_out: ShardSet | None, log: RunLog
) -> None:
    log.note(
        f"data: {args.input_dir}: {train_shards.total} rows in {len(train_shards.paths)} shard(s), "
        f"sequence length {train_shards.length}, at most {train_shards.predictions} masked tokens "
        "per row" + (f"; {held_out.total} held-out rows" if held_out else "")
    )
    if held_out and 0 < args.max_eval_samples < held_out.total:
        log.note(
            f"evaluation: {args.max_eval_samples:,} of {held_out.total:,} held-out rows, spread "
            "evenly over them (--max_eval_samples -1: all)"
        )
    if args.max_predictions_per_seq < train_shards.predictions:
        log.note(
            f"--max_predictions_per_seq: the first {args.max_predictions_per_seq} of up to "
            f"{train_shards.predictions} predictions per row are used"
        )
