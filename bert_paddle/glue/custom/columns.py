"""The text and label columns of a user's file, and their values."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bert_paddle.common.errors import DataError
from bert_paddle.glue.custom.files import Table
from bert_paddle.glue.custom.label_values import label_of
from bert_paddle.glue.data import tsv

# Usual column names, from GLUE and the Hugging Face hub, in lower case; the first match is used.
_PAIR_NAMES = (
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "answer"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("text", "text_pair"),
    ("query", "document"),
    ("#1 string", "#2 string"),
)
_SINGLE_TEXT_NAMES = (
    "sentence",
    "text",
    "review",
    "content",
    "comment",
    "sentence1",
    "question",
    "tweet",
)
LABEL_NAMES = (
    *("label", "labels", "gold_label", "class", "target", "category", "score", "sentiment"),
    *("rating", "stars", "similarity", "similarity_score", "is_duplicate", "quality"),
)
_TYPE_NAMES = {
    type(None): "nothing (null)",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}
TEXT_NAMES = frozenset((*_SINGLE_TEXT_NAMES, *(name for pair in _PAIR_NAMES for name in pair)))
# Columns that are never taken for a text.
_INDEX_NAMES = ("id", "idx", "index", "guid", "unnamed: 0", "")


@dataclass(frozen=True)
class ChosenColumns:
    """The names of the columns; `pair` (the second text) is None for single texts, `label` for a
    file without labels. label_columns: one for each label, instead of `label`; separator: what
    separates several labels in `label`."""

    text: str
    pair: str | None = None
    label: str | None = None
    label_columns: tuple[str, ...] = ()
    separator: str | None = None

    @property
    def has_labels(self) -> bool:
        """Whether the file has labels."""
        return bool(self.label or self.label_columns)

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns with the one or two texts."""
        return (self.text,) if self.pair is None else (self.text, self.pair)

    def describe(self) -> str:
        """The columns in words, for a log line."""
        texts = "text from " + " and ".join(map(tsv.quote_value, self.texts))
        if self.label_columns:
            listed = ", ".join(map(tsv.quote_value, self.label_columns[:20]))
            more = ", ..." if len(self.label_columns) > 20 else ""
            return f"{texts}, labels from {listed}{more}"
        return texts + (
            f", label from {tsv.quote_value(self.label)}" if self.label else ", no labels"
        )


def choose_columns(
    table: Table,
    requested: Sequence[str | None],
    saved: ChosenColumns | None = None,
    pairs: bool | None = None,
    need_label: bool = True,
) -> ChosenColumns:
    """Choose the columns of a file: those requested, else the saved ones, else by their names.

    requested: the values of --text_column, --text_pair_column and --label_column, None where not
    given. saved: the columns that the model was fine-tuned on, used if the file has them. pairs:
    True if the model takes pairs of texts, False if single texts, None if either will do. Raises
    DataError for a missing column, and where the text or, with `need_label`, the label cannot be
    inferred from the column names.
    """
    chosen = _choose(table, requested, saved, pairs, need_label)
    for column in (*chosen.texts, chosen.label):
        if column is not None:
            _check_single(table, column)
    return chosen


def _check_single(table: Table, column: str) -> None:
    """Raise DataError for a column of whose name the header has two."""
    if column in table.duplicates:
        raise DataError(
            f"{table.path}:1: the header names {tsv.quote_value(column)} twice: rename the one "
            "that is not to be read"
        )


def without_ids(table: Table, column: str, named: Collection[str | None]) -> Table:
    """The table without the --id_column, to choose the others from, unless it is also `named` as
    one of them. Raises DataError for a column that the file does not have, or has twice."""
    if column not in table.columns:
        raise table.missing_column_error(column)
    _check_single(table, column)
    if column in named:
        return table
    return replace(table, columns=tuple(name for name in table.columns if name != column))


def _choose(
    table: Table,
    requested: Sequence[str | None],
    saved: ChosenColumns | None,
    pairs: bool | None,
    need_label: bool,
) -> ChosenColumns:
    text, pair, label = requested
    label = _label_column(table, label, saved, need_label)
    for column in (text, pair):
        if column is not None and column not in table.columns:
            raise table.missing_column_error(column)
    if text is not None:
        if pairs is not None and pairs != (pair is not None):
            raise DataError(
                f"{table.path}: the model was fine-tuned on "
                + (
                    "pairs of texts: give --text_pair_column too"
                    if pairs
                    else "single texts: omit --text_pair_column"
                )
            )
        return ChosenColumns(text, pair, label)
    if saved and set(saved.texts) <= set(table.columns):
        return ChosenColumns(saved.text, saved.pair, label)
    return ChosenColumns(*_text_columns(table, label, pairs), label)


def _label_column(
    table: Table, requested: str | None, saved: ChosenColumns | None, required: bool
) -> str | None:
    """The label column: as requested, saved, or by its name; None if it is missing and not
    required."""
    if requested is not None:
        if requested not in table.columns and required:
            raise table.missing_column_error(requested)
        return requested if requested in table.columns else None
    if saved and saved.label in table.columns:
        return saved.label
    by_name = _columns_by_lower_name(table)
    label = next((by_name[name] for name in LABEL_NAMES if name in by_name), None)
    if label is None and required:
        columns = tsv.quote_value(", ".join(table.columns), 200)
        raise DataError(
            f"{table.path}: which column is the label? give --label_column; there are {columns}"
            f"{_header_hint(table)}"
        )
    return label


def _text_columns(table: Table, label: str | None, pairs: bool | None) -> tuple[str, str | None]:
    """The text column and, for pairs, the second text's: found by name, otherwise the only
    remaining column(s)."""
    by_name = {
        name: column for name, column in _columns_by_lower_name(table).items() if column != label
    }
    candidates = [column for name, column in by_name.items() if name not in _INDEX_NAMES]
    if pairs is not False:
        for name_a, name_b in _PAIR_NAMES:
            if name_a in by_name and name_b in by_name:
                return by_name[name_a], by_name[name_b]
        if pairs and len(candidates) == 2:
            return candidates[0], candidates[1]
    if not pairs:
        for name in _SINGLE_TEXT_NAMES:
            if name in by_name:
                return by_name[name], None
        if len(candidates) == 1:
            return candidates[0], None
    columns = tsv.quote_value(", ".join(table.columns), 200)
    question = "columns are the two texts" if pairs else "column is the text"
    flags = "--text_column and --text_pair_column" if pairs else "--text_column"
    pair_flag = "" if pairs is not None else " (and --text_pair_column for text pairs)"
    raise DataError(
        f"{table.path}: which {question}? give {flags}{pair_flag}; there are {columns}"
        f"{_header_hint(table)}"
    )


def _columns_by_lower_name(table: Table) -> dict[str, str]:
    return {column.strip().lower(): column for column in table.columns}


def _header_hint(table: Table) -> str:
    """The likely cause of unrecognized column names, for a message."""
    if len(table.columns) == 1:
        for delimiter, name in (
            (";", "semicolons"),
            ("\t", "tabs"),
            ("|", "bars"),
            (",", "commas"),
        ):
            if delimiter in table.columns[0]:
                return f" ({name} between the fields? give --delimiter)"
    return " (no header line? give --column_names)"


def is_usual_text_name(column: str) -> bool:
    """Whether a column's name is one by which texts are found."""
    return column.strip().lower() in TEXT_NAMES


def read_text(row: dict[str, Any], column: str, table: Table, number: int) -> str:
    """The text of row `number`. Raises DataError if it is missing, or neither a string nor a
    number."""
    value = read_field(row, column, table, number)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        value = str(value)
    if not isinstance(value, str):
        type_name = _TYPE_NAMES.get(type(value), "NaN or infinite")
        raise DataError(
            f"{table.location(number)}: {tsv.quote_value(column)} is {type_name} "
            "where a text is expected"
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair, which a JSON escape can spell
            raise DataError(f"{table.location(number)}: the text has a lone surrogate") from None
    return value


def read_id(row: dict[str, Any], column: str, table: Table, number: int) -> str:
    """The id of row `number` as text. Raises DataError as `read_text` does, and for an id that
    cannot be a field of a TSV file."""
    text = read_text(row, column, table, number)
    if {"\t", "\n", "\r"} & set(text):
        raise DataError(
            f"{table.location(number)}: the id {tsv.quote_value(text)} has a tab or a line break, "
            "which prediction files cannot have"
        )
    return text


def read_label(row: dict[str, Any], column: str, table: Table, number: int) -> str:
    """The label of row `number` (see label_values.py), "" if it has none. Raises DataError if the
    column is missing or its value is not a string, a number or a boolean."""
    value = read_field(row, column, table, number)
    if not isinstance(value, str | int | float | None):
        type_name = _TYPE_NAMES[type(value)]
        hint = " (give --multi_label for several labels per row)" if type(value) is list else ""
        raise DataError(
            f"{table.location(number)}: {tsv.quote_value(column)} is {type_name} "
            f"where a label is expected{hint}"
        )
    return label_of(value)


def read_field(row: dict[str, Any], column: str, table: Table, number: int) -> Any:
    """The value of a column in row `number`. Raises DataError if the row does not have it."""
    if column not in row:
        columns = tsv.quote_value(", ".join(row))
        raise DataError(
            f"{table.location(number)}: the row has no {tsv.quote_value(column)}; it has {columns}"
        )
    return row[column]
