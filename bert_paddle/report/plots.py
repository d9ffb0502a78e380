"""Pictures of predictions (confusion matrix, scatter, MCC by batch) and the length histogram."""

from collections import Counter
from typing import Any

import numpy as np

from bert_paddle.common.matthews import matthews_correlation
from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.report.figures import Palette, Picture, wrap
from bert_paddle.report.run_data import Lengths, PredictionSet, RunData

BATCH = 32  # rows per bar of the picture mcc_by_batch
_MAX_CLASSES_WITH_COUNTS = 12  # with more, the cells have no numbers
_MAX_CLASSES_WITH_NAMES = 40  # with more, the axes have no class names
_MAX_BARS = 64  # of the histogram of lengths
_MAX_MCC_BARS = 100  # with more batches, an area
_RIGHT, _WRONG = (0.23, 0.51, 0.77, 1.0), (0.9, 0.45, 0.1, 1.0)  # cells of the confusion matrix
_NAME_CHARACTERS = 18  # of a line of a class name on an axis

MAX_CLASSES, OTHER_CLASSES = 100, "all other classes"  # of a confusion matrix


def pictures(run: RunData) -> list[Picture]:
    """Pictures of the predictions, according to the type of task, and the histogram of lengths."""
    result = []
    for i, dataset in enumerate(run.predictions):
        suffix = "" if i == 0 else f"_{i + 1}"
        scores = _regression_values(dataset)
        if scores is not None:
            result.append(_scatter(dataset, f"scatter{suffix}", *scores))
        elif not run.run_info or run.labels:
            result.append(_confusion(dataset, f"confusion{suffix}", run.labels))
    if run.selection_metrics == ["matthews_correlation"] and run.predictions:
        result.append(mcc_picture(run.predictions[-1]))
    if run.lengths is not None:
        unit = "tokens" if run.is_of_texts else "word pieces"
        added = "the tokens around a text" if run.is_of_texts else "[CLS] and [SEP]"
        result.append(_histogram(run.lengths, unit, f"{unit} per row, with {added}"))
    return result


def mcc_per_batch(dataset: PredictionSet) -> tuple[list[float], float]:
    """The Matthews correlation of every 32 consecutive rows (the last batch may be smaller), and of
    all rows together."""
    labels = [str(row["label"]) for row in dataset.rows]
    predictions = [str(row["prediction"]) for row in dataset.rows]
    starts = range(0, len(labels), BATCH)
    values = [
        matthews_correlation(labels[i : i + BATCH], predictions[i : i + BATCH]) for i in starts
    ]
    return values, matthews_correlation(labels, predictions)


def mcc_picture(dataset: PredictionSet) -> Picture:
    """`mcc_per_batch` as bars from -1 to 1, with a line at the MCC of all rows. A batch at 0 is a
    dot on the zero line; a last batch with fewer rows is hatched."""
    values, total = mcc_per_batch(dataset)
    last_rows = len(dataset.rows) - BATCH * (len(values) - 1)

    def draw(axes: Any, palette: Palette) -> None:
        batches = np.arange(1, len(values) + 1)
        color = palette.series_color(0)
        axes.axhline(0, color=palette.text, linewidth=0.8)
        if len(values) <= _MAX_MCC_BARS:
            bars = axes.bar(batches, values, color=color, width=0.8)
            if last_rows < BATCH:
                bars[-1].set(facecolor="none", edgecolor=color, hatch="////", linewidth=1)
                bars[-1].set_label(f"last batch, {last_rows} rows")
            zeros = [batch for batch, value in zip(batches, values, strict=True) if value == 0]
            if zeros:
                heights = [0.0] * len(zeros)
                label = "MCC is 0"
                axes.plot(zeros, heights, "o", color=color, markersize=4, label=label)
        else:  # bars would be thinner than a pixel
            axes.fill_between(batches, values, step="mid", color=color, linewidth=0)
        axes.axhline(
            total, color=palette.series_color(1), linewidth=1.5, linestyle="--", label="all rows"
        )
        axes.set_ylim(-1.05, 1.05)
        axes.set_yticks([-1, -0.5, 0, 0.5, 1])
        axes.set_xlabel(f"batch of {BATCH} rows")
        axes.set_ylabel("Matthews correlation")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="lower left", ncols=2, handlelength=1.6, columnspacing=1)

    note = f"{dataset.name}, all {len(dataset.rows)} rows: {total:.4f}. "
    note += "A batch with a single class, or a single answer, counts as 0"
    note += f"; the last batch has {last_rows} rows." if last_rows < BATCH else "."
    return Picture("mcc_by_batch", f"MCC by batch of {BATCH} rows", note, draw)


def _regression_values(dataset: PredictionSet) -> tuple[list[float], list[float]] | None:
    """Labels and predictions of a regression data set, without rows where either is not a number.
    None for a classification data set, recognized by non-numeric values in most rows."""
    pairs = [
        (finite_float_or_none(row["label"]), finite_float_or_none(row["prediction"]))
        for row in dataset.rows
    ]
    numbers = [(a, b) for a, b in pairs if a is not None and b is not None]
    if len(numbers) < len(pairs) / 2:
        return None
    return [a for a, _ in numbers], [b for _, b in numbers]


def _scatter(
    dataset: PredictionSet, name: str, labels: list[float], predictions: list[float]
) -> Picture:
    """Predictions over labels, with the diagonal on which they are equal."""

    def draw(axes: Any, palette: Palette) -> None:
        low, high = min(labels + predictions), max(labels + predictions)
        axes.plot([low, high], [low, high], color=palette.muted, linewidth=1, label="equal")
        axes.plot(
            labels,
            predictions,
            linestyle="none",
            marker="o",
            markersize=3,
            markeredgewidth=0,
            alpha=0.45,
            color=palette.series_color(0),
            rasterized=len(labels) > 2000,
        )
        axes.set_xlabel("label in the data")
        axes.set_ylabel("the model's answer")

    return Picture(
        name, f"Predictions and labels, {dataset.name}", f"{len(labels)} rows", draw, square=True
    )


def confusion_counts(dataset: PredictionSet, labels: list[str]) -> tuple[list[str], np.ndarray]:
    """Class names, and the confusion matrix: int64 [label, prediction], in the order of the names.
    labels: the known classes; others that occur are appended. Of more than MAX_CLASSES, the most
    frequent ones are kept, and the last name stands for all others."""
    pairs = [(str(row["label"]), str(row["prediction"])) for row in dataset.rows]
    names = list(dict.fromkeys([*labels, *sorted({name for pair in pairs for name in pair})]))
    index = {name: i for i, name in enumerate(names)}
    if len(names) > MAX_CLASSES:
        rows = Counter(name for pair in pairs for name in pair)
        kept = sorted(names, key=lambda name: (-rows[name], index[name]))[: MAX_CLASSES - 1]
        names = [*sorted(kept, key=index.__getitem__), OTHER_CLASSES]
        index = dict.fromkeys(index, len(kept)) | {name: i for i, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), np.int64)
    for label, prediction in pairs:
        counts[index[label], index[prediction]] += 1
    return names, counts


def _confusion(dataset: PredictionSet, name: str, labels: list[str]) -> Picture:
    """The confusion matrix; right cells are blue, wrong ones orange."""
    names, counts = confusion_counts(dataset, labels)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    correct = sum(str(row["label"]) == str(row["prediction"]) for row in dataset.rows)

    def draw(axes: Any, palette: Palette) -> None:
        axes.imshow(_cell_colors(shares), aspect="auto", interpolation="nearest", origin="upper")
        positions = range(len(names)) if len(names) <= _MAX_CLASSES_WITH_NAMES else []
        tick_labels = [wrap(names[i], _NAME_CHARACTERS) for i in positions]
        axes.set_xticks(positions, tick_labels, rotation=0 if len(names) <= 3 else 45)
        axes.set_yticks(positions, tick_labels, rotation=90 if len(names) <= 3 else 0, va="center")
        axes.set_xlabel("the model's answer")
        axes.set_ylabel("label in the data")
        if len(names) <= _MAX_CLASSES_WITH_COUNTS:
            for (i, j), count in np.ndenumerate(counts):
                text = f"{count}\n{shares[i, j]:.0%}" if len(names) <= 6 else f"{count}"
                axes.text(j, i, text, ha="center", va="center", color=palette.text, fontsize=9)

    note = f"{correct:,} of {len(dataset.rows):,} rows are right (blue), the others wrong "
    note += "(orange); percentages are shares of the rows with that label"
    return Picture(name, f"Confusion matrix, {dataset.name}", note, draw)


def _cell_colors(shares: np.ndarray) -> np.ndarray:
    """The cells' colours, RGBA: right answers blue, wrong ones orange, the more opaque the larger
    their share of the label's rows. Translucent, so that text is legible in light and dark mode."""
    colors = np.zeros((*shares.shape, 4))
    colors[:] = _WRONG
    colors[np.diag_indices(len(shares))] = _RIGHT
    colors[..., 3] = 0.7 * shares
    return colors


def _histogram(lengths: Lengths, unit: str, axis: str) -> Picture:
    """The histogram of row lengths, with truncated rows in a second colour. unit: what lengths are
    counted in; axis: the label of the x axis."""
    longest = max(n for n, count in enumerate(lengths.counts) if count)
    width = -(-(longest + 1) // _MAX_BARS)  # lengths per bar, rounded up
    counts = [sum(lengths.counts[i : i + width]) for i in range(0, longest + 1, width)]
    mean = sum(n * count for n, count in enumerate(lengths.counts)) / lengths.rows
    note = f"mean {mean:.1f} {unit}; "
    if lengths.truncated:
        note += f"{lengths.truncated} of {lengths.rows} rows "
        note += f"({lengths.truncated / lengths.rows:.1%}) were truncated to {lengths.max_length}"
    else:
        note += f"none of {lengths.rows} rows was truncated (limit {lengths.max_length})"

    def draw(axes: Any, palette: Palette) -> None:
        centers = [i * width + (width - 1) / 2 for i in range(len(counts))]
        # Truncated rows have the maximum length: they are in the last bar.
        complete = [*counts[:-1], max(0, counts[-1] - lengths.truncated)]
        axes.bar(
            centers, complete, width=width * 0.9, color=palette.series_color(0), label="complete"
        )
        if lengths.truncated:
            axes.bar(
                centers[-1:],
                lengths.truncated,
                bottom=complete[-1:],
                width=width * 0.9,
                color=palette.series_color(1),
                label=f"truncated to {lengths.max_length}",
            )
            axes.legend(loc="upper left")
        axes.set_xlabel(axis)
        axes.set_ylabel("rows")

    return Picture("lengths", "Lengths of the rows", note, draw)
