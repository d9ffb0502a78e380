"""The table of a benchmark, as rows of text, in Markdown and in CSV."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bert_paddle.common import markdown as markdown_texts
from bert_paddle.common.intervals import Interval
from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.glue.tasks import TASKS
from bert_paddle.sweep.benchmark import scores
from bert_paddle.sweep.benchmark.plan import BenchmarkPlan
from bert_paddle.sweep.benchmark.scores import Figure, TaskScores
from bert_paddle.sweep.run_status import LOG_FILE
from bert_paddle.sweep.table import RunOutcome

ABSENT = "–"
METRIC_NAMES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "matthews_correlation": "Matthews",
    "pearson": "Pearson",
    "spearmanr": "Spearman",
}
CSV_COLUMNS = ("task", "metric", "seeds", "mean", "std", "ci95_low", "ci95_high")
_OWN_HEAD = ("task", "metric", "score", "95 % interval", "seeds", "training", "data")
OWN_COLUMNS = len(_OWN_HEAD)
AVERAGES = (("GLUE average", True), ("GLUE average without WNLI", False))


@dataclass
class BenchmarkTable:
    """A benchmark's results so far. published: scores of others by model and task."""

    plan: BenchmarkPlan
    outcomes: Sequence[RunOutcome]
    tasks: list[TaskScores]
    published: Mapping[str, Mapping[str, str]]

    @property
    def averages(self) -> list[tuple[str, Figure | None, bool]]:
        """(name, average, with WNLI) of both averages."""
        return [(name, scores.average_figure(self.tasks, wnli), wnli) for name, wnli in AVERAGES]


def summarize(plan: BenchmarkPlan, outcomes: Sequence[RunOutcome]) -> BenchmarkTable:
    """The table of these outcomes."""
    by_task: dict[str, list[RunOutcome]] = {name: [] for name in plan.settings}
    for outcome in outcomes:
        if (name := outcome.run.values["task"]) in by_task:
            by_task[name].append(outcome)
    found = [scores.task_scores(TASKS[name], of_task) for name, of_task in by_task.items()]
    return BenchmarkTable(plan, outcomes, found, scores.published())


def head(table: BenchmarkTable) -> list[str]:
    """The columns' names."""
    return [*_OWN_HEAD, *table.published]


def rows(table: BenchmarkTable) -> list[list[str]]:
    """A row for each task, and the averages."""
    lines = []
    for task in table.tasks:
        lines.append(
            [
                task.task.name,
                metric_text(task),
                " / ".join(map(figure_text, task.figures)) or ABSENT,
                " / ".join(interval_text(figure.interval) for figure in task.figures) or ABSENT,
                task.finished_text,
                _training_text(task),
                data_text(task),
                *(row.get(task.task.name, ABSENT) for row in table.published.values()),
            ]
        )
    for name, figure, with_wnli in table.averages:
        of_others = [scores.published_average(row, with_wnli) for row in table.published.values()]
        ours = (figure_text(figure), interval_text(figure.interval)) if figure else (ABSENT, ABSENT)
        numbers = [ABSENT if value is None else f"{value:.2f}" for value in of_others]
        lines.append([name, "mean of the tasks", *ours, "", "", "", *numbers])
    return lines


def metric_text(task: TaskScores) -> str:
    """The metrics of a task in the order of its figures: only MNLI's first dev set's, if the second
    was not there."""
    several = len(task.task.dev_sets) > 1
    names = [
        METRIC_NAMES.get(name, name) + (f" {dev.name}" if several else "")
        for dev in task.task.dev_sets
        for name in task.task.metrics
    ]
    return " / ".join(names[: len(task.figures) or None])


def figure_text(figure: Figure) -> str:
    """ "85.78 ± 0.40"; without a deviation for one seed."""
    deviation = "" if figure.deviation is None else f" ± {figure.deviation:.2f}"
    return f"{figure.mean:.2f}{deviation}"


def interval_text(interval: Interval | None) -> str:
    """ "85.01 to 86.55"."""
    return ABSENT if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}"


def _training_text(task: TaskScores) -> str:
    """The seconds of training of the finished runs, together."""
    found = [(outcome.results or {}).get("train_runtime") for outcome in task.outcomes]
    seconds = sum(finite_float_or_none(value) or 0.0 for value in found)
    if not seconds:
        return ABSENT
    minutes = round(seconds / 60)
    hours = f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
    return hours if minutes else f"{seconds:.0f} s"


def data_text(task: TaskScores) -> str:
    """Whether the runs had the official data: other scores are not comparable."""
    results = next((outcome.results for outcome in task.outcomes if outcome.results), None)
    if results is None:
        return ABSENT
    if results.get("data") == "demo":
        return "demo: no GLUE result"
    parts = []
    train = task.task.train
    if train and results.get("train_samples") not in task.task.official_rows(train.file):
        parts.append(f"{results.get('train_samples')} of {train.rows} training rows")
    for dev in task.task.dev_sets:
        count = results.get(f"eval_samples{dev.suffix}")
        if count not in task.task.official_rows(dev.file):
            parts.append(f"{count or 'none'} of {dev.rows} {dev.name} dev rows".replace("  ", " "))
    return "subset: " + ", ".join(parts) if parts else "official"


def notes(table: BenchmarkTable) -> Iterator[str]:
    """Sentences below the table."""
    seeds = len({outcome.run.seed for outcome in table.outcomes})
    yield "Percent, dev sets, the weights at the end of each training."
    if seeds > 1:
        yield (
            "± is the sample standard deviation over the seeds, the interval the 95 % t-interval "
            "of their mean: what further seeds would give, not other rows."
        )
    else:
        yield (
            "The interval is by bootstrap over the dev rows: what other rows would give, not "
            "another seed. Give --seeds 1,2,3 for the latter."
        )
    missing = [name for name in scores.GLUE_TASKS if name not in _finished(table)]
    if missing:
        yield f"The average needs all tasks; without a score: {', '.join(missing)}."
    yield (
        "The average is the mean of the tasks, of which those with two metrics or two dev sets "
        "count by the mean of both. Published figures are of other programs and settings."
    )


def _finished(table: BenchmarkTable) -> set[str]:
    return {task.task.name for task in table.tasks if task.by_seed}


def failures(table: BenchmarkTable) -> list[tuple[str, str, str]]:
    """(run, reason, log file relative to the benchmark's folder) of the runs that failed."""
    return [
        (
            outcome.run.label,
            outcome.failure,
            (outcome.run.folder.relative_to(table.plan.folder) / LOG_FILE).as_posix(),
        )
        for outcome in table.outcomes
        if outcome.failure
    ]


def markdown(table: BenchmarkTable, heading: Sequence[str]) -> str:
    """The Markdown page."""
    lines = [*heading, "", markdown_texts.formatted_table(head(table), rows(table))]
    lines += [*notes(table), ""]
    if failed := failures(table):
        cells = [[label, reason, f"`{log}`"] for label, reason, log in failed]
        failed_table = markdown_texts.formatted_table(["run", "reason", "log"], cells)
        lines += ["## Failed", "", failed_table]
    return "\n".join(lines)


def as_csv(table: BenchmarkTable) -> str:
    """The CSV table: a row for each metric of each task and for each average, unrounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for task in table.tasks:
        for key, figure in zip(scores.metric_keys(task.task), task.figures, strict=False):
            name = key.removeprefix("eval_")
            writer.writerow([task.task.name, name, len(task.by_seed), *_numbers(figure)])
    for name, average, _ in table.averages:
        if average:
            writer.writerow([name, "mean", "", *_numbers(average)])
    return text.getvalue()


def _numbers(figure: Figure) -> list[float | str]:
    low, high = figure.interval or ("", "")
    return [figure.mean, "" if figure.deviation is None else figure.deviation, low, high]


def as_dict(table: BenchmarkTable) -> dict[str, Any]:
    """The scores: "tasks", the mean over the seeds by task and metric, and both averages."""
    tasks = {
        task.task.name: {
            key.removeprefix("eval_"): figure.mean
            for key, figure in zip(scores.metric_keys(task.task), task.figures, strict=False)
        }
        for task in table.tasks
    }
    with_wnli, without = (figure.mean if figure else None for _, figure, _ in table.averages)
    return {"tasks": tasks, "average": with_wnli, "average_without_wnli": without}


def terminal_lines(table: BenchmarkTable) -> Iterator[str]:
    """The final lines on the terminal: the scores of each task, and the averages."""
    for task in table.tasks:
        figures = [
            figure_text(figure)
            + (f" [{interval_text(figure.interval)}]" if figure.interval else "")
            for figure in task.figures
        ]
        text = " / ".join(figures) or "no finished run"
        data = data_text(task)
        remark = "" if data in ("official", ABSENT) else f" ({data})"
        yield f"{task.task.name}, {metric_text(task)}: {text}{remark}"
    for name, figure, _ in table.averages:
        yield f"{name}: {figure_text(figure) if figure else 'not all tasks are finished'}"
