"""The result table of a sweep in Markdown: combinations of settings, ranked by their mean over the
seeds."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_paddle.common import markdown
from bert_paddle.common.flag_fields import flag_names
from bert_paddle.common.intervals import Interval, mean_interval, metric_range
from bert_paddle.glue import tasks
from bert_paddle.glue.args import GlueArgs
from bert_paddle.sweep import run_status
from bert_paddle.sweep.plan import Plan, SweepRun
from bert_paddle.training import run_info

_TRAIN_SECONDS = "train_runtime"
INTERVAL_NOTE = ", and what is in brackets the 95 % t-interval of the mean over further seeds"


@dataclass
class RunOutcome:
    """A run and its outcome. results: the content of all_results.json of a finished run; failure:
    why a run ended without results. Both are None for a run that has not ended, or that was stopped
    together with the sweep."""

    run: SweepRun
    results: dict[str, Any] | None = None
    failure: str | None = None
    ended_by_signal: bool = False

    @property
    def scores(self) -> dict[str, float]:
        """Losses and metrics by their keys in all_results.json."""
        return run_status.metric_values(self.results) if self.results else {}

    @property
    def state(self) -> str:
        """One of "finished", "failed" and "not finished"."""
        return "finished" if self.results else "failed" if self.failure else "not finished"


@dataclass
class SeedGroup:
    """The runs of one combination of settings, one for each seed."""

    values: Mapping[str, str]
    outcomes: list[RunOutcome]
    score: float | None = None  # the mean of the ranking metrics over the seeds
    # Mean and sample standard deviation over the seeds, by the keys of all_results.json.
    means: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)  # of two or more seeds
    intervals: dict[str, Interval] = field(default_factory=dict)  # 95 % t-intervals of these means

    def __post_init__(self) -> None:
        finished = [outcome.results for outcome in self.outcomes if outcome.results]
        values_by_run = [run_status.metric_values(results) for results in finished]
        for results, run_values in zip(finished, values_by_run, strict=True):
            seconds = run_status.finite_number(results.get(_TRAIN_SECONDS))
            if seconds is not None:
                run_values[_TRAIN_SECONDS] = seconds
        for key in dict.fromkeys(key for run_values in values_by_run for key in run_values):
            values = [run_values[key] for run_values in values_by_run if key in run_values]
            self.means[key] = statistics.fmean(values)
            if len(values) > 1:
                self.deviations[key] = statistics.stdev(values)
                if interval := mean_interval(values, metric_range(key)):
                    self.intervals[key] = interval

    def formatted(self, key: str) -> str:
        """A key's "mean ± standard deviation [t-interval]", without the interval for the training
        time; for one seed only the mean, "–" if there is none."""
        if key not in self.means:
            return "–"
        digits = 1 if key == _TRAIN_SECONDS else 4
        text = f"{self.means[key]:.{digits}f}"
        if key not in self.deviations:
            return text
        text += f" ± {self.deviations[key]:.{digits}f}"
        if key == _TRAIN_SECONDS:
            return text
        return f"{text} [{' to '.join(f'{end:.{digits}f}' for end in self.intervals[key])}]"

    @property
    def finished_text(self) -> str:
        """How many of the seeds are finished, such as "3" (all) or "2 of 3"."""
        finished = sum(bool(outcome.results) for outcome in self.outcomes)
        count = len(self.outcomes)
        return str(count) if finished == count else f"{finished} of {count}"


@dataclass
class Summary:
    """All groups, the best first and those without a score last, and how they are ranked."""

    plan: Plan
    groups: list[SeedGroup]
    ranking_metrics: tuple[str, ...]  # keys of all_results.json; the score is their mean
    higher_is_better: bool
    data: tuple[str, ...]  # the origins of the finished runs' data: "demo", "glue", "own"
    different_sizes: bool = False  # whether finished runs had data sets of different sizes

    @property
    def remark(self) -> str:
        """A warning about the data of the runs, in a few words; "" if there is none."""
        remarks = ["data: demo"] if self.data == ("demo",) else []
        if len(self.data) > 1:
            remarks.append(f"mixed data ({', '.join(self.data)}): the runs are not comparable")
        elif self.different_sizes:
            remarks.append("data sets of different sizes: the runs are not comparable")
        return "; ".join(remarks)

    @property
    def keys(self) -> list[str]:
        """The keys of the columns: ranking metrics, other metrics, losses, training time."""
        keys = dict.fromkeys(key for group in self.groups for key in group.means)
        others = sorted(
            (k for k in keys if k != _TRAIN_SECONDS),
            key=lambda k: k.startswith("eval_loss"),  # False before True: losses last
        )
        return list(
            dict.fromkeys(
                [
                    *self.ranking_metrics,
                    *others,
                    *([_TRAIN_SECONDS] if _TRAIN_SECONDS in keys else []),
                ]
            )
        )

    @property
    def best(self) -> SeedGroup | None:
        """The best combination, or None if none has a score."""
        return self.groups[0] if self.groups and self.groups[0].score is not None else None


def summarize(plan: Plan, outcomes: Sequence[RunOutcome]) -> Summary:
    """Group the outcomes by combination, and rank the groups by the task's metrics; ties are in the
    order of the grid."""
    names, higher = _ranking_metrics(plan, outcomes)
    metrics = tuple(f"eval_{name}" for name in names)
    by_values: dict[tuple[str, ...], list[RunOutcome]] = {}
    for outcome in outcomes:
        by_values.setdefault(tuple(outcome.run.values.values()), []).append(outcome)
    groups = [SeedGroup(members[0].run.values, members) for members in by_values.values()]
    for group in groups:
        group.score = mean_score(group.means, metrics)
    sign = -1 if higher else 1
    groups.sort(key=lambda g: (g.score is None, sign * (g.score or 0.0)))
    finished = [outcome for outcome in outcomes if outcome.results]
    origins = {str((outcome.results or {}).get("data")) for outcome in finished}
    expected = flag_names(type(plan.runs[0].args), changes_rows=True)
    different_sizes = not set(expected) & set(plan.grid_flags) and _different_set_sizes(finished)
    return Summary(plan, groups, metrics, higher, tuple(sorted(origins)), different_sizes)


def _different_set_sizes(finished: Sequence[RunOutcome]) -> bool:
    """Whether a data set, such as "train" in run.json, has not the same size in all runs."""
    sizes: dict[str, set[str]] = {}
    for outcome in finished:
        rows = run_info.read(outcome.run.folder).get("rows")
        for name, count in rows.items() if isinstance(rows, dict) else ():
            sizes.setdefault(name, set()).add(str(count))
    return any(len(counts) > 1 for counts in sizes.values())


def mean_score(values: Mapping[str, float], metrics: Sequence[str]) -> float | None:
    """The mean of the values of `metrics`; None if there are none or one is missing."""
    if not metrics or any(key not in values for key in metrics):
        return None
    return statistics.fmean(values[key] for key in metrics)


def _ranking_metrics(plan: Plan, outcomes: Sequence[RunOutcome]) -> tuple[tuple[str, ...], bool]:
    """Names of the metrics to rank by, and whether higher is better: from a run.json, or from the
    GLUE task if no run is finished."""
    for outcome in outcomes:
        info = run_info.read(outcome.run.folder) if outcome.results else {}
        if isinstance(info.get("metric"), list) and info["metric"]:
            return tuple(map(str, info["metric"])), info.get("higher_is_better") is not False
    args = plan.runs[0].args
    if not isinstance(args, GlueArgs):
        return ("perplexity",), False
    name = args.task_name
    if name is None:
        return (), True
    primary = tasks.get_task(name).primary
    return primary.names, primary.higher_is_better


def column_title(key: str) -> str:
    """The heading of a key's column."""
    return "training, s" if key == _TRAIN_SECONDS else key.removeprefix("eval_")


def page(summary: Summary, heading: Sequence[str]) -> str:
    """The Markdown page: `heading`, the combinations, every run, the failed runs."""
    lines = [*heading, ""]
    if "demo" in summary.data:
        lines += ["**Demo data**: these results say nothing about the task.", ""]
    if summary.remark and summary.data != ("demo",):
        lines += [f"**Warning**: {markdown.escape_cell(summary.remark)}.", ""]
    keys = summary.keys
    if summary.plan.grid_flags:
        head = [*summary.plan.grid_flags, "seeds", *map(column_title, keys)]
        rows = [
            [*group.values.values(), group.finished_text, *(group.formatted(key) for key in keys)]
            for group in summary.groups
        ]
        lines += [ranking_note(summary), "", markdown.formatted_table(head, rows)]
        lines += ["## Every run", ""]
    head = [*summary.plan.grid_flags, "seed", *map(column_title, keys), "state", "folder"]
    lines.append(markdown.formatted_table(head, list(_run_rows(summary, keys))))
    failed = [outcome for group in summary.groups for outcome in group.outcomes if outcome.failure]
    if failed:
        lines += ["## Failed", ""]
        for outcome in failed:
            log = outcome.run.folder.relative_to(summary.plan.folder) / run_status.LOG_FILE
            what = markdown.escape_cell(f"{outcome.run.label}: {outcome.failure or ''}")
            lines.append(f"- {what}; see {markdown.code(str(log))}")
        lines.append("")
    lines += [f"± is the sample standard deviation over the seeds{INTERVAL_NOTE}.", ""]
    lines += [best_line(summary), ""]
    return "\n".join(lines)


def _run_rows(summary: Summary, keys: Sequence[str]) -> Iterator[list[str]]:
    """Table rows of every run; without a grid, also of the mean over the seeds."""
    for group in summary.groups:
        for outcome in group.outcomes:
            single = SeedGroup(group.values, [outcome])
            yield [
                *group.values.values(),
                str(outcome.run.seed),
                *(single.formatted(key) for key in keys),
                outcome.state,
                markdown.code(outcome.run.folder.name),
            ]
        if not summary.plan.grid_flags:
            name = "mean ± standard deviation" if group.deviations else "mean"
            yield [name, *(group.formatted(key) for key in keys), group.finished_text, ""]


def ranking_note(summary: Summary) -> str:
    """A sentence that says how the combinations are sorted."""
    if not summary.ranking_metrics:
        return "In the order of the grid: there is no metric to rank by."
    order = "the highest" if summary.higher_is_better else "the lowest"
    names = markdown.escape_cell(" and ".join(map(column_title, summary.ranking_metrics)))
    prefix = "mean of " if len(summary.ranking_metrics) > 1 else ""
    return f"Sorted by {prefix}{names}, {order} first."


def best_line(summary: Summary) -> str:
    """One or two sentences: the best combination, if there is a grid, and the best single run."""
    best = summary.best
    if best is None:
        return "No run has a score yet."
    scored = [
        (value, outcome)
        for group in summary.groups
        for outcome in group.outcomes
        if (value := mean_score(outcome.scores, summary.ranking_metrics)) is not None
    ]
    choose = max if summary.higher_is_better else min
    value, outcome = choose(scored, key=lambda pair: pair[0])
    label, folder = markdown.one_line(outcome.run.label), markdown.code(outcome.run.folder.name)
    best_run = f"Best run: {label}, {value:.4f}, in {folder}."
    if not summary.plan.grid_flags:
        return best_run
    values = markdown.one_line(", ".join(f"{name} {text}" for name, text in best.values.items()))
    return f"Best: {values}: {best.score:.4f} over {best.finished_text} seed(s). {best_run}"


def table_paths(folder: Path, stem: str) -> tuple[Path, Path]:
    """The paths of the Markdown and the CSV table."""
    return folder / f"{stem}.md", folder / f"{stem}.csv"
