"""Curves over the steps of one or several runs: losses, metrics, learning rate, throughput."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bert_paddle.report import run_data
from bert_paddle.report.figures import PRINT_PALETTE, Palette, Picture, downsample
from bert_paddle.report.run_data import RunData

# Fields of metrics.jsonl that are not losses or metrics.
_NOT_METRICS = {"kind", "step", "epoch", "batch", "samples", "dev", "data"}
DASHES = ("-", "--", ":", "-.")
_MARKERS = "osD^vPX*"
_LR_LABEL, _THROUGHPUT_LABEL = "learning rate", "rows/s, all cards"
_AXES_FROM_ZERO = (_LR_LABEL, _THROUGHPUT_LABEL)  # labels of the y axes that start at 0
_MAX_MARKERS = 40  # longer curves have no markers


@dataclass(frozen=True)
class Line:
    """A curve. color: index into the palette's series; dash: index into DASHES."""

    label: str
    xs: list[float]
    ys: list[float]
    color: int
    dash: int = 0


def pictures(runs: Sequence[RunData]) -> list[Picture]:
    """The pictures with steps on the x axis, except for those without data. For one run, each curve
    has a colour; for several, each quantity has a picture and each run a colour."""
    candidates = (
        _single_run_pictures(runs[0]) if len(runs) == 1 else list(_comparison_pictures(runs))
    )
    return [picture for picture in candidates if picture is not None]


def _single_run_pictures(run: RunData) -> list[Picture | None]:
    lr = [Line("", *run_data.by_step(run.train, "learning_rate"), 0)]
    throughput = [Line("", *run_data.by_step(run.train, "sequences_per_second"), 0)]
    # "dev" is the name of a dev set, such as "matched"; "" if there is only one.
    evaluated = [
        (dev, name) for dev, records in run.evals.items() for name in _value_names(records)
    ]
    metrics = [
        Line(_title(name, dev), *run_data.by_step(run.evals[dev], name), i)
        for i, (dev, name) in enumerate(pair for pair in evaluated if _is_metric(pair[1]))
    ]
    perplexity = [
        Line("", *run_data.by_step(records, "perplexity"), 0) for records in run.evals.values()
    ]
    return [
        _picture("loss", "Loss", "loss", _loss_lines(run)),
        _picture("loss_terms", "Terms of the loss", "loss", _loss_term_lines(run)),
        _picture("metrics", "Metrics", "evaluation", metrics),
        _picture("perplexity", _perplexity_title(run), "perplexity", perplexity),
        _picture("learning_rate", "Learning rate", _LR_LABEL, lr),
        _picture("throughput", "Throughput", _THROUGHPUT_LABEL, throughput),
    ]


def _perplexity_title(run: RunData) -> str:
    return "Perplexity" if run.is_of_texts else "Perplexity of masked tokens"


def _loss_lines(run: RunData) -> list[Line]:
    """The training loss, and the validation loss on each dev set."""
    lines = [Line("training", *run_data.by_step(run.train, "loss"), 0)]
    for i, (dev, records) in enumerate(run.evals.items()):
        lines.append(Line(_title("validation", dev), *run_data.by_step(records, "loss"), 1, 1 + i))
    return lines


def _loss_term_lines(run: RunData) -> list[Line]:
    """The terms of a loss that is a sum (masked LM and next sentence), in training and in
    evaluation."""
    lines = []
    for i, name in enumerate(n for n in _value_names(run.train) if n.endswith("_loss")):
        term = name.removesuffix("_loss")
        lines.append(Line(f"{term}, training", *run_data.by_step(run.train, name), i))
        for records in run.evals.values():
            lines.append(Line(f"{term}, validation", *run_data.by_step(records, name), i, 1))
    return lines


def _comparison_pictures(runs: Sequence[RunData]) -> Iterator[Picture | None]:
    """A picture of each quantity that any of the runs has recorded."""
    for name in dict.fromkeys(name for run in runs for name in _value_names(run.train)):
        if name == "loss" or name.endswith("_loss"):
            lines = [_run_line(i, run.train, name) for i, run in enumerate(runs)]
            yield _picture(name, _title(f"training_{name}"), "loss", lines)
    evaluated = [
        (dev, name)
        for run in runs
        for dev, records in run.evals.items()
        for name in _value_names(records)
    ]
    for dev, name in dict.fromkeys(evaluated):
        lines = [_run_line(i, run.evals.get(dev, []), name) for i, run in enumerate(runs)]
        title = _title(name if _is_metric(name) else f"validation_{name}", dev)
        yield _picture(name, title, name.replace("_", " "), lines)
    for name, title, label in (
        ("learning_rate", "Learning rate", _LR_LABEL),
        ("sequences_per_second", "Throughput", _THROUGHPUT_LABEL),
    ):
        lines = [_run_line(i, run.train, name) for i, run in enumerate(runs)]
        yield _picture(name, title, label, lines)


def _run_line(index: int, records: list[dict[str, Any]], name: str) -> Line:
    """The curve of the run with this index. Runs differ by colour; when all colours are used, by
    dash style."""
    colors = len(PRINT_PALETTE.series)
    return Line("", *run_data.by_step(records, name), index % colors, index // colors)


def _is_metric(name: str) -> bool:
    """Whether a recorded value is a task's metric, not a loss or the perplexity."""
    return not name.endswith("loss") and name != "perplexity"


def _title(name: str, dev: str = "") -> str:
    """A quantity's name as words, with the dev set."""
    return " ".join(filter(None, (*name.split("_"), dev)))


def _value_names(records: list[dict[str, Any]]) -> list[str]:
    """The names of the losses, metrics and other quantities in records, in order."""
    names = dict.fromkeys(name for record in records for name in record)
    return [name for name in names if name not in _NOT_METRICS]


def _picture(name: str, title: str, ylabel: str, lines: list[Line]) -> Picture | None:
    """A picture of the curves that have points; None if none has any."""
    drawn = [line for line in lines if line.xs]
    if not drawn:
        return None
    longest = max(len(line.xs) for line in drawn)
    shown = max(len(downsample(line.xs, line.ys)[0]) for line in drawn)
    records_per_point = -(-longest // shown)  # rounded up
    note = f"each point is the mean of {records_per_point} log lines" if shown < longest else ""
    return Picture(name, title[:1].upper() + title[1:], note, _drawing(drawn, ylabel))


def _drawing(lines: list[Line], ylabel: str) -> Callable[[Any, Palette], None]:
    """A function that draws the curves on matplotlib axes, for Picture.draw."""

    def draw(axes: Any, palette: Palette) -> None:
        for line in lines:
            xs, ys = downsample(line.xs, line.ys)
            axes.plot(
                xs,
                ys,
                color=palette.series_color(line.color),
                linestyle=DASHES[line.dash % len(DASHES)],
                linewidth=1.5,
                marker=_MARKERS[line.color % len(_MARKERS)] if len(xs) <= _MAX_MARKERS else None,
                markersize=3.5,
                label=line.label or None,
            )
        axes.set_xlabel("step")
        axes.set_ylabel(ylabel)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        axes.grid(axis="y", color=palette.muted, linewidth=0.5, alpha=0.6)
        if ylabel in _AXES_FROM_ZERO:
            axes.set_ylim(bottom=0)
        if any(line.label for line in lines):
            columns = 1 if len(lines) <= 6 else 2
            axes.legend(loc="best", ncols=columns, handlelength=2.4)

    return draw
