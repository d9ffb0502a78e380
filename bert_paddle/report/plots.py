"""Pictures of what a model says: confusion matrix, scatter, MCC by batch; and of the lengths."""

import warnings
from typing import Any

import numpy as np

from bert_paddle.report.figures import Ink, Picture
from bert_paddle.report.run_data import Lengths, Predictions, RunData, number

BATCH = 32  # rows of a bar of `mcc_by_batch`
_LABELLED = 12  # classes whose cells have figures in them
_NAMED = 40  # classes whose names stand at the axes
_BARS = 64


def of_run(run: RunData) -> list[Picture]:
    """The pictures that help with the run's task, and the histogram of lengths."""
    found = []
    for i, one in enumerate(run.predictions):
        end = "" if i == 0 else f"_{i + 1}"
        pairs = _scores(one)
        if pairs is not None:
            found.append(_scatter(one, f"scatter{end}", *pairs))
        elif not run.about or run.labels:
            found.append(_confusion(one, f"confusion{end}", run.labels))
    if run.metric == ["matthews_correlation"] and run.predictions:
        found.append(mcc_by_batch(run.predictions[-1]))
    if run.lengths is not None:
        found.append(_histogram(run.lengths))
    return found


def mcc(labels: list[str], answers: list[str]) -> float:
    """Matthews correlation; 0 where either side is constant."""
    from sklearn.metrics import matthews_corrcoef

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a batch with one class
        return float(matthews_corrcoef(labels, answers))


def batch_mccs(one: Predictions) -> tuple[list[float], float]:
    """The Matthews correlation of each 32 rows in the order of the file (the last ones may be
    fewer), and of all rows."""
    labels = [str(row["label"]) for row in one.rows]
    answers = [str(row["prediction"]) for row in one.rows]
    begins = range(0, len(labels), BATCH)
    values = [mcc(labels[i : i + BATCH], answers[i : i + BATCH]) for i in begins]
    return values, mcc(labels, answers)


def mcc_by_batch(one: Predictions) -> Picture:
    """`batch_mccs` as bars, with a line at that of all rows."""
    values, whole = batch_mccs(one)

    def draw(axes: Any, ink: Ink) -> None:
        axes.bar(range(1, len(values) + 1), values, color=ink.line(0), width=0.8)
        axes.axhline(whole, color=ink.line(1), linewidth=1.5, linestyle="--", label="all rows")
        axes.set_xlabel(f"batch of {BATCH} rows")
        axes.set_ylabel("MCC")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="best")

    said = f"{one.name}, all {len(one.rows)} rows: {whole:.4f}"
    note = f"{said}; a batch with one class alone counts as 0"
    return Picture("mcc_by_batch", f"MCC by batch of {BATCH} rows", note, draw)


def _scores(one: Predictions) -> tuple[list[float], list[float]] | None:
    """Labels and predictions of a regression; None for classes."""
    pairs = [(number(row["label"]), number(row["prediction"])) for row in one.rows]
    kept = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(kept) < len(pairs) / 2:
        return None
    return [a for a, _ in kept], [b for _, b in kept]


def _scatter(one: Predictions, name: str, labels: list[float], answers: list[float]) -> Picture:
    def draw(axes: Any, ink: Ink) -> None:
        low, high = min(labels + answers), max(labels + answers)
        axes.plot([low, high], [low, high], color=ink.faint, linewidth=1, label="equal")
        axes.plot(
            labels,
            answers,
            linestyle="none",
            marker="o",
            markersize=3,
            markeredgewidth=0,
            alpha=0.45,
            color=ink.line(0),
            rasterized=len(labels) > 2000,
        )
        axes.set_xlabel("label")
        axes.set_ylabel("prediction")

    return Picture(name, f"Predictions and labels, {one.name}", f"{len(labels)} rows", draw, True)


def confusion(one: Predictions, labels: list[str]) -> tuple[list[str], np.ndarray]:
    """Names of the classes, and int [classes, classes]: rows with that label, by prediction."""
    said = [(str(row["label"]), str(row["prediction"])) for row in one.rows]
    names = list(dict.fromkeys([*labels, *sorted({name for pair in said for name in pair})]))
    place = {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), np.int64)
    for label, answer in said:
        counts[place[label], place[answer]] += 1
    return names, counts


def _confusion(one: Predictions, name: str, labels: list[str]) -> Picture:
    names, counts = confusion(one, labels)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    right = int(np.trace(counts))

    def draw(axes: Any, ink: Ink) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        # Of one hue and more or less of it: text stays legible, whatever the page behind it.
        hue = LinearSegmentedColormap.from_list("share", ["#3b82c400", "#3b82c4b0"])
        axes.imshow(shares, cmap=hue, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        places = range(len(names)) if len(names) <= _NAMED else []
        short = [_short(names[i]) for i in places]
        axes.set_xticks(places, short, rotation=0 if len(names) <= 3 else 45)
        axes.set_yticks(places, short, rotation=90 if len(names) <= 3 else 0, va="center")
        axes.set_xlabel("prediction")
        axes.set_ylabel("label")
        if len(names) <= _LABELLED:
            for (i, j), count in np.ndenumerate(counts):
                words = f"{count}\n{shares[i, j]:.0%}" if len(names) <= 6 else f"{count}"
                axes.text(j, i, words, ha="center", va="center", color=ink.text, fontsize=9)

    note = f"{right} of {len(one.rows)} rows are right; shares are of the rows with that label"
    return Picture(name, f"Confusion matrix, {one.name}", note, draw)


def _short(name: str, most: int = 18) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _histogram(lengths: Lengths) -> Picture:
    longest = max(n for n, count in enumerate(lengths.counts) if count)
    width = -(-(longest + 1) // _BARS)
    counts = [sum(lengths.counts[i : i + width]) for i in range(0, longest + 1, width)]
    mean = sum(n * count for n, count in enumerate(lengths.counts)) / lengths.rows
    said = f"mean {mean:.1f} word pieces; "
    said += (
        f"{lengths.cut} of {lengths.rows} rows ({lengths.cut / lengths.rows:.1%}) were cut to "
        f"{lengths.most}"
        if lengths.cut
        else f"none of {lengths.rows} rows was cut (limit {lengths.most})"
    )

    def draw(axes: Any, ink: Ink) -> None:
        middles = [i * width + (width - 1) / 2 for i in range(len(counts))]
        whole = [*counts[:-1], max(0, counts[-1] - lengths.cut)]  # cut rows are as long as may be
        axes.bar(middles, whole, width=width * 0.9, color=ink.line(0), label="whole")
        if lengths.cut:
            axes.bar(
                middles[-1:],
                lengths.cut,
                bottom=whole[-1:],
                width=width * 0.9,
                color=ink.line(1),
                label=f"cut to {lengths.most}",
            )
            axes.legend(loc="upper left")
        axes.set_xlabel("word pieces of a row, with [CLS] and [SEP]")
        axes.set_ylabel("rows")

    return Picture("lengths", "Lengths of the rows", said, draw)
