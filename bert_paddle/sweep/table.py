"""What a sweep came to: mean and standard deviation over the seeds, ranked; Markdown and CSV."""

import csv
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_paddle.glue import tasks
from bert_paddle.sweep import run_status
from bert_paddle.sweep.plan import OneRun, Plan
from bert_paddle.training import run_info

_SECONDS = "train_runtime"
# Flags of a grid that change the numbers of rows, as they are meant to.
_SIZING = {"train_file", "validation_file", "test_file", "validation_share", "data_dir"}


@dataclass
class Outcome:
    """A run and what came of it. results: of all_results.json, where it is finished; failure: why
    it ended without them; both None where it has not been run, or not to its end."""

    run: OneRun
    results: dict[str, Any] | None = None
    failure: str | None = None
    stopped: bool = False  # the failure is a signal's doing

    @property
    def scores(self) -> dict[str, float]:
        """Losses and metrics by their keys in all_results.json."""
        return run_status.scores(self.results) if self.results else {}

    @property
    def state(self) -> str:
        """finished, failed or not finished."""
        return "finished" if self.results else "failed" if self.failure else "not finished"


@dataclass
class Group:
    """The runs of one combination, over its seeds."""

    values: Mapping[str, str]
    outcomes: list[Outcome]
    score: float | None = None  # mean over the seeds of what the best is chosen by
    means: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)  # of two seeds and more

    def __post_init__(self) -> None:
        finished = [outcome.results for outcome in self.outcomes if outcome.results]
        numbers = [run_status.scores(results) for results in finished]
        for results, found in zip(finished, numbers, strict=True):
            if isinstance(results.get(_SECONDS), int | float):
                found[_SECONDS] = float(results[_SECONDS])
        for key in dict.fromkeys(key for found in numbers for key in found):
            values = [found[key] for found in numbers if key in found]
            self.means[key] = statistics.fmean(values)
            if len(values) > 1:
                self.deviations[key] = statistics.stdev(values)

    def shown(self, key: str) -> str:
        """Mean ± standard deviation of a key, or what there is of it."""
        if key not in self.means:
            return "–"
        digits = 1 if key == _SECONDS else 4
        text = f"{self.means[key]:.{digits}f}"
        return f"{text} ± {self.deviations[key]:.{digits}f}" if key in self.deviations else text

    @property
    def finished(self) -> str:
        """How many of the seeds are finished: "3", "2 of 3"."""
        done, count = sum(bool(one.results) for one in self.outcomes), len(self.outcomes)
        return str(count) if done == count else f"{done} of {count}"


@dataclass
class Summary:
    """All groups, the best first, those without a score last; what they are ranked by."""

    plan: Plan
    groups: list[Group]
    metric: tuple[str, ...]  # keys of all_results.json, whose mean is the score
    higher_is_better: bool
    data: tuple[str, ...]  # the kinds of data of the finished runs: "demo", "glue", "own"
    other_rows: bool = False  # finished runs had sets of other sizes

    @property
    def remark(self) -> str:
        """What is to be known of the data before the figures are read, in a few words, or ""."""
        said = ["data: demo"] if self.data == ("demo",) else []
        if len(self.data) > 1:
            said.append(f"mixed data ({', '.join(self.data)}): the runs do not compare")
        elif self.other_rows:
            said.append("runs on sets of different sizes: they do not compare")
        return "; ".join(said)

    @property
    def keys(self) -> list[str]:
        """The columns: what is ranked by first, then other metrics and losses, the time last."""
        found = dict.fromkeys(key for group in self.groups for key in group.means)
        others = sorted(
            (k for k in found if k != _SECONDS), key=lambda k: k.startswith("eval_loss")
        )
        return list(
            dict.fromkeys([*self.metric, *others, *([_SECONDS] if _SECONDS in found else [])])
        )

    @property
    def best(self) -> Group | None:
        """The best combination, where any has a score."""
        return self.groups[0] if self.groups and self.groups[0].score is not None else None


def summarize(plan: Plan, outcomes: Sequence[Outcome]) -> Summary:
    """Rank the combinations by the task's metric; equals stay in the grid's order."""
    names, higher = _primary(plan, outcomes)
    metric = tuple(f"eval_{name}" for name in names)
    by_values: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        by_values.setdefault(tuple(outcome.run.values.values()), []).append(outcome)
    groups = [Group(members[0].run.values, members) for members in by_values.values()]
    for group in groups:
        group.score = score(group.means, metric)
    sign = -1 if higher else 1
    groups.sort(key=lambda g: (g.score is None, sign * (g.score or 0.0)))
    finished = [one for one in outcomes if one.results]
    kinds = {str((one.results or {}).get("data")) for one in finished}
    other_rows = not _SIZING & set(plan.names) and _other_rows(finished)
    return Summary(plan, groups, metric, higher, tuple(sorted(kinds)), other_rows)


def _other_rows(finished: Sequence[Outcome]) -> bool:
    """Whether a set that runs have in common, by its name in run.json, has other sizes in some."""
    sizes: dict[str, set[int]] = {}
    for one in finished:
        rows = run_info.read(one.run.folder).get("rows")
        for name, count in rows.items() if isinstance(rows, dict) else ():
            sizes.setdefault(name, set()).add(count)
    return any(len(counts) > 1 for counts in sizes.values())


def score(values: Mapping[str, float], metric: Sequence[str]) -> float | None:
    """The mean of what is ranked by; None where some of it is missing."""
    if not metric or any(key not in values for key in metric):
        return None
    return statistics.fmean(values[key] for key in metric)


def _primary(plan: Plan, outcomes: Sequence[Outcome]) -> tuple[tuple[str, ...], bool]:
    """What the task is ranked by, as its runs say, or as the GLUE task has it."""
    for outcome in outcomes:
        said = run_info.read(outcome.run.folder) if outcome.results else {}
        if isinstance(said.get("metric"), list) and said["metric"]:
            return tuple(map(str, said["metric"])), said.get("higher_is_better") is not False
    name = plan.runs[0].args.task_name
    if name is None:
        return (), True
    primary = tasks.get_task(name).primary
    return primary.names, primary.higher_is_better


def shown_key(key: str) -> str:
    """The heading of a column."""
    return "training, s" if key == _SECONDS else key.removeprefix("eval_")


def markdown(summary: Summary, said: Sequence[str]) -> str:
    """The whole page: what was run, the combinations, every run, what failed. said: lines on the
    task, the model and the machine."""
    lines = [*said, ""]
    if "demo" in summary.data:
        lines += ["**Demo data**: these figures say nothing about the task.", ""]
    if summary.remark and summary.data != ("demo",):
        lines += [f"**Warning**: {summary.remark}.", ""]
    keys = summary.keys
    if summary.plan.names:
        head = [*summary.plan.names, "seeds", *map(shown_key, keys)]
        rows = [
            [*group.values.values(), group.finished, *(group.shown(key) for key in keys)]
            for group in summary.groups
        ]
        lines += [ranking(summary), "", *_table(head, rows), "", "## Every run", ""]
    head = [*summary.plan.names, "seed", *map(shown_key, keys), "state", "folder"]
    lines += [*_table(head, list(_run_rows(summary, keys))), ""]
    failed = [one for group in summary.groups for one in group.outcomes if one.failure]
    if failed:
        lines += ["## Failed", ""]
        for one in failed:
            log = one.run.folder.relative_to(summary.plan.folder) / run_status.LOG_FILE
            lines.append(f"- {one.run.label}: {_cell(one.failure or '')}; see `{log}`")
        lines.append("")
    lines += [f"± is the sample standard deviation over the seeds. {best_line(summary)}", ""]
    return "\n".join(lines)


def _run_rows(summary: Summary, keys: Sequence[str]) -> Iterator[list[str]]:
    for group in summary.groups:
        for one in group.outcomes:
            alone = Group(group.values, [one])
            yield [
                *group.values.values(),
                str(one.run.seed),
                *(alone.shown(key) for key in keys),
                one.state,
                f"`{one.run.folder.name}`",
            ]
        if not summary.plan.names:
            told = "mean ± standard deviation" if group.deviations else "mean"
            yield [told, *(group.shown(key) for key in keys), group.finished, ""]


def ranking(summary: Summary) -> str:
    """What the rows are sorted by."""
    if not summary.metric:
        return "In the order of the grid: there is no metric to rank by."
    order = "the highest" if summary.higher_is_better else "the lowest"
    of = "mean of " if len(summary.metric) > 1 else ""
    return f"Sorted by {of}{' and '.join(map(shown_key, summary.metric))}, {order} first."


def best_line(summary: Summary) -> str:
    """The best combination, or of seeds alone nothing but the mean; and the best single run."""
    best = summary.best
    if best is None:
        return "No run has a score yet."
    runs = [(score(one.scores, summary.metric), one) for g in summary.groups for one in g.outcomes]
    scored = [(value, one) for value, one in runs if value is not None]
    choose = max if summary.higher_is_better else min
    value, one = choose(scored, key=lambda pair: pair[0])
    words = f"Best run: {one.run.label}, {value:.4f}, in `{one.run.folder.name}`."
    if not summary.plan.names:
        return words
    values = ", ".join(f"{name} {text}" for name, text in best.values.items())
    return f"Best: {values}: {best.score:.4f} over {best.finished} seed(s). {words}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in lines]


def _cell(text: str) -> str:
    """A text inside a table's cell: in one line, its bars kept from being borders."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def as_csv(summary: Summary) -> str:
    """One row for each combination, ranked, with numbers in full."""
    keys = summary.keys
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [*summary.plan.names, "seeds", "finished", "failed", "score"]
        + [name for key in keys for name in (key, f"{key}_std")]
    )
    for group in summary.groups:
        seeds = " ".join(str(one.run.seed) for one in group.outcomes)
        finished = sum(bool(one.results) for one in group.outcomes)
        failed = sum(bool(one.failure) for one in group.outcomes)
        numbers = [found.get(key, "") for key in keys for found in (group.means, group.deviations)]
        shown = "" if group.score is None else group.score
        writer.writerow([*group.values.values(), seeds, finished, failed, shown, *numbers])
    return out.getvalue()


def tables_of(folder: Path, stem: str) -> tuple[Path, Path]:
    """Where the Markdown and the CSV go."""
    return folder / f"{stem}.md", folder / f"{stem}.csv"
