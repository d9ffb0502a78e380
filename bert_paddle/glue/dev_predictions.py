"""Reads dev_predictions.jsonl, the rows of a dev set with their labels and a run's predictions, as
`predictions.write_jsonl` writes it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common import read_files
from bert_paddle.common.errors import DataError

FILE = "dev_predictions.jsonl"
# A class name, a score, or the sorted names of any number of labels.
Answer = str | float | tuple[str, ...]


@dataclass(frozen=True)
class DevRow:
    """A row. texts: its text, and the second one of a pair; prediction: None if it was not asked
    for."""

    texts: tuple[str, str | None]
    label: Answer
    prediction: Answer | None


def read_rows(path: Path, way_out: str, with_predictions: bool) -> list[DevRow]:
    """The rows of a file, of which there is at least one; row i is in line i + 1.

    way_out: what ends the messages of errors. with_predictions: whether rows must have a
    prediction. Raises DataError for a malformed or empty file, OSError.
    """
    rows = []
    with read_files.errors_name(path), path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                rows.append(_row(read_files.parse_json_object(line), with_predictions))
            except ValueError as error:
                raise DataError(f"{path}:{number} {error}: {way_out}") from None
    if not rows:
        raise DataError(f"{path} is empty: {way_out}")
    return rows


def _row(values: Mapping[str, Any], with_prediction: bool) -> DevRow:
    """Raises ValueError, whose message completes "<file>:<line> …"."""
    text_a, text_b = values.get("text_a"), values.get("text_b")
    if not isinstance(text_a, str):
        raise ValueError("has no text_a")
    if not isinstance(text_b, str | None):
        raise ValueError("has a text_b that is no text")
    label = _answer(values, "label")
    return DevRow(
        (text_a, text_b), label, _answer(values, "prediction") if with_prediction else None
    )


def _answer(values: Mapping[str, Any], key: str) -> Answer:
    value = values.get(key)
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return tuple(sorted(value))
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"has no {key} that is a name, a list of names or a number")
