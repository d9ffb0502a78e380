"""What the page shows of the data: some rows with the model's answers, one row as the model reads
it, and how many rows each class has."""

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.report.run_data import PredictionSet, RunData

_ROWS, _WRONG_ROWS = 10, 4  # shown rows, at most so many of them wrong
_MAX_CLASSES = 20  # with more, the balance lists the largest
_MAX_PIECES = 64
_MAX_CHARACTERS = 300  # longer texts are cut: the rows are only examples


@dataclass(frozen=True)
class SampleRow:
    """A row of a labelled data set, with the model's answer. text_b: "" for single texts."""

    text_a: str
    text_b: str
    label: str
    prediction: str
    right: bool


@dataclass(frozen=True)
class ClassShare:
    """A class, its number of rows, and their share of all rows, from 0 to 1."""

    name: str
    rows: int
    share: float


@dataclass(frozen=True)
class InputExample:
    """A row as the model's input: one entry for each position, padding included."""

    label: str
    positions: list[tuple[str, int, int, int]]  # piece, id, mask, segment

    @property
    def padding(self) -> int:
        """The number of positions that are padding."""
        return sum(mask == 0 for _, _, mask, _ in self.positions)


def sample_rows(dataset: PredictionSet) -> list[SampleRow]:
    """Ten rows drawn at random, always the same ones, in the order of the file. Up to four of them
    are wrong ones. [] for a regression, whose answers are neither right nor wrong."""
    if not any("probabilities" in row for row in dataset.rows):
        return []
    draw = random.Random(0)
    wrong = [i for i, row in enumerate(dataset.rows) if row["label"] != row["prediction"]]
    right = [i for i, row in enumerate(dataset.rows) if row["label"] == row["prediction"]]
    chosen = draw.sample(wrong, min(len(wrong), max(_WRONG_ROWS, _ROWS - len(right))))[:_ROWS]
    chosen += draw.sample(right, min(len(right), _ROWS - len(chosen)))
    rows = [dataset.rows[i] for i in sorted(chosen)]
    return [
        SampleRow(
            _cut(str(row["text_a"])),
            "" if row.get("text_b") is None else _cut(str(row["text_b"])),
            answer_text(row["label"]),
            answer_text(row["prediction"]),
            row["label"] == row["prediction"],
        )
        for row in rows
    ]


def answer_text(value: Any) -> str:
    """A class, or labels of which any number is true of a row."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "no label"
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARACTERS else text[:_MAX_CHARACTERS] + " …"


def input_example(run: RunData) -> InputExample | None:
    """The example in run.json; None if it is missing or malformed."""
    values = run.run_info.get("example")
    if not isinstance(values, dict):
        return None
    columns: list[list[Any]] = []
    for key in ("pieces", "input_ids", "input_mask", "segment_ids"):
        column = values.get(key)
        if not isinstance(column, list) or not column:
            return None
        columns.append(column)
    pieces, *numbers = (column[:_MAX_PIECES] for column in columns)
    if any(finite_float_or_none(number) is None for column in numbers for number in column):
        return None
    ids, mask, segments = ([int(number) for number in column] for column in numbers)
    positions = list(zip(map(str, pieces), ids, mask, segments, strict=False))
    label = values.get("label")
    return InputExample("" if label is None else str(label), positions)


def class_balance(run: RunData) -> tuple[str, list[ClassShare]]:
    """The classes of the training rows as recorded in run.json, else those of the first labelled
    data set, and what they are of. The largest twenty of many classes; [] for a regression."""
    recorded = run.run_info.get("class_counts")
    for name, values in (recorded if isinstance(recorded, dict) else {}).items():
        counts = [finite_float_or_none(n) or 0 for n in values] if isinstance(values, list) else []
        if len(counts) == len(run.labels) and sum(counts) > 0:
            what = "training rows" if name == "train" else f"rows of {name}"
            named = {n: int(c) for n, c in zip(run.labels, counts, strict=True)}
            return what, _shares(named, _rows(run, name) if run.has_label_sets else None)
    for dataset in run.predictions if run.labels and not run.has_label_sets else []:
        counter = Counter(str(row["label"]) for row in dataset.rows)
        names = [name for name in run.labels if name in counter]
        names += [name for name in counter if name not in names]
        return f"rows of the {dataset.name}", _shares({name: counter[name] for name in names})
    return "", []


def _rows(run: RunData, name: str) -> int | None:
    """The number of rows of a data set, as recorded."""
    recorded = run.run_info.get("rows")
    rows = finite_float_or_none(recorded.get(name)) if isinstance(recorded, dict) else None
    return int(rows) if rows else None


def _shares(counts: dict[str, int], rows: int | None = None) -> list[ClassShare]:
    """The shares of all `rows`; None: of the sum of the counts."""
    total = rows or sum(counts.values())
    items = list(counts.items())
    if len(items) > _MAX_CLASSES:
        items = sorted(items, key=lambda item: -item[1])[:_MAX_CLASSES]
    return [ClassShare(name, count, count / total) for name, count in items]
