"""The metrics, as pure functions of predictions and labels.

Keys are those of all_results.json. A metric is computed once over a whole set: the mean of
per-batch values would be a different number.

numpy is imported where it is used: `--help` lists the metrics, and has to appear immediately.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bert_paddle.glue.task_definition import LABELS, ONE_CLASS, SCORE, Task

if TYPE_CHECKING:
    import numpy as np


def _accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float((predictions == labels).mean())


# F1 as sklearn.metrics.f1_score computes it, whose import takes seconds: twice the rows of a class
# that are right, by those predicted and those labelled as it.
def _f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    predicted, actual = predictions == 1, labels == 1
    rows = int(predicted.sum()) + int(actual.sum())
    return 2 * int((predicted & actual).sum()) / rows if rows else 0.0


def _f1_macro(predictions: np.ndarray, labels: np.ndarray) -> float:
    import numpy as np

    if labels.ndim == 2:
        return float(np.mean(f1_per_label(predictions, labels)))
    classes, numbers = np.unique(np.concatenate([predictions, labels]), return_inverse=True)
    predicted, actual = np.split(numbers, 2)
    right = np.bincount(predicted[predicted == actual], minlength=len(classes))
    return float(np.mean(2 * right / np.bincount(numbers)))


def _f1_micro(predictions: np.ndarray, labels: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(labels, predictions, average="micro", zero_division=0))


def _exact_match(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float((predictions == labels).all(axis=1).mean())


def f1_per_label(predictions: np.ndarray, labels: np.ndarray) -> list[float]:
    """The F1 of each label, from 0/1 arrays [rows, labels]; 0 for a label that is neither true of a
    row nor predicted."""
    from sklearn.metrics import f1_score

    return [float(v) for v in f1_score(labels, predictions, average=None, zero_division=0)]


def _mse(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(((predictions.astype("float64") - labels) ** 2).mean())


def _matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
    from bert_paddle.common.matthews import matthews_correlation

    return matthews_correlation(labels, predictions)


def _pearson(predictions: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predictions, labels)


def _spearman(predictions: np.ndarray, labels: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predictions, labels)


def _correlation(function: Callable, predictions: np.ndarray, labels: np.ndarray) -> float:
    """A correlation in float64; nan where undefined: if predictions or labels are constant or not
    finite (so also for a single row). function: of scipy.stats."""
    import numpy as np

    x, y = predictions.astype(np.float64), labels.astype(np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    with warnings.catch_warnings():
        # Nearly constant predictions give a warning in every evaluation.
        warnings.simplefilter("ignore")
        return float(function(x, y)[0])


@dataclass(frozen=True)
class Metric:
    """A metric. log_name: its name in log lines. compute: of predictions and labels, as `compute`
    takes them. outputs: for which of ONE_CLASS, SCORE and LABELS --metric may name it. flag_value:
    what --metric calls it, if not by its key."""

    log_name: str
    compute: Callable[[np.ndarray, np.ndarray], float]
    outputs: tuple[str, ...]
    higher_is_better: bool = True
    flag_value: str = ""


# By key in all_results.json.
METRICS: dict[str, Metric] = {
    "accuracy": Metric("accu", _accuracy, (ONE_CLASS,)),
    "f1": Metric("f1", _f1, (ONE_CLASS,)),
    "f1_micro": Metric("f1_micro", _f1_micro, (LABELS,)),
    "f1_macro": Metric("f1_macro", _f1_macro, (ONE_CLASS, LABELS)),
    "exact_match": Metric("exact_match", _exact_match, (LABELS,)),
    "matthews_correlation": Metric("mcc", _matthews, (ONE_CLASS,), flag_value="matthews"),
    "pearson": Metric("pearson", _pearson, (SCORE,)),
    "spearmanr": Metric("spearman", _spearman, (SCORE,), flag_value="spearman"),
    "mse": Metric("mse", _mse, (SCORE,), higher_is_better=False),
}
LOSS = "loss"  # a value of --metric for all outputs, which is computed anyway; lower is better


def flag_values(output: str) -> dict[str, str]:
    """The values of --metric where rows have such an output (ONE_CLASS, SCORE or LABELS), each with
    the metric's key in all_results.json."""
    named = {
        metric.flag_value or key: key for key, metric in METRICS.items() if output in metric.outputs
    }
    return named | {LOSS: LOSS}


def higher_is_better(name: str) -> bool:
    """Whether the best value of a metric, by its key in all_results.json, or of LOSS, is the
    highest."""
    return name != LOSS and METRICS[name].higher_is_better


def compute(task: Task, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the task's metrics on one data set, keyed as in all_results.json.

    `predictions` and `labels` are [n]: label indices, or real-valued scores for regression; or, for
    any number of labels per row, [n, labels] of 0 and 1.
    f1: for label 1 (equivalent, duplicate); 0 if no row has label 1 or is predicted as 1.
    f1_macro: the mean F1 of the classes that occur in the labels or the predictions; with several
    labels per row, of all labels. f1_micro: the F1 of all rows' labels together. exact_match: the
    share of rows whose labels are predicted without a mistake.
    matthews_correlation: for any number of classes (Gorodkin 2004); 0 if the labels or the
    predictions are constant. pearson, spearmanr (ties take their mean rank): nan in that case.
    Raises ValueError for empty arrays and for other shapes.
    """
    import numpy as np

    predictions, labels = np.asarray(predictions), np.asarray(labels)
    dimensions = 2 if task.multi_label else 1
    shape = labels.shape
    if predictions.ndim != dimensions or predictions.shape != shape or not len(labels):
        shapes = f"{list(predictions.shape)} and {list(shape)}"
        expected = "[n, labels]" if task.multi_label else "[n]"
        raise ValueError(
            f"predictions and labels must be two equal non-empty {expected}; got {shapes}"
        )
    return {name: METRICS[name].compute(predictions, labels) for name in task.metrics}


def log_fields(task: Task, metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return (name, value) in the order and with the names of the log line, as ("accu", 0.9)."""
    return [(METRICS[name].log_name, metrics[name]) for name in task.metrics]


def primary_metric(task: Task, metrics: Mapping[str, float]) -> float:
    """Return the value that selects the best step: the mean of the metrics `task.primary.names`.

    For MNLI pass the metrics of its first dev set, matched. nan if any of the metrics is nan.
    """
    import numpy as np

    return float(np.mean([metrics[name] for name in task.primary.names]))
