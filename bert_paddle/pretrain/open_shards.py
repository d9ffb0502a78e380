"""The shards of a run: which files are trained on and which are held out, headers, log lines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.data.epoch_order import BLOCK_ROWS, split_into_blocks
from bert_paddle.pretrain.data.loader import eval_row_ranges
from bert_paddle.pretrain.data.schema import NSP_KEY
from bert_paddle.pretrain.data.shard_roles import (
    NO_PATTERN,
    PATTERN_BEFORE_THE_FLAG,
    ShardFiles,
    find_shards,
    is_held_out,
)
from bert_paddle.pretrain.data.shards import ShardSet, check_shards
from bert_paddle.pretrain.masks import RunMasks, choose_masks
from bert_paddle.pretrain.model_source import ModelSource
from bert_paddle.training import resume_check

_MAX_NAMED = 3


@dataclass(frozen=True)
class RunShards:
    """The shards of a run. held_out: None unless they are evaluated. masks: of the rows."""

    train: ShardSet
    held_out: ShardSet | None
    masks: RunMasks


def open_shards(
    args: PretrainArgs, source: ModelSource, resume_from: str | None, log: RunLog
) -> RunShards:
    """The training shards, and the held-out shards unless --do_eval is off or there are none; logs
    the role of every file. Headers are checked, and that there are masked tokens at all.

    resume_from: the checkpoint, or None; unless they are given, its run's --eval_pattern and
    --max_eval_samples are set in `args`, so that the best step is chosen by one measure. Raises
    DataError.
    """
    if resume_from is not None:
        _keep_evaluation_flags(args, resume_from, log)
    files = find_shards(Path(args.input_dir), args.eval_pattern)
    _log_roles(args, files, log)
    limits = _limits(source.config)
    held_out = None
    if files.held_out and args.do_eval:
        held_out = check_shards(files.held_out, *limits, nsp=args.nsp, own_masks=False)
    train = check_shards(files.training, *limits, nsp=args.nsp, own_masks=not args.dynamic_masking)
    masks = collectives.run_on_main_first(lambda: choose_masks(args, source, train, held_out))
    collectives.run_on_main(lambda: _check_predictions(args, train, held_out, masks))
    _log_rows(args, train, held_out, masks, log)
    return RunShards(train, held_out, masks)


def open_held_out(
    args: PretrainArgs, source: ModelSource, log: RunLog
) -> tuple[ShardSet, RunMasks]:
    """The held-out shards and their masks, to evaluate a model without training; training shards
    are not opened. Raises DataError if there are none."""
    files = find_shards(Path(args.input_dir), args.eval_pattern, needs_training=False)
    if not files.held_out:
        raise DataError(
            f"{args.input_dir}: no held-out shard to evaluate on: --eval_pattern says which they "
            "are ('*': all)"
        )
    held_out = check_shards(files.held_out, *_limits(source.config), nsp=args.nsp, own_masks=False)
    masks = collectives.run_on_main_first(lambda: choose_masks(args, source, None, held_out))
    collectives.run_on_main(lambda: _check_predictions(args, None, held_out, masks))
    _log_masks(masks, log)
    ranges = eval_row_ranges(held_out, args.eval_batch_size, args.max_eval_samples)
    rows = sum(r.stop - r.start for r in ranges)
    log.note(
        f"evaluation: {rows:,} of {held_out.total:,} held-out rows in {len(held_out.paths)} "
        "shard(s) (--max_eval_samples -1: all)"
    )
    return held_out, masks


def _limits(config: dict[str, Any]) -> tuple[int, int, int, int]:
    """What the ids and lengths in shards may be."""
    return (
        *(config["vocab_size"], config["max_position_embeddings"]),
        *(config["type_vocab_size"], config["pad_token_id"]),
    )


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
    saved = resume_check.saved_flags(resume_from)
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


def _check_predictions(
    args: PretrainArgs, train: ShardSet | None, held_out: ShardSet | None, masks: RunMasks
) -> None:
    if train is not None and masks.training is None:
        train.check_predictions(split_into_blocks(train.rows, BLOCK_ROWS))
    if held_out is not None and not masks.held_out:
        held_out.check_predictions(
            eval_row_ranges(held_out, args.eval_batch_size, args.max_eval_samples)
        )


def _log_masks(masks: RunMasks, log: RunLog) -> None:
    for line in masks.lines:
        log.note(line)
    for warning in masks.warnings:
        log.warning(warning)


def _log_rows(
    args: PretrainArgs,
    train_shards: ShardSet,
    held_out: ShardSet | None,
    masks: RunMasks,
    log: RunLog,
) -> None:
    masker, most = masks.training, train_shards.predictions
    if masker is not None:
        most = masker.config.max_predictions
    log.note(
        f"data: {args.input_dir}: {train_shards.total} rows in {len(train_shards.paths)} shard(s), "
        f"sequence length {train_shards.length}, at most {most} masked tokens per row"
        + (f"; {held_out.total} held-out rows" if held_out else "")
    )
    has_pairs = [i for i, lacking in enumerate(train_shards.lacking) if NSP_KEY not in lacking]
    if not args.nsp and (has_pairs or not train_shards.lacking):
        name = train_shards.paths[has_pairs[0] if has_pairs else 0].name
        log.note(
            f"--nsp 0: the rows of {name} are sentence pairs, perhaps half of them with a random "
            "second text; only masked words are trained"
        )
    _log_masks(masks, log)
    if held_out and "max_eval_samples" in args.explicit_flags:
        if args.max_eval_samples > held_out.total:
            raise DataError(
                f"--max_eval_samples {args.max_eval_samples}: the held-out shards have "
                f"{held_out.total} rows: give at most that (or -1: all)"
            )
    if held_out and 0 < args.max_eval_samples < held_out.total:
        log.note(
            f"evaluation: {args.max_eval_samples:,} of {held_out.total:,} held-out rows, spread "
            "evenly over them (--max_eval_samples -1: all)"
        )
    if masker is None and args.max_predictions_per_seq < train_shards.predictions:
        log.note(
            f"--max_predictions_per_seq: the first {args.max_predictions_per_seq} of up to "
            f"{train_shards.predictions} predictions per row are used"
        )
