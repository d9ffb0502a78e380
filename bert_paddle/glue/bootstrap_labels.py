"""Bootstrap intervals of the metrics of rows with any number of labels; see bootstrap.py."""

from collections.abc import Callable, Sequence

import numpy as np

from bert_paddle.common.intervals import Interval
from bert_paddle.glue import bootstrap

# Bounds on time and memory: numbers drawn in all, and in memory at a time.
_MAX_DRAWS, _MIN_RESAMPLES, _CHUNK = 40_000_000, 100, 4_000_000


def intervals(
    names: Sequence[str], predictions: np.ndarray, labels: np.ndarray
) -> dict[str, Interval]:
    """The interval of each of these metrics (names in all_results.json) on one data set.

    predictions, labels: [n, labels], 0 or 1. Left out: metrics that this module cannot resample.
    """
    drawn = resample([name for name in names if name in _METRICS], predictions > 0, labels > 0)
    found = {name: bootstrap.percentiles(values) for name, values in drawn.items()}
    return {name: interval for name, interval in found.items() if interval is not None}


def resample_models(
    names: Sequence[str],
    predictions: Sequence[np.ndarray],
    labels: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """`resample` for several models, on the same rows, so that differences are paired: float64
    [models, resamples]. Metrics that cannot be resampled are left out."""
    known = [name for name in names if name in _METRICS]
    of_models = [resample(known, model, labels, resamples, seed) for model in predictions]
    return {name: np.stack([drawn[name] for drawn in of_models]) for name in known}


def resample(
    names: Sequence[str],
    predictions: np.ndarray,
    labels: np.ndarray,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> dict[str, np.ndarray]:
    """The values of each metric in resamples of the rows: float64 [resamples]. predictions, labels:
    bool [rows, labels]."""
    rows = len(labels)
    resamples = min(resamples, max(_MIN_RESAMPLES, _MAX_DRAWS // rows))
    random = np.random.default_rng(seed)
    hits = (predictions & labels).astype(np.float64)
    total = predictions.astype(np.float64) + labels
    right = (predictions == labels).all(axis=1).astype(np.float64)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in names}
    size = max(1, _CHUNK // rows)
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        equal = np.full(rows, 1 / rows)
        counts = random.multinomial(rows, equal, size=count).astype(np.float64)
        sums = counts @ hits, counts @ total, counts @ right
        for name in names:
            drawn[name].append(_METRICS[name](*sums, rows))
    return {name: np.concatenate(parts) for name, parts in drawn.items()}


def _f1_micro(hits: np.ndarray, total: np.ndarray, right: np.ndarray, rows: int) -> np.ndarray:
    return _f1(hits.sum(axis=1), total.sum(axis=1))


def _f1_macro(hits: np.ndarray, total: np.ndarray, right: np.ndarray, rows: int) -> np.ndarray:
    return _f1(hits, total).mean(axis=1)


def _exact_match(hits: np.ndarray, total: np.ndarray, right: np.ndarray, rows: int) -> np.ndarray:
    return right / rows


def _f1(hits: np.ndarray, total: np.ndarray) -> np.ndarray:
    """2 hits / total; 0 where neither a label nor a prediction is there, as metrics.py has it."""
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)


# Functions of the resamples' sums over rows: of labels predicted rightly and of predictions and
# labels together, [r, labels], and of rows without a mistake, [r]; and of the number of rows.
_METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray]] = {
    "f1_micro": _f1_micro,
    "f1_macro": _f1_macro,
    "exact_match": _exact_match,
}
