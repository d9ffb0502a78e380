"""Confidence intervals in results: their keys, and that of a mean over seeds."""

import statistics
from collections.abc import Sequence
from typing import Any

from bert_paddle.common.run_log import finite_float_or_none

Interval = tuple[float, float]

CONFIDENCE = 0.95
# Appended to a metric's name, before the suffix of a dev set: eval_accuracy_ci95_mm.
INTERVAL_SUFFIX = "_ci95"


def interval_key(key: str) -> str:
    """The key of a metric's interval: eval_accuracy_ci95_mm for eval_accuracy_mm."""
    mismatched = "_mm" if key.endswith("_mm") else ""
    return f"{key.removesuffix('_mm')}{INTERVAL_SUFFIX}{mismatched}"


def is_interval_key(key: str) -> bool:
    """Whether it is the key of an interval."""
    return key.removesuffix("_mm").endswith(INTERVAL_SUFFIX)


def interval_or_none(value: Any) -> Interval | None:
    """A JSON value as an interval; None if it is not a list of two finite numbers."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = map(finite_float_or_none, value)
    return None if low is None or high is None else (low, high)


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The t-interval of the mean that values such as those of several seeds are drawn around; None
    for fewer than two. It assumes that they are about normally distributed."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # much less to import than scipy.stats.t

    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    reach = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * deviation / len(values) ** 0.5
    return mean - reach, mean + reach
