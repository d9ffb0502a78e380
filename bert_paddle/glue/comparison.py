"""Compare two runs on the same dev rows: paired bootstrap of each metric, McNemar's exact test.

Both are tests of these two models on rows like these; they know nothing of what other seeds would
give.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from bert_paddle.common import read_files
from bert_paddle.common.errors import DataError
from bert_paddle.common.intervals import Interval
from bert_paddle.glue import bootstrap, bootstrap_labels, dev_predictions, metrics
from bert_paddle.glue.dev_predictions import Answer
from bert_paddle.training import run_info
from bert_paddle.training.run_files import RESULTS_FILE

RESAMPLES = 10_000
_FILE = "dev_predictions"
_AGAIN = "evaluate again (--do_eval)"


@dataclass(frozen=True)
class Rows:
    """The predictions of a run for a dev set, in the order of its file. values: those of label and
    prediction, as class names, scores or sorted names of any number of labels; texts: what
    recognizes a row."""

    path: Path
    texts: list[tuple[str, str | None]]
    labels: list[Answer]
    predictions: list[Answer]

    @property
    def are_scores(self) -> bool:
        """Whether the labels are numbers."""
        return isinstance(self.labels[0], float)

    @property
    def are_several(self) -> bool:
        """Whether each row has any number of labels."""
        return isinstance(self.labels[0], tuple)


@dataclass(frozen=True)
class MetricComparison:
    """A metric of both runs, `name` as in all_results.json. interval: of b - a, by paired
    bootstrap; None if it is undefined."""

    name: str
    a: float
    b: float
    interval: Interval | None

    @property
    def shown(self) -> str | None:
        """The run that the interval shows to be better, "A" or "B"; None: neither."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return None
        return "B" if (self.interval[0] > 0) == metrics.higher_is_better(self.name) else "A"


@dataclass(frozen=True)
class McNemar:
    """Rows by which of the runs is right about them: without a mistake, of several labels. metric:
    the share of right rows, as in all_results.json; p_value: of the exact test, two-sided."""

    metric: str
    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float


@dataclass(frozen=True)
class DevSetComparison:
    """Two runs on one dev set. name: "dev set" or "dev set, mismatched"; different_predictions: the
    number of rows. mcnemar: None for scores."""

    name: str
    rows: int
    different_predictions: int
    metrics: list[MetricComparison]
    mcnemar: McNemar | None


@dataclass(frozen=True)
class Comparison:
    """Two runs on all dev sets of their task."""

    task: str
    dev_sets: list[DevSetComparison]


def compare(run_a: Path, run_b: Path, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compare two finished runs on the dev sets of their task.

    Raises DataError for a folder that is not that of a finished and evaluated run, and for runs
    whose tasks, rows or labels differ.
    """
    results = [_read_results(run) for run in (run_a, run_b)]
    tasks = [str(values.get("task")) for values in results]
    if tasks[0] != tasks[1]:
        raise DataError(
            f"{run_a} is a run on {tasks[0]} and {run_b} on {tasks[1]}: only runs on the same task "
            "can be compared"
        )
    dev_sets = []
    for name, suffix in (("dev set", ""), ("dev set, mismatched", "_mm")):
        paths = [run / f"{_FILE}{suffix}.jsonl" for run in (run_a, run_b)]
        exist = [read_files.is_file(path) for path in paths]
        if suffix and not any(exist):
            continue
        a, b = (_read_rows(path) for path in paths)
        _check_same(a, b)
        names = [
            metric
            for metric in metrics.METRICS
            if all(f"eval_{metric}{suffix}" in values for values in results)
        ]
        labels = [str(label) for label in run_info.read(run_a).get("labels") or ()]
        dev_sets.append(_compare_rows(name, names, a, b, labels, resamples, seed))
    return Comparison(tasks[0], dev_sets)


def as_dict(compared: Comparison) -> dict[str, Any]:
    """The comparison as a JSON object; `shown` is "A", "B" or null."""
    values: dict[str, Any] = dataclasses.asdict(compared)
    for dev_set, of_dict in zip(compared.dev_sets, values["dev_sets"], strict=True):
        for metric, entry in zip(dev_set.metrics, of_dict["metrics"], strict=True):
            interval = None if metric.interval is None else list(metric.interval)
            difference = metric.b - metric.a
            entry |= {"interval": interval, "difference": difference, "shown": metric.shown}
    return values


def _read_results(run: Path) -> dict[str, Any]:
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; give the --output_dir of a run")
    results = read_files.read_json_object(run / RESULTS_FILE)
    if not read_files.is_file(run / f"{_FILE}.jsonl"):
        inner = (f"*/{_FILE}.jsonl", f"*/*/{_FILE}.jsonl")  # of seeds; of a benchmark
        if runs := sorted(path.parent for pattern in inner for path in run.glob(pattern)):
            raise DataError(f"{run} has several runs: give one of them, such as {runs[0]}")
        raise DataError(
            f"{run} has no {_FILE}.jsonl: give the --output_dir of a finished run with --do_eval "
            "on a GLUE task or your own data"
        )
    if results is None:
        raise DataError(f"{run} has no readable {RESULTS_FILE}: the run did not finish")
    return results


def _read_rows(path: Path) -> Rows:
    """The predictions in a file. Raises DataError for a missing, damaged or incomplete one."""
    if not read_files.is_file(path):
        raise DataError(f"{path} is missing, and the other run has it: evaluate again (--do_eval)")
    read = dev_predictions.read_rows(path, _AGAIN, with_predictions=True)
    predictions = [row.prediction for row in read if row.prediction is not None]
    rows = Rows(path, [row.texts for row in read], [row.label for row in read], predictions)
    if len({type(value) for value in (*rows.labels, *rows.predictions)}) != 1:
        raise DataError(f"{path} has labels of several kinds: {_AGAIN}")
    return rows


def _check_same(a: Rows, b: Rows) -> None:
    """Raise DataError if the rows or their labels differ."""
    if len(a.labels) != len(b.labels):
        raise DataError(
            f"{a.path} has {len(a.labels)} rows and {b.path} {len(b.labels)}: only runs evaluated "
            "on the same rows can be compared"
        )
    for what, of_a, of_b in (("texts", a.texts, b.texts), ("labels", a.labels, b.labels)):
        differing = [
            i for i, pair in enumerate(zip(of_a, of_b, strict=True), 1) if len({*pair}) > 1
        ]
        if differing:
            raise DataError(
                f"{a.path} and {b.path} have different {what} in {len(differing)} row(s), first in "
                f"row {differing[0]}: only runs evaluated on the same rows can be compared"
            )


def _compare_rows(
    name: str, names: list[str], a: Rows, b: Rows, classes: list[str], resamples: int, seed: int
) -> DevSetComparison:
    labels, guesses_a, guesses_b = _as_arrays(a, b, classes)
    resample = bootstrap_labels.resample_models if a.are_several else bootstrap.resample
    drawn = resample(names, [guesses_a, guesses_b], labels, resamples, seed)
    compared = []
    for metric, (of_a, of_b) in drawn.items():
        compute, interval = metrics.METRICS[metric].compute, bootstrap.percentiles(of_b - of_a)
        estimates = compute(guesses_a, labels), compute(guesses_b, labels)
        compared.append(MetricComparison(metric, *estimates, interval))
    different = int(np.sum(~_equal_rows(guesses_a, guesses_b)))
    mcnemar = None if a.are_scores else _mcnemar(guesses_a, guesses_b, labels)
    return DevSetComparison(name, len(labels), different, compared, mcnemar)


def _as_arrays(a: Rows, b: Rows, classes: list[str]) -> Iterator[np.ndarray]:
    """Labels, predictions of a and of b: scores, or class indices in the order of the run's
    classes, since F1 is that of the second one, or bool [rows, labels]."""
    columns = (a.labels, a.predictions, b.predictions)
    if a.are_scores:
        return (np.array(column, np.float64) for column in columns)
    if a.are_several:
        several = cast("tuple[list[tuple[str, ...]], ...]", columns)
        return (np.array([[c in value for c in classes] for value in rows]) for rows in several)
    others = sorted({str(value) for column in columns for value in column} - {*classes})
    index = {value: i for i, value in enumerate([*classes, *others])}
    return (np.array([index[str(value)] for value in column]) for column in columns)


def _mcnemar(a: np.ndarray, b: np.ndarray, labels: np.ndarray) -> McNemar:
    from scipy.stats import binomtest

    right_a, right_b = _equal_rows(a, labels), _equal_rows(b, labels)
    only_a, only_b = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    discordant = only_a + only_b
    p_value = float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0
    both = int(np.sum(right_a & right_b))
    metric = "exact_match" if labels.ndim == 2 else "accuracy"
    return McNemar(metric, both, only_a, only_b, len(labels) - both - discordant, p_value)


def _equal_rows(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bool [rows]. a, b: [rows] or, of several labels, [rows, labels]."""
    return a == b if a.ndim == 1 else (a == b).all(axis=1)
