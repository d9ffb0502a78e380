"""The metrics, as pure functions of predictions and labels.

Keys are those of all_results.json. A metric is computed once over a whole set: the mean of
per-batch values would be a different number.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping

import numpy as np

from bert_paddle.common.matthews import matthews_correlation
from bert_paddle.glue.tasks import Task


def _accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(predictions == labels))


# F1 as sklearn.metrics.f1_score computes it, whose import takes seconds: twice the rows of a class
# that are right, by those predicted and those labelled as it.
def _f1(predictions: np.ndarray, labels: np.ndarray) -> float:
    predicted, actual = predictions == 1, labels == 1
    rows = int(predicted.sum()) + int(actual.sum())
    return 2 * int((predicted & actual).sum()) / rows if rows else 0.0


def _f1_macro(predictions: np.ndarray, labels: np.ndarray) -> float:
    classes, numbers = np.unique(np.concatenate([predictions, labels]), return_inverse=True)
    predicted, actual = np.split(numbers, 2)
    right = np.bincount(predicted[predicted == actual], minlength=len(classes))
    return float(np.mean(2 * right / np.bincount(numbers)))


def _mse(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean((predictions.astype(np.float64) - labels) ** 2))


def _matthews(predictions: np.ndarray, labels: np.ndarray) -> float:
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
    x, y = predictions.astype(np.float64), labels.astype(np.float64)
    if not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    with warnings.catch_warnings():
        # Nearly constant predictions give a warning in every evaluation.
        warnings.simplefilter("ignore")
        return float(function(x, y)[0])


# Key in all_results.json -> name in log lines, function of (predictions, labels).
METRICS: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], float]]] = {
    "accuracy": ("accu", _accuracy),
    "f1": ("f1", _f1),
    "f1_macro": ("f1_macro", _f1_macro),
    "matthews_correlation": ("mcc", _matthews),
    "pearson": ("pearson", _pearson),
    "spearmanr": ("spearman", _spearman),
    "mse": ("mse", _mse),
}


def compute(task: Task, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the task's metrics on one data set, keyed as in all_results.json.

    `predictions` and `labels` are [n]: label indices, or real-valued scores for regression.
    f1: for label 1 (equivalent, duplicate); 0 if no row has label 1 or is predicted as 1.
    f1_macro: the mean F1 of the classes that occur in the labels or the predictions.
    matthews_correlation: for any number of classes (Gorodkin 2004); 0 if the labels or the
    predictions are constant. pearson, spearmanr (ties take their mean rank): nan in that case.
    Raises ValueError for empty arrays and for shapes other than two equal [n].
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.ndim != 1 or predictions.shape != labels.shape or not len(labels):
        shapes = f"{list(predictions.shape)} and {list(labels.shape)}"
        raise ValueError(f"predictions and labels must be two equal non-empty [n]; got {shapes}")
    return {name: METRICS[name][1](predictions, labels) for name in task.metrics}


def log_fields(task: Task, metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return (name, value) in the order and with the names of the log line, as ("accu", 0.9)."""
    return [(METRICS[name][0], metrics[name]) for name in task.metrics]


def primary_metric(task: Task, metrics: Mapping[str, float]) -> float:
    """Return the value that selects the best step: the mean of the metrics `task.primary.names`.

    For MNLI pass the metrics of its first dev set, matched. nan if any of the metrics is nan.
    """
    return float(np.mean([metrics[name] for name in task.primary.names]))
