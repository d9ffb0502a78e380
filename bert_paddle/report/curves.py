"""Curves over the steps of one or several runs: losses, metrics, learning rate, throughput."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.report import reading, run_data
from bert_paddle.report.figures import PRINT_PALETTE, Palette, Picture, downsample
from bert_paddle.report.run_data import RunData

# Fields of metrics.jsonl that are not losses or metrics.
_NOT_METRICS = {"kind", "step", "epoch", "batch", "samples", "dev", "data"}
DASHES = ("-", "--", ":", "-.")
_MARKERS = "osD^vPX*"
_LR_LABEL, _THROUGHPUT_LABEL = "learning rate", "rows per second"
_SCORE_LABEL = "score on the dev set"
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
        Line(_title(name, dev), *run_data.by_step(run.evals[dev], name), i, i)
        for i, (dev, name) in enumerate(pair for pair in evaluated if _is_metric(pair[1]))
    ]
    perplexity = [
        Line("", *run_data.by_step(records, "perplexity"), 0) for records in run.evals.values()
    ]
    return [
        _picture("loss", "Loss", "loss", _loss_lines(run), reading.loss(run)),
        _epoch_picture(run),
        _picture("loss_terms", "Terms of the loss", "loss", _loss_term_lines(run)),
        _picture("metrics", "Metrics", _SCORE_LABEL, metrics, reading.metrics(run)),
        _picture("perplexity", _perplexity_title(run), "perplexity", perplexity),
        _picture("learning_rate", "Learning rate", _LR_LABEL, lr, reading.learning_rate(run)),
        _picture(
            "throughput", "Throughput", _THROUGHPUT_LABEL, throughput, reading.throughput(run)
        ),
    ]


def _epoch_picture(run: RunData) -> Picture | None:
    """The losses of training and validation by epoch, where epochs were recorded."""
    lines = []
    for i, name in enumerate(("train_loss", "eval_loss")):
        points = [
            (finite_float_or_none(r.get("epoch")), finite_float_or_none(r.get(name)))
            for r in run.epochs
        ]
        known = [(x, y) for x, y in points if x is not None and y is not None]
        label = "training (mean)" if i == 0 else "validation"
        lines.append(Line(label, [x for x, _ in known], [y for _, y in known], i, i))
    since = reading.overfitting_since(run)
    marked = float(since.split()[1]) if since.startswith("epoch ") else None
    note = f"Overfitting since {since}: the gap widens." if since else ""
    return _picture("loss_by_epoch", "Loss by epoch", "loss", lines, note, "epoch", marked)


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
        yield _picture(name, title, _title(name), lines)
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


def _picture(
    name: str,
    title: str,
    ylabel: str,
    lines: list[Line],
    note: str = "",
    xlabel: str = "step",
    marked: float | None = None,
) -> Picture | None:
    """A picture of the curves that have points; None if none has any. marked: where on the x axis
    overfitting begins, if it does."""
    drawn = [line for line in lines if line.xs]
    if not drawn:
        return None
    longest = max(len(line.xs) for line in drawn)
    shown = max(len(downsample(line.xs, line.ys)[0]) for line in drawn)
    records_per_point = -(-longest // shown)  # rounded up
    if shown < longest:
        note = f"{note} Each point is the mean of {records_per_point} log lines.".strip()
    title = title[:1].upper() + title[1:]
    return Picture(name, title, note, _drawing(drawn, ylabel, xlabel, marked))


def _drawing(
    lines: list[Line], ylabel: str, xlabel: str, marked: float | None
) -> Callable[[Any, Palette], None]:
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
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        _set_ticks(axes, [x for line in lines for x in line.xs])
        axes.grid(axis="y", color=palette.muted, linewidth=0.5, alpha=0.6)
        if ylabel in _AXES_FROM_ZERO:
            highest = max(y for line in lines for y in downsample(line.xs, line.ys)[1])
            axes.set_ylim(0, 1.1 * highest if highest > 0 else 1)
        if ylabel == _LR_LABEL:
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if marked is not None:
            axes.margins(y=0.25)  # room for the legend
            axes.axvline(
                marked, color=palette.text, linewidth=1, linestyle=":", label="overfitting"
            )
        if any(line.label for line in lines):
            columns = 1 if len(lines) <= 6 else 2
            axes.legend(loc="best", ncols=columns, handlelength=2.4)

    return draw


def _set_ticks(axes: Any, xs: list[float]) -> None:
    """Ticks of steps or epochs: whole numbers only, also where the curve is a single point."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(
        MaxNLocator(nbins=6 if max(xs) < 10_000 else 4, integer=True, min_n_ticks=1)
    )
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if max(xs) - min(xs) < 2:
        axes.set_xlim(min(xs) - 0.5, max(xs) + 0.5)
