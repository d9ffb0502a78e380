"""Rows of which any number of labels is true: read, find and encode their labels.

    a list            JSON ["a", "b"], also as the text of a field (and as Python prints a list)
    a separator       a,b    (--label_separator)
    a column for each a: 1, b: 1, c: 0    (--label_columns)

An empty list, a blank field and columns of zeros mean a row without labels. JSON null, and -1 in a
column of its own, mean that the labels are not known.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bert_paddle.common import limits
from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.custom.columns import ChosenColumns, read_field
from bert_paddle.glue.custom.files import Table
from bert_paddle.glue.custom.label_values import label_of, normalize_label
from bert_paddle.glue.custom.task import (
    LabelColumn,
    label_indices,
    listed_classes,
    warn_unusual_classes,
)
from bert_paddle.glue.data import tsv
from bert_paddle.glue.task_definition import Task

_UNKNOWN = "-1"  # in a column of its own, as in published test sets
_TRUTHS = {"1": True, "true": True, "0": False, "false": False}


@dataclass
class LabelSets:
    """The labels of each row of a file, as normalized text; None where they are not known.

    numbers: the number of each row. location(number): the file and the row, for messages.
    """

    rows: list[tuple[str, ...] | None]
    numbers: list[int]
    location: Callable[[int], str]
    path: str

    def flat(self) -> LabelColumn:
        """All labels of all rows, each with the number of its row."""
        pairs = [
            (name, number)
            for labels, number in zip(self.rows, self.numbers, strict=True)
            for name in labels or ()
        ]
        texts, numbers = [name for name, _ in pairs], [number for _, number in pairs]
        return LabelColumn(texts, numbers, self.location, self.path)


def take_label_columns(
    table: Table, names: tuple[str, ...], required: bool
) -> tuple[Table, tuple[str, ...]]:
    """The table without the columns of --label_columns, to choose the others from, and these
    columns, () for a file without any of them that needs no labels. Raises DataError if some or,
    where `required`, all are missing."""
    missing = [name for name in names if name not in table.columns]
    if missing and (required or len(missing) < len(names)):
        raise table.missing_column_error(missing[0])
    for name in names:
        if name in table.duplicates:
            raise DataError(
                f"{table.path}:1: the header names {tsv.quote_value(name)} twice: rename the one "
                "that is not to be read"
            )
    others = tuple(column for column in table.columns if column not in names)
    return replace(table, columns=others), () if missing else names


def read_labels(
    row: dict[str, Any], columns: ChosenColumns, table: Table, number: int
) -> tuple[str, ...] | None:
    """The labels of row `number`, without repetitions; None if they are not known. Raises DataError
    for a value that is no list of labels."""
    if columns.label_columns:
        return _marked_columns(row, columns.label_columns, table, number)
    assert columns.label is not None
    value = read_field(row, columns.label, table, number)
    if value is None:
        return None
    if isinstance(value, str):
        value = _parse_list(value, columns.separator)
    where = f"{table.location(number)}: {tsv.quote_value(columns.label)}"
    if not isinstance(value, list):
        raise DataError(
            f"{where} is {tsv.quote_value(str(row[columns.label]))} where a list of labels is "
            'expected, as ["a", "b"] (give --label_separator if something separates them)'
        )
    names = []
    for item in value:
        if not isinstance(item, str | int | float):
            raise DataError(f"{where} has an item that is no label: {tsv.quote_value(str(item))}")
        name = label_of(item)
        if not name:
            raise DataError(f"{where} has a label that is blank")
        names.append(name)
    return tuple(dict.fromkeys(names))


def _parse_list(text: str, separator: str | None) -> Any:
    """The list that a field of text holds; None if it holds none."""
    stripped = text.strip()
    if not stripped:
        return []
    if separator is not None and not stripped.startswith("["):
        parts = map(str.strip, text.split(separator))
        return [part for part in parts if part]
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(stripped)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return None


def _marked_columns(
    row: dict[str, Any], names: tuple[str, ...], table: Table, number: int
) -> tuple[str, ...] | None:
    chosen: list[str] = []
    unknown = 0
    for name in names:
        value = read_field(row, name, table, number)
        text = label_of(value) if isinstance(value, str | int | float | None) else "a list"
        if text in ("", _UNKNOWN):
            unknown += 1
        elif text not in _TRUTHS:
            raise DataError(
                f"{table.location(number)}: {tsv.quote_value(name)} is {tsv.quote_value(text)} "
                "where 0 or 1 is expected"
            )
        elif _TRUTHS[text]:
            chosen.append(normalize_label(name))
    if 0 < unknown < len(names):
        raise DataError(
            f"{table.location(number)}: {unknown} of the {len(names)} label columns have no value"
        )
    return None if unknown else tuple(chosen)


def infer_labels(
    sets: LabelSets, columns: ChosenColumns, args: GlueArgs, log: RunLog
) -> tuple[str, ...]:
    """The names of the labels of the training rows, in order: of the label columns, of --labels, or
    of all labels that occur, numbers by their size. Raises DataError if there are fewer than
    two."""
    flat = sets.flat()
    occurring = set(flat.texts)
    if columns.label_columns or args.labels:
        names = listed_classes(args.labels) if args.labels else ()
        names = names or tuple(map(normalize_label, columns.label_columns))
        for name in names:
            if name not in occurring:
                log.warning(f"{sets.path}: no row has the label {name}")
        return names
    are_numbers = all(map(tsv.is_number, occurring))
    names = tuple(sorted(occurring, key=float) if are_numbers else sorted(occurring))
    limits.check("CLASSES", len(names), sets.path)
    if len(names) < 2:
        found = f"the only label is {names[0]}" if names else "no row has a label"
        raise DataError(
            f"{sets.path}: {found}: there must be two or more (is it the right --label_column?)"
        )
    if unprintable := [name for name in names if not name.isprintable()]:
        location = sets.location(flat.numbers[flat.texts.index(unprintable[0])])
        raise DataError(
            f"{location}: the label {unprintable[0]!r} cannot be a class name (not printable)"
        )
    warn_unusual_classes(flat, names, log)
    return names


def check_complete(columns: ChosenColumns, task: Task, path: str) -> None:
    """Raise DataError if labels are in columns of their own, and one of the task has none: it would
    be taken to be false of all rows."""
    known = set(map(normalize_label, columns.label_columns))
    missing = [name for name in task.file_labels if known and name not in known]
    if missing:
        raise DataError(
            f"{path}: --label_columns {','.join(columns.label_columns)} leaves out "
            f"{tsv.quote_value(missing[0])}, a label of the model: give a column for each label"
        )


def encode_labels(sets: LabelSets, task: Task) -> np.ndarray:
    """The labels as float32 [rows, labels], 1 where a label is true of a row, else 0. Raises
    DataError, naming a row, for a label that the task does not have, and for unknown ones."""
    index = label_indices(task)
    encoded = np.zeros((len(sets.rows), len(task.labels)), np.float32)
    wrong: list[tuple[int, str]] = []
    for i, labels in enumerate(sets.rows):
        unknown = [""] if labels is None else [name for name in labels if name not in index]
        if unknown:
            wrong.append((i, unknown[0]))
        else:
            encoded[i, [index[name] for name in labels or ()]] = 1
    if wrong:
        listed = ", ".join(task.file_labels[:20]) + (", ..." if len(task.file_labels) > 20 else "")
        locations = [sets.location(sets.numbers[i]) for i, _ in wrong]
        raise tsv.label_error(locations, wrong[0][1], f"one of {listed}")
    return encoded


def known_labels(sets: LabelSets, log: RunLog) -> LabelSets | None:
    """The labels of a test file; None, with a log line, if no row has any, as in files that are to
    be predicted."""
    if not any(sets.rows):
        log.note(f"{sets.path}: no labels (all blank or unknown): not scored")
        return None
    return sets
