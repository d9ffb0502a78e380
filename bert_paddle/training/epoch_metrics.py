"""Metrics per epoch: records in metrics.jsonl, and a table of all epochs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_paddle.common import run_log
from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.training.loop import TrainData
from bert_paddle.training.train_state import TrainState

KIND = "epoch"


def record_epoch(
    log: run_log.RunLog,
    state: TrainState,
    batches: TrainData,
    evaluation: Mapping[str, float],
    eval_seconds: float,
) -> None:
    """Write the record of the current epoch, whose loss and time are in `state`.

    evaluation: metrics by name, `eval_loss` among them. Fields of the record: `epoch` is the number
    of passes over the data so far, with a fraction if training ended within one; `train_loss` the
    mean of the losses of the epoch's steps, weighted by their rows; `train_seconds` excludes
    evaluations and checkpoints.
    """
    epochs = passes(state, batches.steps_per_epoch)
    train_loss = sum(state.epoch_losses) / state.rows
    train_seconds = state.train_seconds - state.seconds_before_epoch
    log.log_metrics(
        KIND,
        state.step,
        epoch=int(epochs) if epochs == int(epochs) else epochs,
        train_loss=train_loss,
        train_seconds=train_seconds,
        eval_loss=evaluation["eval_loss"],
        eval_seconds=eval_seconds,
        **{name: value for name, value in evaluation.items() if name != "eval_loss"},
    )
    values = {"train loss": train_loss, "train seconds": train_seconds, **evaluation}
    listed = [f"{name.replace('_', ' ')} {_format_value(v, name)}" for name, v in values.items()]
    log.note(f"after epoch {epochs:g}, step {state.step}: {', '.join(listed)}")


def passes(state: TrainState, steps_per_epoch: int) -> float:
    """The number of passes over the data so far, with a fraction within an epoch. It is counted
    from the rows: the steps of a resumed run may have different sizes."""
    steps = -(-state.rows // max(1, state.rows_per_step))  # rounded up
    return round((state.epoch * steps_per_epoch + steps) / steps_per_epoch, 6)


def print_epoch_table(log: run_log.RunLog, output_dir: Path) -> None:
    """Print the recorded epochs as a table on stderr, if there are several."""
    records = [r for r in run_log.read_metrics(output_dir) if r.get("kind") == KIND]
    if len(records) > 1:
        for line in format_epoch_table(records).splitlines():
            log.note(line)


def format_epoch_table(records: list[dict[str, Any]]) -> str:
    """Format epoch records as aligned columns: a header, then one line per record."""
    hidden = ("kind", "step", "epoch", "data")
    names = [name for name in dict.fromkeys(n for r in records for n in r) if name not in hidden]
    rows = [["epoch", "step", *(name.replace("_", " ") for name in names)]]
    for record in records:
        values = [_format_value(record.get(name), name) for name in names]
        epoch = finite_float_or_none(record.get("epoch"))
        rows.append(["-" if epoch is None else f"{epoch:g}", str(record["step"]), *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.rjust, row, widths)) for row in rows)
    return "\n".join(lines)


def _format_value(value: Any, name: str) -> str:
    """Seconds with one decimal, other numbers with four; "-" for a value that is not a number."""
    number = finite_float_or_none(value)
    if number is None:
        return "-"
    return f"{number:.1f}" if name.endswith("seconds") else f"{number:.4f}"
