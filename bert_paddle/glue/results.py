"""Evaluation lines and values, and the best step."""

import time
from typing import Any

import numpy as np

from bert_paddle.common import run_log
from bert_paddle.glue import metrics
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.evaluate import Result, evaluate, mean_loss, predictions_of
from bert_paddle.glue.tasks import Task, TestSet
from bert_paddle.training.train_state import TrainState


def evaluate_all(
    task: Task,
    model: Any,
    data: EncodedData,
    batch_size: int,
    pad_multiple: int,
    log: run_log.RunLog,
    record_step: int | None,
) -> tuple[list[Result], dict[str, float]]:
    """Evaluate every dev set: log lines and the values of all_results.json; records as of
    `record_step`, unless None (an evaluation that is on record already)."""
    results: list[Result] = []
    values: dict[str, float] = {}
    for dev, rows in data.dev:
        begun = time.perf_counter()
        result = evaluate(task, model, rows, batch_size, pad_multiple)
        seconds = time.perf_counter() - begun
        labels = [("dev", dev.name)] if dev.name else []
        labels += [("data", "demo")] if data.demo else []
        log.line(run_log.eval_line(result.loss, metrics.log_fields(task, result.metrics), labels))
        if result.only_class is not None:
            log.warning(
                f"all {len(rows)} rows are predicted to be {result.only_class}: if that lasts, the "
                "run has collapsed; try a lower --learning_rate, a warm-up, or another --seed"
            )
        named = {"loss": result.loss, **result.metrics}
        values |= {f"eval_{name}{dev.suffix}": value for name, value in named.items()}
        values[f"eval_samples{dev.suffix}"] = len(rows)
        values[f"eval_runtime{dev.suffix}"] = seconds
        values[f"eval_samples_per_second{dev.suffix}"] = len(rows) / seconds
        if record_step is not None:
            log.record("eval", record_step, **named, **dict(labels))
        results.append(result)
    return results, values


def of_epoch(data: EncodedData, evaluated: list[Result]) -> dict[str, float]:
    """What the record of an epoch says of its evaluation: eval_loss and the metrics by their long
    names, with the suffix of a second dev set."""
    found: dict[str, float] = {}
    for (dev, _), result in zip(data.dev, evaluated, strict=True):
        named = {"eval_loss": result.loss, **result.metrics}
        found |= {f"{name}{dev.suffix}": value for name, value in named.items()}
    return found


def note_best(task: Task, state: TrainState, results: list[Result]) -> bool:
    """Update the best step from the first dev set's metric; the earliest of equals stays best.

    Returns whether this evaluation is the best so far.
    """
    return state.note_metric(
        metrics.primary(task, results[0].metrics), task.primary.higher_is_better
    )


def score_test(
    task: Task, test_set: TestSet, scores: np.ndarray, rows: EncodedDataset, log: run_log.RunLog
) -> dict[str, float]:
    """The metrics of a test file that has labels (the full AX release, a user's own): a log line,
    and the values of all_results.json, test_<metric> of a user's file, test_ax_<metric> of AX."""
    assert rows.labels is not None
    computed = metrics.compute(task, predictions_of(task, scores), rows.labels)
    fields = ", ".join(f"{name}: {value:.6f}" for name, value in metrics.log_fields(task, computed))
    if not test_set.own:
        log.line(f"test {task.name} {fields}")
        return {f"test_{task.name.lower()}_{name}": value for name, value in computed.items()}
    loss = mean_loss(task, scores, rows.labels)
    log.line(f"test {test_set.file} loss: {loss:.6f}, {fields}")
    named = {"loss": loss, **computed, "samples": len(rows)}
    return {f"test_{name}": value for name, value in named.items()}
