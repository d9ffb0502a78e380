"""The probabilities from which on labels are predicted, where a row has any number of them."""

from collections.abc import Sequence

import numpy as np

from bert_paddle.glue.label_args import DEFAULT_THRESHOLD


def of_labels(given: Sequence[float], labels: Sequence[str]) -> tuple[float, ...]:
    """The threshold of each label. given: one for all labels or one for each; (): the default.
    Raises ValueError for another number of them."""
    if len(given) not in (0, 1, len(labels)):
        names = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
        raise ValueError(f"{len(given)} thresholds for {len(labels)} labels ({names})")
    values = tuple(given) or (DEFAULT_THRESHOLD,)
    return values * len(labels) if len(values) == 1 else values


def fit(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    """For each label the threshold with the highest F1 on these rows.

    probabilities: [rows, labels]; labels: 1 where the label is true, else 0. A threshold lies
    halfway between two neighbouring probabilities, so that it does not depend on their rounding; of
    equally good ones, the nearest to the default is taken, which a label without a row keeps.
    """
    columns, truths = probabilities.astype(np.float64), labels > 0.5
    return tuple(_fit_one(columns[:, k], truths[:, k]) for k in range(labels.shape[1]))


def _fit_one(probabilities: np.ndarray, truths: np.ndarray) -> float:
    total = int(truths.sum())
    if total == 0:
        return DEFAULT_THRESHOLD
    order = np.argsort(-probabilities, kind="stable")
    descending = probabilities[order]
    # Predicting the first n rows, for every n behind whose last row the probability falls.
    cuts = np.append(np.flatnonzero(np.diff(descending) < 0), len(descending) - 1)
    right = np.cumsum(truths[order])[cuts]
    f1 = 2 * right / (cuts + 1 + total)
    above = descending[cuts]
    below = np.append(descending[cuts[:-1] + 1], 0.0)
    # The default itself, where it separates the same rows.
    inside = (below < DEFAULT_THRESHOLD) & (above >= DEFAULT_THRESHOLD)
    candidates = np.where(inside, DEFAULT_THRESHOLD, (above + below) / 2)
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    nearest = best[np.argmin(np.abs(candidates[best] - DEFAULT_THRESHOLD))]
    # Rounded for the model's config.json, within the gap.
    threshold, least = float(candidates[nearest]), float(below[nearest])
    rounded = round(threshold, 6)
    return rounded if least < rounded <= float(above[nearest]) and 0 < rounded < 1 else threshold
