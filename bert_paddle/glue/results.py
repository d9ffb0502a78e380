"""Log lines of evaluations, their values for all_results.json, and the best step."""

import time
from typing import Any

from bert_paddle.common import run_log
from bert_paddle.common.intervals import interval_key
from bert_paddle.glue import metrics
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.evaluate import EvalResult, evaluate
from bert_paddle.glue.row_outputs import RowOutputs
from bert_paddle.glue.tasks import Task, TestSet
from bert_paddle.models.forward_pass import ForwardPass
from bert_paddle.training.train_state import TrainState


def evaluate_dev_sets(
    task: Task,
    forward: ForwardPass,
    data: EncodedData,
    batch_size: int,
    pad_multiple: int,
    log: run_log.RunLog,
    record_step: int | None,
    fit_thresholds: bool = False,
) -> tuple[list[EvalResult], dict[str, Any]]:
    """Evaluate every dev set and print a log line for each; returns the results, one per dev set,
    and their values for all_results.json. record_step: the step under which metrics.jsonl records
    them; None: they are not recorded. fit_thresholds: see `evaluate`.
    """
    results: list[EvalResult] = []
    values: dict[str, Any] = {}
    for dev, dataset in data.dev:
        start = time.perf_counter()
        name = f"evaluation ({dev.name})" if dev.name else "evaluation"
        with log.row_progress(name, len(dataset)) as show_rows:
            result = evaluate(
                task, forward, dataset, batch_size, pad_multiple, show_rows, fit_thresholds
            )
        seconds = time.perf_counter() - start
        tags = [("dev", dev.name)] if dev.name else []
        tags += [("data", "demo")] if data.demo else []
        log.line(run_log.eval_line(result.loss, metrics.log_fields(task, result.metrics), tags))
        if result.single_class is not None:
            log.warning(
                f"all {len(dataset)} rows are predicted to be {result.single_class}: if that "
                "lasts, the run has collapsed; try a lower --learning_rate, a warm-up, or another "
                "--seed"
            )
        figures = {"loss": result.loss, **result.metrics}
        values |= {f"eval_{name}{dev.suffix}": value for name, value in figures.items()}
        if result.per_label:
            values[f"eval_f1_per_label{dev.suffix}"] = result.per_label
        values |= interval_values(result, dev.suffix)
        values[f"eval_samples{dev.suffix}"] = len(dataset)
        values[f"eval_runtime{dev.suffix}"] = seconds
        values[f"eval_samples_per_second{dev.suffix}"] = len(dataset) / seconds
        if record_step is not None:
            log.log_metrics("eval", record_step, **figures, **dict(tags))
        results.append(result)
    return results, values


def interval_values(result: EvalResult, suffix: str) -> dict[str, list[float]]:
    """The intervals of an evaluation's metrics by their keys in all_results.json, such as
    eval_accuracy_ci95: [low, high]. suffix: of the dev set."""
    return {
        interval_key(f"eval_{name}{suffix}"): list(interval)
        for name, interval in result.intervals.items()
    }


def epoch_values(data: EncodedData, results: list[EvalResult]) -> dict[str, float]:
    """The evaluation's values for an epoch's entry in metrics.jsonl: eval_loss and the metrics,
    with the dev set's suffix appended to their names (eval_loss_mm)."""
    values: dict[str, float] = {}
    for (dev, _), result in zip(data.dev, results, strict=True):
        figures = {"eval_loss": result.loss, **result.metrics}
        values |= {f"{name}{dev.suffix}": value for name, value in figures.items()}
    return values


def update_best_step(task: Task, state: TrainState, results: list[EvalResult]) -> bool:
    """Update the best step by the primary metric on the first dev set; on a tie the earlier step
    stays best. Returns whether this evaluation is the best so far.
    """
    values = {"loss": results[0].loss, **results[0].metrics}
    return state.update_best(metrics.primary_metric(task, values), task.primary.higher_is_better)


def score_test_set(
    task: Task, test_set: TestSet, outputs: RowOutputs, dataset: EncodedDataset, log: run_log.RunLog
) -> dict[str, Any]:
    """Print the metrics on a labelled test set (AX's full release, or a user's file); returns them
    for all_results.json, as test_ax_<metric> or, for a user's file, test_<metric>."""
    assert dataset.labels is not None
    computed = metrics.compute(task, outputs.predictions, dataset.labels)
    fields = ", ".join(f"{name}: {value:.6f}" for name, value in metrics.log_fields(task, computed))
    if not test_set.custom:
        log.line(f"test {task.name} {fields}")
        return {f"test_{task.name.lower()}_{name}": value for name, value in computed.items()}
    loss = outputs.mean_loss
    log.line(f"test {test_set.file} loss: {loss:.6f}, {fields}")
    figures: dict[str, Any] = {"loss": loss, **computed, "samples": len(dataset)}
    if task.multi_label:
        f1 = metrics.f1_per_label(outputs.predictions, dataset.labels)
        figures["f1_per_label"] = dict(zip(task.labels, f1, strict=True))
    return {f"test_{name}": value for name, value in figures.items()}
