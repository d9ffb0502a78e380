"""The Matthews correlation coefficient, for evaluation and for reports."""

from collections.abc import Sequence

import numpy as np


def matthews_correlation(
    labels: np.ndarray | Sequence[str], predictions: np.ndarray | Sequence[str]
) -> float:
    """For any number of classes (Gorodkin 2004); 0 if all labels or all predictions are the
    same."""
    # From the rows per class: sklearn computes the same from a confusion matrix, which grows with
    # the square of the number of classes.
    _, index = np.unique(np.concatenate([labels, predictions]), return_inverse=True)
    of_labels, of_predictions = np.split(index.reshape(-1), 2)
    count, rows = int(index.max()) + 1, float(len(of_labels))
    label_rows, predicted_rows = (
        np.bincount(part, minlength=count).astype(np.float64)
        for part in (of_labels, of_predictions)
    )
    correct = float(np.sum(of_labels == of_predictions))
    covariance = correct * rows - label_rows @ predicted_rows
    variances = (rows**2 - predicted_rows @ predicted_rows) * (rows**2 - label_rows @ label_rows)
    return float(covariance / np.sqrt(variances)) if variances else 0.0
