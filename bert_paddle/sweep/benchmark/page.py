"""The page of a benchmark: its table, a picture of the scores and their intervals, its runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from bert_paddle import __version__
from bert_paddle.report import page as report_page
from bert_paddle.sweep.benchmark import scores, table
from bert_paddle.sweep.benchmark.scores import TaskScores
from bert_paddle.sweep.benchmark.table import ABSENT, BenchmarkTable
from bert_paddle.sweep.run_status import LOG_FILE
from bert_paddle.sweep.table import RunOutcome
from bert_paddle.training.run_files import REPORT_PAGE

_TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class _Chart:
    """A line for each metric: label, score, the ends of its interval, published scores, in percent.
    start: where the axis begins, which ends at 100."""

    LEFT: ClassVar[int] = 200

    start: int
    lines: list[tuple[str, float, float, float, list[float]]]

    def x(self, value: float) -> str:
        """The position of a score on the chart, in its units."""
        share = (min(max(value, self.start), 100) - self.start) / (100 - self.start)
        return f"{self.LEFT + (700 - self.LEFT) * share:.1f}"

    @property
    def ticks(self) -> list[int]:
        """The scores with a grid line."""
        return list(range(self.start, 101, 20 if self.start % 20 == 0 else 10))


def render(summary: BenchmarkTable, title: str, heading: Sequence[str]) -> str:
    """The page's HTML, self-contained. heading: lines below the title."""
    folder, rows = Path(__file__).parent, table.rows(summary)
    template = report_page.template_environment(folder).get_template(_TEMPLATE)
    return template.render(
        title=title,
        heading=heading,
        warnings=_warnings(summary),
        tiles=_tiles(summary),
        head=table.head(summary)[: table.OWN_COLUMNS],
        rows=[row[: table.OWN_COLUMNS] for row in rows],
        beside_head=["task", "here", *summary.published],
        beside_rows=[[row[0], row[2], *row[table.OWN_COLUMNS :]] for row in rows],
        tasks=len(summary.tasks),
        notes=list(table.notes(summary)),
        chart=_picture(summary),
        failures=table.failures(summary),
        runs=[_run(summary, outcome) for outcome in summary.outcomes],
        settings=[
            (name, " ".join(f"--{flag} {text}" for flag, text in texts.items()))
            for name, texts in summary.plan.settings.items()
        ],
        version=__version__,
        now=datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        **report_page.style_variables(),
    )


def _tiles(summary: BenchmarkTable) -> list[tuple[str, str, str]]:
    """(name, value, interval) of the averages and of how far the benchmark is."""
    tiles = []
    for name, figure, _ in summary.averages:
        interval = figure.interval if figure else None
        note = table.interval_text(interval) if interval else ""
        tiles.append((name, table.figure_text(figure) if figure else ABSENT, note))
    finished = sum(outcome.state == "finished" for outcome in summary.outcomes)
    return [*tiles, ("runs finished", f"{finished} of {len(summary.outcomes)}", "")]


def _warnings(summary: BenchmarkTable) -> list[str]:
    warnings = []
    if failed := table.failures(summary):
        names = ", ".join(label for label, *_ in failed)
        warnings.append(f"Failed: {names}. The same command runs them again.")
    texts = {task.task.name: table.data_text(task) for task in summary.tasks}
    if others := [name for name, text in texts.items() if text not in ("official", ABSENT)]:
        warnings.append(
            f"Not the complete official data: {', '.join(others)}. Their scores are not GLUE "
            "results and not comparable with the published ones."
        )
    return warnings


def _run(summary: BenchmarkTable, outcome: RunOutcome) -> tuple[str, str, str, list[str]]:
    """The label, state, best step and existing files of a run."""
    folder = outcome.run.folder.relative_to(summary.plan.folder).as_posix()
    links = [
        f"{folder}/{name}"
        for name in (REPORT_PAGE, LOG_FILE)
        if (outcome.run.folder / name).is_file()
    ]
    best = (outcome.results or {}).get("best_step")
    return outcome.run.label, outcome.state, str(ABSENT if best is None else best), links


def _picture(summary: BenchmarkTable) -> _Chart | None:
    """The scores as a chart; None if there are none."""
    lines = []
    for task in summary.tasks:
        names = table.metric_text(task).split(" / ")
        for i, figure in enumerate(task.figures):
            label = f"{task.task.name} {names[i]}" if len(names) > 1 else task.task.name
            others = [found[i] for found in _published(summary, task)]
            low, high = figure.interval or (figure.mean, figure.mean)
            lines.append((label, figure.mean, low, high, others))
    if not lines:
        return None
    lowest = min(value for _, _, low, _, others in lines for value in (low, *others))
    return _Chart(min(0, max(-100, int(lowest // 10) * 10)), lines)


def _published(summary: BenchmarkTable, task: TaskScores) -> list[list[float]]:
    """The published figures of a task, of those who have all its metrics."""
    name, count = task.task.name, len(scores.metric_keys(task.task))
    texts = [row[name].split("/") for row in summary.published.values() if name in row]
    return [[float(text) for text in of_row] for of_row in texts if len(of_row) == count]
