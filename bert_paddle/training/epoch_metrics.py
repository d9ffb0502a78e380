"""What each epoch came to: a record at its end in metrics.jsonl, and all of them as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_paddle.common import run_log
from bert_paddle.training.loop import TrainData
from bert_paddle.training.train_state import TrainState

KIND = "epoch"


def record_epoch(
    log: run_log.RunLog,
    state: TrainState,
    batches: TrainData,
    found: Mapping[str, float],
    eval_seconds: float,
) -> None:
    """Write the record of the epoch under way, whose loss and time have been settled.

    epoch: passes over the data that are finished, a fraction where the last one was cut short.
    train_loss: the mean over the rows that the epoch has had, each counted with the loss of its
    update. train_seconds: without evaluations and checkpoints. found: of the evaluation.
    """
    updates = -(-state.rows // batches.rows_per_step)
    passes = round(state.epoch + updates / batches.steps_per_epoch, 6)
    log.record(
        KIND,
        state.step,
        epoch=int(passes) if passes == int(passes) else passes,
        train_loss=sum(state.epoch_losses) / state.rows,
        train_seconds=state.train_seconds - state.seconds_before_epoch,
        eval_loss=found["eval_loss"],
        eval_seconds=eval_seconds,
        **{name: value for name, value in found.items() if name != "eval_loss"},
    )


def print_epoch_table(log: run_log.RunLog, folder: Path) -> None:
    """Note the epochs on record as a table, where there is more than one."""
    found = [entry for entry in run_log.read_records(folder) if entry.get("kind") == KIND]
    if len(found) > 1:
        log.note(table(found))


def table(records: list[dict[str, Any]]) -> str:
    """Records of epochs as aligned columns, one line each, under their names."""
    hidden = ("kind", "step", "epoch", "data")
    names = [name for name in dict.fromkeys(n for r in records for n in r) if name not in hidden]
    rows = [["epoch", "update", *(name.replace("_", " ") for name in names)]]
    for entry in records:
        values = [_shown(entry.get(name), name) for name in names]
        rows.append([f"{entry['epoch']:g}", str(entry["step"]), *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.rjust, row, widths)) for row in rows)
    return "\n".join(lines)


def _shown(value: Any, name: str) -> str:
    """Seconds in one digit, all else in four; a value that was no number is blank."""
    if not isinstance(value, int | float):
        return "-"
    return f"{value:.1f}" if name.endswith("seconds") else f"{value:.4f}"
