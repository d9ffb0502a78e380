"""Predictions of any number of labels per row: a table of each label, and the labels as text."""

from typing import Any

from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.report.run_data import PredictionSet, RunData
from bert_paddle.report.tables import Table, format_setting

_HEAD = ["label", "rows", "predicted", "precision", "recall", "F1"]
_MAX_LABELS = 200


def per_label(dataset: PredictionSet, run: RunData) -> Table | None:
    """For each label: in how many rows it is true and predicted, precision, recall and F1, and its
    threshold. None for predictions of one class per row. Of many labels, those of the most rows."""
    if not dataset.has_label_sets:
        return None
    counts: dict[str, list[int]] = {name: [0, 0, 0] for name in run.labels}
    for row in dataset.rows:
        label, prediction = names_in(row["label"]), names_in(row["prediction"])
        for name in {*label, *prediction}:
            count = counts.setdefault(name, [0, 0, 0])
            count[0] += name in label
            count[1] += name in prediction
            count[2] += name in label and name in prediction
    saved = run.results.get("thresholds")
    thresholds = saved if isinstance(saved, dict) else {}
    names = list(counts)
    if len(names) > _MAX_LABELS:
        names = sorted(names, key=lambda name: -counts[name][0])[:_MAX_LABELS]
    rows = [[name, *_cells(*counts[name]), _threshold(thresholds.get(name))] for name in names]
    return Table([*_HEAD, "threshold"], rows)


def _cells(true: int, predicted: int, right: int) -> list[str]:
    shares = [(right, predicted), (right, true), (2 * right, true + predicted)]
    quotients = [f"{part / whole:.4f}" if whole else "–" for part, whole in shares]
    return [f"{true:,}", f"{predicted:,}", *quotients]


def _threshold(value: Any) -> str:
    """Unrounded, since a rounded one might give other predictions."""
    number = finite_float_or_none(value)
    return format_setting(None) if number is None else str(number)


def names_in(value: Any) -> list[str]:
    """The labels in a row's `label` or `prediction`."""
    return [str(name) for name in value] if isinstance(value, list) else []
