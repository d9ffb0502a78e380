"""Scores of GLUE tasks, in percent, and their average as GLUE computes it."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.intervals import (
    Interval,
    interval_key,
    interval_or_none,
    mean_interval,
    metric_range,
)
from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.glue.tasks import TASKS, Task
from bert_paddle.sweep.benchmark.args import GLUE_TASKS
from bert_paddle.sweep.table import RunOutcome

PUBLISHED_FILE = Path(__file__).parent / "published.json"
WNLI = "WNLI"
_AVERAGE_RANGE = (-100.0, 100.0)  # some of the metrics are correlations


@dataclass(frozen=True)
class Figure:
    """A metric over the seeds, in percent. deviation: of two or more seeds. interval: of the mean
    over further seeds (t), or for one seed over further rows (bootstrap), within the metric's
    range."""

    mean: float
    deviation: float | None
    interval: Interval | None


@dataclass
class TaskScores:
    """The finished runs of a task. figures: one for each of its metrics on each dev set, in their
    order; empty if no run is finished. by_seed: the task's score of each seed, without those in
    which a metric is undefined."""

    task: Task
    outcomes: list[RunOutcome]
    figures: list[Figure]
    by_seed: dict[int, float]

    @property
    def finished_text(self) -> str:
        """How many seeds are finished, such as "3" (all) or "2 of 3"."""
        finished, count = sum(bool(one.results) for one in self.outcomes), len(self.outcomes)
        return str(count) if finished == count else f"{finished} of {count}"

    @property
    def best(self) -> RunOutcome | None:
        """The finished run with the best score on the dev set, whose predictions are submitted."""
        finished = [outcome for outcome in self.outcomes if outcome.run.seed in self.by_seed]
        return max(finished, key=lambda one: self.by_seed[one.run.seed], default=None)


def metric_keys(task: Task) -> list[str]:
    """The keys of a task's metrics in all_results.json: MNLI's are those of both dev sets."""
    return [f"eval_{name}{dev.suffix}" for dev in task.dev_sets for name in task.metrics]


def task_scores(task: Task, outcomes: Sequence[RunOutcome]) -> TaskScores:
    """The scores of a task's runs, one for each seed."""
    values: dict[int, list[float]] = {}
    intervals: dict[int, list[Interval | None]] = {}
    for outcome in outcomes:
        results = outcome.results or {}
        # Without a mismatched dev set MNLI has its matched one only.
        keys = [key for key in metric_keys(task) if key in results]
        found = [finite_float_or_none(results[key]) for key in keys]
        if found and None not in found:
            values[outcome.run.seed] = [100 * value for value in found if value is not None]
            intervals[outcome.run.seed] = [_percent(results.get(interval_key(k))) for k in keys]
    count = min(map(len, values.values()), default=0)
    figures = []
    for i in range(count):
        of_seeds = [of_seed[i] for of_seed in values.values()]
        rows_interval = next(iter(intervals.values()))[i]
        figures.append(_figure(of_seeds, percent_range(metric_keys(task)[i]), rows_interval))
    by_seed = {seed: statistics.fmean(of_seed) for seed, of_seed in values.items()}
    return TaskScores(task, list(outcomes), figures, by_seed)


def _percent(value: Any) -> Interval | None:
    interval = interval_or_none(value)
    return None if interval is None else (100 * interval[0], 100 * interval[1])


def percent_range(key: str) -> Interval:
    """The range of a metric, from its key in all_results.json, in percent."""
    low, high = metric_range(key)
    return 100 * low, 100 * high


def _figure(
    of_seeds: Sequence[float], limits: Interval, rows_interval: Interval | None = None
) -> Figure:
    if len(of_seeds) < 2:
        return Figure(of_seeds[0], None, rows_interval)
    mean = statistics.fmean(of_seeds)
    return Figure(mean, statistics.stdev(of_seeds), mean_interval(of_seeds, limits))


def glue_average(scores: Mapping[str, float], with_wnli: bool) -> float | None:
    """GLUE's score of a model: the mean of the tasks' scores, where that of a task with several
    metrics, or dev sets, is their mean (Wang et al. 2018, section 3). None unless all tasks have a
    score; without WNLI, the other eight."""
    names = [name for name in GLUE_TASKS if with_wnli or name != WNLI]
    if any(name not in scores for name in names):
        return None
    return statistics.fmean(scores[name] for name in names)


def average_figure(all_scores: Sequence[TaskScores], with_wnli: bool) -> Figure | None:
    """The average over the seeds with which all tasks are finished; None if there are none."""
    seeds = dict.fromkeys(seed for scores in all_scores for seed in scores.by_seed)
    averages = []
    for seed in seeds:
        of_seed = {s.task.name: s.by_seed[seed] for s in all_scores if seed in s.by_seed}
        average = glue_average(of_seed, with_wnli)
        averages += [] if average is None else [average]
    return _figure(averages, _AVERAGE_RANGE) if averages else None


def published() -> dict[str, dict[str, str]]:
    """Published dev scores, in percent, by model and task: "85.78 / 90.00" for two metrics."""
    rows: dict[str, dict[str, str]] = json.loads(PUBLISHED_FILE.read_text(encoding="utf-8"))
    return rows


def published_average(row: Mapping[str, str], with_wnli: bool) -> float | None:
    """The average of a published row; None if it has not all metrics of all tasks."""
    scores = {}
    for name, text in row.items():
        values = [float(value) for value in text.split("/")]
        if len(values) == len(metric_keys(TASKS[name])):
            scores[name] = statistics.fmean(values)
    return glue_average(scores, with_wnli)
