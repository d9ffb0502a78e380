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
    return float(np.mean((predictions == labels).all(axis=1)))


def f1_per_label(predictions: np.ndarray, labels: np.ndarray) -> list[float]:
    """The F1 of each label, from 0/1 arrays [rows, labels]; 0 for a label that is neither true of a
    row nor predicted."""
    from sklearn.metrics import f1_score

    return [float(v) for v in f1_score(labels, predictions, average=None, zero_division=0)]


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
    "f1_micro": ("f1_micro", _f1_micro),
    "exact_match": ("exact_match", _exact_match),
    "matthews_correlation": ("mcc", _matthews),
    "pearson": ("pearson", _pearson),
    "spearmanr": ("spearman", _spearman),
    "mse": ("mse", _mse),
}


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
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    dimensions = 2 if task.multi_label else 1
    shape = labels.shape
    if predictions.ndim != dimensions or predictions.shape != shape or not len(labels):
        shapes = f"{list(predictions.shape)} and {list(shape)}"
        expected = "[n, labels]" if task.multi_label else "[n]"
        raise ValueError(
            f"predictions and labels must be two equal non-empty {expected}; got {shapes}"
        )
    return {name: METRICS[name][1](predictions, labels) for name in task.metrics}


def log_fields(task: Task, metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return (name, value) in the order and with the names of the log line, as ("accu", 0.9)."""
    return [(METRICS[name][0], metrics[name]) for name in task.metrics]


def primary_metric(task: Task, metrics: Mapping[str, float]) -> float:
    """Return the value that selects the best step: the mean of the metrics `task.primary.names`.

    For MNLI pass the metrics of its first dev set, matched. nan if any of the metrics is nan.
    """
    return float(np.mean([metrics[name] for name in task.primary.names]))
