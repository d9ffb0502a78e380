"""Evaluation lines, the best step, and all_results.json."""

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle import files, log
from bert_paddle.checkpoint import TrainState
from bert_paddle.glue import metrics
from bert_paddle.glue.data import Data
from bert_paddle.glue.encoded import Rows
from bert_paddle.glue.evaluate import Result, answers, evaluate
from bert_paddle.glue.tasks import Task

RESULTS_FILE = "all_results.json"


def evaluate_all(
    task: Task,
    model: Any,
    data: Data,
    batch_size: int,
    pad_multiple: int,
    out: log.Log,
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
        out.line(log.eval_line(result.loss, metrics.log_fields(task, result.metrics), labels))
        named = {"loss": result.loss, **result.metrics}
        values |= {f"eval_{name}{dev.suffix}": value for name, value in named.items()}
        values[f"eval_samples{dev.suffix}"] = len(rows)
        values[f"eval_runtime{dev.suffix}"] = seconds
        values[f"eval_samples_per_second{dev.suffix}"] = len(rows) / seconds
        if record_step is not None:
            out.record("eval", record_step, **named, **dict(labels))
        results.append(result)
    return results, values


def note_best(task: Task, state: TrainState, results: list[Result]) -> bool:
    """Update the best step from the first dev set's metric; the earliest of equals stays best.

    Returns whether this evaluation is the best so far.
    """
    metric = metrics.primary(task, results[0].metrics)
    better = not math.isnan(metric) and (
        state.best_metric is None
        or (metric > state.best_metric) == task.primary.higher_is_better
        and metric != state.best_metric
    )
    if better:
        state.best_step, state.best_metric = state.step, metric
    state.evaluations_since_best = 0 if better else state.evaluations_since_best + 1
    return better


def train_values(state: TrainState, updates_per_epoch: int, rows: int) -> dict[str, Any]:
    """What a training run adds to all_results.json."""
    seconds = max(1e-9, state.train_seconds)
    return {
        "epoch": round(state.step / updates_per_epoch, 6),
        "global_step": state.step,
        "train_samples": rows,
        "train_runtime": state.train_seconds,
        "train_steps_per_second": state.step / seconds,
        "train_samples_per_second": state.step / updates_per_epoch * rows / seconds,
        "best_step": state.best_step,
        "best_metric": state.best_metric,
    }


def score_test(task: Task, scores: np.ndarray, rows: Rows, out: log.Log) -> dict[str, float]:
    """The metrics of a test file that has labels (the full AX release)."""
    assert rows.labels is not None
    computed = metrics.compute(task, answers(task, scores), rows.labels)
    fields = ", ".join(f"{name}: {value:.6f}" for name, value in metrics.log_fields(task, computed))
    out.line(f"test {task.name} {fields}")
    return {f"test_{task.name.lower()}_{name}": value for name, value in computed.items()}


def write(output_dir: Path, values: dict[str, Any]) -> Path:
    """Write all_results.json. Values of an earlier command on the same task in the same folder
    stay, but for those of an evaluation or a test when there is a new one."""
    path = output_dir / RESULTS_FILE
    before: dict[str, Any] = {}
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            pass  # half a file of a program that is not ours: it is replaced
    if before.get("task") != values.get("task"):
        before = {}
    for kind in ("eval_", "test_"):
        if any(key.startswith(kind) for key in values):
            before = {key: value for key, value in before.items() if not key.startswith(kind)}
    files.write_json(path, log.finite(before | values))
    return path
