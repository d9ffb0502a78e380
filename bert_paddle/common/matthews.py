"""The Matthews correlation coefficient, for evaluation and for reports."""

import warnings
from collections.abc import Sequence

import numpy as np


def matthews_correlation(
    labels: np.ndarray | Sequence[str], predictions: np.ndarray | Sequence[str]
) -> float:
    """For any number of classes (Gorodkin 2004); 0 if all labels or all predictions are the
    same."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sklearn warns if both are all of one class
        return float(matthews_corrcoef(labels, predictions))
