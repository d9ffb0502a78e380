"""Bootstrap intervals of the metrics: how much they would vary with other rows of the same kind.

Rows are drawn again with replacement (Efron 1979) and the metrics computed for each such resample;
an interval is between percentiles of these values. It says nothing about what another seed or other
training data would change. The draws are seeded, and need no model: equal predictions give equal
intervals, however many processes made them.

Only how often each kind of row is drawn matters: for classes a kind is a combination of label and
predictions, for scores every row is one. Of many scores, parts are resampled to the number of all
rows (the bag of little bootstraps, Kleiner et al. 2014), so that time and memory are bounded.
"""

from collections.abc import Callable, Sequence

import numpy as np

from bert_paddle.common.intervals import CONFIDENCE, Interval, clip, metric_range

RESAMPLES, SEED = 1000, 0
# Bounds on time and memory: rows drawn in all for classes, of which fewer resamples are made then;
# scores in a part, and the number of parts; counts in memory at a time.
_MAX_DRAWS, _MIN_RESAMPLES = 40_000_000, 100
_PART_ROWS, _PARTS = 1_500, 20
_CHUNK = 100_000


def intervals(
    names: Sequence[str], predictions: np.ndarray, labels: np.ndarray
) -> dict[str, Interval]:
    """The interval of each of these metrics (names in all_results.json) on one data set, clipped to
    the metric's range, beyond which resamples of parts of the rows may lead.

    predictions, labels: [n], class indices or scores. Left out: metrics that this module cannot
    resample, and those undefined for most resamples (a correlation of constant scores).
    """
    drawn = resample(names, [predictions], labels)
    found = {name: percentiles(values[0]) for name, values in drawn.items()}
    return {
        name: clip(interval, metric_range(name))
        for name, interval in found.items()
        if interval is not None
    }


def resample(
    names: Sequence[str],
    predictions: Sequence[np.ndarray],
    labels: np.ndarray,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, np.ndarray]:
    """The values of each metric in resamples of the rows: float64 [models, resamples], nan where a
    metric is undefined.

    predictions: [n] of each model; all are resampled with the same rows, so that differences are
    paired. Metrics that cannot be resampled are left out.
    """
    random = np.random.default_rng(seed)
    drawn: dict[str, np.ndarray] = {}
    if of_classes := [name for name in names if name in _OF_CLASSES]:
        drawn |= _resample_classes(of_classes, predictions, labels, resamples, random)
    if of_scores := [name for name in names if name in _OF_SCORES]:
        drawn |= _resample_scores(of_scores, predictions, labels, resamples, random)
    return {name: drawn[name] for name in names if name in drawn}


def percentiles(values: np.ndarray) -> Interval | None:
    """The interval that holds the share CONFIDENCE of these values [resamples]; None if more than a
    twentieth of them are undefined."""
    defined = values[np.isfinite(values)]
    if len(defined) < 0.95 * len(values):
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


class _Cells:
    """The combinations of label and one model's prediction that occur: class indices [cells].

    Counts are float64 [r, cells]: how often each combination is drawn in r resamples of `rows`.
    """

    def __init__(self, label: np.ndarray, prediction: np.ndarray, rows: int):
        correct, positive, predicted = label == prediction, label == 1, prediction == 1
        self.rows = float(rows)
        # Of which cells counts are added up: a column of 0 and 1 for each sum.
        sums = np.stack([correct, positive, predicted, positive & predicted], axis=1)
        self._sums = sums.astype(np.float64)
        names = np.unique(np.concatenate([label, prediction]))
        self.classes = len(names)
        everywhere = np.ones(len(label), bool)
        self.by_label = self._groups(np.searchsorted(names, label), everywhere)
        self.by_prediction = self._groups(np.searchsorted(names, prediction), everywhere)
        self.by_correct = self._groups(np.searchsorted(names, label), correct)

    @staticmethod
    def _groups(classes: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        """The chosen cells (a mask) by class: their order, where each class starts, its index."""
        cells = np.flatnonzero(chosen)
        order = cells[np.argsort(classes[cells], kind="stable")]
        present, starts = np.unique(classes[order], return_index=True)
        return order, starts, present

    def sums(self, counts: np.ndarray) -> np.ndarray:
        """The rows that are right, of class 1, predicted to be of class 1, and both; [4, r]."""
        return (counts @ self._sums).T

    def of_classes(self, counts: np.ndarray, groups: tuple[np.ndarray, ...]) -> np.ndarray:
        """The rows of each class, [r, classes]. groups: by_label, by_prediction or by_correct."""
        order, starts, present = groups
        rows = np.zeros((len(counts), self.classes))
        if len(order):
            rows[:, present] = np.add.reduceat(counts[:, order], starts, axis=1)
        return rows


def _accuracy(cells: _Cells, counts: np.ndarray) -> np.ndarray:
    return cells.sums(counts)[0] / cells.rows


def _f1(cells: _Cells, counts: np.ndarray) -> np.ndarray:
    _, positive, predicted, both = cells.sums(counts)
    return _divide(2 * both, positive + predicted, 0.0)


def _f1_macro(cells: _Cells, counts: np.ndarray) -> np.ndarray:
    correct = cells.of_classes(counts, cells.by_correct)
    total = cells.of_classes(counts, cells.by_label)
    total += cells.of_classes(counts, cells.by_prediction)
    return _divide(2 * correct, total, 0.0).sum(axis=1) / (total > 0).sum(axis=1)


def _matthews(cells: _Cells, counts: np.ndarray) -> np.ndarray:
    labels = cells.of_classes(counts, cells.by_label)
    predicted = cells.of_classes(counts, cells.by_prediction)
    squared = cells.rows**2
    covariance = cells.sums(counts)[0] * cells.rows - (labels * predicted).sum(axis=1)
    variances = (squared - (predicted**2).sum(axis=1)) * (squared - (labels**2).sum(axis=1))
    return _divide(covariance, np.sqrt(variances), 0.0)


_OF_CLASSES: dict[str, Callable[[_Cells, np.ndarray], np.ndarray]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "f1_macro": _f1_macro,
    "matthews_correlation": _matthews,
}


def _resample_classes(
    names: Sequence[str],
    predictions: Sequence[np.ndarray],
    labels: np.ndarray,
    resamples: int,
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    classes, codes = np.unique(np.concatenate([labels, *predictions]), return_inverse=True)
    columns = np.split(codes.reshape(-1).astype(np.int64), len(predictions) + 1)
    # One number for each combination of the classes in a row.
    cell_of_row = columns[0]
    for column in columns[1:]:
        _, cell_of_row = np.unique(cell_of_row * len(classes) + column, return_inverse=True)
        cell_of_row = cell_of_row.reshape(-1)
    _, first_rows, counts = np.unique(cell_of_row, return_index=True, return_counts=True)
    label, *predicted = (classes[column[first_rows]] for column in columns)
    of_models = [_Cells(label, prediction, len(labels)) for prediction in predicted]
    # A binomial number costs as much as drawing some twenty rows.
    by_row = len(labels) < 20 * len(counts)
    draws = len(labels) if by_row else 20 * len(counts)
    resamples = min(resamples, max(_MIN_RESAMPLES, _MAX_DRAWS // draws))
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for size in _chunks(resamples, len(counts)):
        if by_row:
            rows = (
                cell_of_row[random.integers(len(labels), size=len(labels))] for _ in range(size)
            )
            weights = np.stack([np.bincount(cells, minlength=len(counts)) for cells in rows])
        else:
            weights = random.multinomial(len(labels), counts / len(labels), size=size)
        weights = weights.astype(np.float64)
        for name in names:
            drawn[name].append(np.stack([_OF_CLASSES[name](m, weights) for m in of_models]))
    return {name: np.concatenate(parts, axis=1) for name, parts in drawn.items()}


def _pearson(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    x, y = labels - labels.mean(), scores - scores.mean()
    columns = np.stack([x, y, x * x, y * y, x * y], axis=1)
    x1, y1, x2, y2, xy = (counts @ columns / counts.sum(axis=1, keepdims=True)).T
    variances = np.maximum(x2 - x1 * x1, 0.0) * np.maximum(y2 - y1 * y1, 0.0)
    return _divide(xy - x1 * y1, np.sqrt(variances), np.nan)


def _spearman(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    x, y = _centred_ranks(labels, counts), _centred_ranks(scores, counts)
    norms = np.sqrt((counts * x * x).sum(axis=1) * (counts * y * y).sum(axis=1))
    return _divide((counts * x * y).sum(axis=1), norms, np.nan)


def _centred_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The rank of each row's value in each resample less the mean rank, [r, rows]; ties have their
    mean rank."""
    order = np.argsort(values, kind="stable")
    _, starts, inverse = np.unique(values[order], return_index=True, return_inverse=True)
    of_value = np.add.reduceat(counts[:, order], starts, axis=1)
    ranks = np.cumsum(of_value, axis=1) - of_value / 2 - counts.sum(axis=1, keepdims=True) / 2
    by_row = np.empty_like(order)
    by_row[order] = inverse.reshape(-1)
    return ranks[:, by_row]


def _mse(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return counts @ (labels - scores) ** 2 / counts.sum(axis=1)


# Functions of labels and scores, [rows], and of how often each row is drawn, [r, rows].
_OF_SCORES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "pearson": _pearson,
    "spearmanr": _spearman,
    "mse": _mse,
}


def _resample_scores(
    names: Sequence[str],
    predictions: Sequence[np.ndarray],
    labels: np.ndarray,
    resamples: int,
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    labels = labels.astype(np.float64)
    models = [scores.astype(np.float64) for scores in predictions]
    rows, drawn = len(labels), {name: list[np.ndarray]() for name in names}
    parts = 1 if rows <= _PART_ROWS else _PARTS

    def estimates(name: str, index: np.ndarray) -> np.ndarray:
        """The metric of these rows, for each model; [models, 1]."""
        once = np.ones((1, len(index)))
        return np.stack([_OF_SCORES[name](labels[index], s[index], once) for s in models])

    of_all = {name: estimates(name, np.arange(rows)) for name in names}
    for _ in range(parts):
        part: np.ndarray = np.arange(rows)
        if parts > 1:
            part = random.choice(rows, _PART_ROWS, replace=False)
        # Values around the metric of all rows, where the part's own is another.
        moves = {name: of_all[name] - estimates(name, part) for name in names}
        for size in _chunks(resamples // parts, len(part)):
            equal = np.full(len(part), 1 / len(part))
            counts = random.multinomial(rows, equal, size=size).astype(np.float64)
            for name in names:
                values = [_OF_SCORES[name](labels[part], s[part], counts) for s in models]
                drawn[name].append(np.stack(values) + moves[name])
    return {name: np.concatenate(values, axis=1) for name, values in drawn.items()}


def _chunks(resamples: int, numbers: int) -> list[int]:
    """How many resamples to draw at a time, `numbers` numbers each."""
    size = max(1, _CHUNK // numbers)
    return [min(size, resamples - start) for start in range(0, resamples, size)]


def _divide(values: np.ndarray, by: np.ndarray, undefined: float) -> np.ndarray:
    """The quotients; `undefined` where the divisor is 0."""
    return np.divide(values, by, out=np.full_like(by, undefined), where=by > 0)
