"""Confidence intervals in results: their keys, the ranges of metrics, the interval of a mean over
seeds."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from bert_paddle.common.run_log import finite_float_or_none

Interval = tuple[float, float]

CONFIDENCE = 0.95
# Appended to a metric's name, before the suffix of a dev set: eval_accuracy_ci95_mm.
INTERVAL_SUFFIX = "_ci95"


# The values that a metric can have, by its name in all_results.json.
UNLIMITED: Interval = -math.inf, math.inf
RANGES: dict[str, Interval] = {
    **dict.fromkeys(("accuracy", "f1", "f1_macro", "f1_micro", "exact_match"), (0.0, 1.0)),
    **dict.fromkeys(("matthews_correlation", "pearson", "spearmanr"), (-1.0, 1.0)),
    **dict.fromkeys(("mse", "loss", "train_runtime"), (0.0, math.inf)),
    "perplexity": (1.0, math.inf),
}


def metric_range(key: str) -> Interval:
    """The range of a metric, from its key in all_results.json, such as eval_f1_mm or test_ax_f1;
    UNLIMITED for others."""
    name = key.removesuffix("_mm")
    return next((RANGES[m] for m in RANGES if name == m or name.endswith(f"_{m}")), UNLIMITED)


def clip(interval: Interval, limits: Interval) -> Interval:
    """The interval with ends beyond the limits moved to these."""
    low, high = (min(max(end, limits[0]), limits[1]) for end in interval)
    return low, high


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


def mean_interval(values: Sequence[float], limits: Interval = UNLIMITED) -> Interval | None:
    """The t-interval of the mean that values such as those of several seeds are drawn around; None
    for fewer than two. It assumes that they are about normally distributed, which reaches beyond
    what a metric can be: it is clipped to `limits`, the metric's range."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # much less to import than scipy.stats.t

    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    reach = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) * deviation / len(values) ** 0.5
    return clip((mean - reach, mean + reach), limits)
