"""Which columns of a user's file are the texts and the label, and their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bert_paddle.common.errors import DataError
from bert_paddle.glue.custom.files import Table
from bert_paddle.glue.data import tsv

# Names that data sets on Hugging Face's hub and in GLUE give these columns; the first match counts.
_PAIRS = (
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
_TEXTS = ("sentence", "text", "review", "content", "comment", "sentence1", "question", "tweet")
_LABELS = (
    *("label", "labels", "gold_label", "class", "target", "category", "score", "sentiment"),
    *("rating", "stars", "similarity", "similarity_score", "is_duplicate", "quality"),
)
_KINDS = {type(None): "nothing (null)", bool: "true or false", list: "a list", dict: "an object"}
_NUMBERS = ("id", "idx", "index", "guid", "")


@dataclass(frozen=True)
class ChosenColumns:
    """The names of the columns; `label` is None where a file has no labels."""

    text: str
    pair: str | None = None
    label: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns of the one or two texts."""
        return (self.text,) if self.pair is None else (self.text, self.pair)

    def told(self) -> str:
        """The columns as a log line has them."""
        said = "text from " + " and ".join(map(tsv.shown, self.texts))
        return said + (f", label from {tsv.shown(self.label)}" if self.label else ", no labels")

    def as_dict(self) -> dict[str, str | None]:
        """What a saved model remembers."""
        return asdict(self)


def choose(
    table: Table,
    given: Sequence[str | None],
    remembered: ChosenColumns | None = None,
    pairs: bool | None = None,
    need_label: bool = True,
) -> ChosenColumns:
    """The columns of a file. given: text, pair and label, as flags name them, or None each.

    remembered: those that the model was fine-tuned on, taken where the file has them. pairs:
    whether there have to be two texts, or one; None for either. A file without labels is good
    enough unless `need_label`. Raises DataError for a column that is not there, and where the
    columns' names do not tell which is the text.
    """
    text, pair, label = given
    label = _label(table, label, remembered, need_label)
    for column in (text, pair):
        if column is not None and column not in table.columns:
            raise table.missing(column)
    if text is not None:
        if pairs is not None and pairs != (pair is not None):
            raise DataError(
                f"{table.path}: the model was fine-tuned on "
                + ("pairs of texts: give --text_pair_column too" if pairs else "one text, no pairs")
            )
        return ChosenColumns(text, pair, label)
    if remembered and set(remembered.texts) <= set(table.columns):
        return ChosenColumns(remembered.text, remembered.pair, label)
    return ChosenColumns(*_texts(table, label, pairs), label)


def _label(
    table: Table, given: str | None, remembered: ChosenColumns | None, needed: bool
) -> str | None:
    if given is not None:
        if given not in table.columns and needed:
            raise table.missing(given)
        return given if given in table.columns else None
    if remembered and remembered.label in table.columns:
        return remembered.label
    by_name = _by_plain_name(table)
    found = next((by_name[name] for name in _LABELS if name in by_name), None)
    if found is None and needed:
        columns = tsv.shown(", ".join(table.columns), 200)
        raise DataError(
            f"{table.path}: which column is the label? give --label_column; there are {columns}"
            f"{_no_header(table)}"
        )
    return found


def _texts(table: Table, label: str | None, pairs: bool | None) -> tuple[str, str | None]:
    """The one text or the two, by the columns' names; what alone is left is the text or texts."""
    by_name = {name: column for name, column in _by_plain_name(table).items() if column != label}
    left = [column for name, column in by_name.items() if name not in _NUMBERS]
    if pairs is not False:
        for one, other in _PAIRS:
            if one in by_name and other in by_name:
                return by_name[one], by_name[other]
        if pairs and len(left) == 2:
            return left[0], left[1]
    if not pairs:
        for name in _TEXTS:
            if name in by_name:
                return by_name[name], None
        if len(left) == 1:
            return left[0], None
    columns = tsv.shown(", ".join(table.columns), 200)
    which = "columns are the two texts" if pairs else "column is the text"
    flags = "--text_column and --text_pair_column" if pairs else "--text_column"
    also = "" if pairs is not None else " (and --text_pair_column, of two)"
    raise DataError(
        f"{table.path}: which {which}? give {flags}{also}; there are {columns}{_no_header(table)}"
    )


def _by_plain_name(table: Table) -> dict[str, str]:
    return {column.strip().lower(): column for column in table.columns}


def _no_header(table: Table) -> str:
    if len(table.columns) == 1 and ";" in table.columns[0]:
        return " (semicolons? save the file with commas between the fields)"
    return " (no header line? give --column_names)"


def text_value(row: dict[str, Any], column: str, table: Table, number: int) -> str:
    """A row's text. Raises DataError where there is none, or something else."""
    value = _value(row, column, table, number)
    if not isinstance(value, str):
        kind = _KINDS.get(type(value), "a number")
        raise DataError(
            f"{table.place(number)}: {tsv.shown(column)} is {kind} where a text is expected"
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:  # half of a pair, as only the escapes of JSON can spell it
            raise DataError(f"{table.place(number)}: the text has a lone surrogate") from None
    return value


def label_value(row: dict[str, Any], column: str, table: Table, number: int) -> str:
    """A row's label as text: "" where it has none; a whole number as such also where it is spelled
    2.0, as pandas does where a label is missing."""
    value = _value(row, column, table, number)
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        kind = _KINDS[type(value)]
        raise DataError(
            f"{table.place(number)}: {tsv.shown(column)} is {kind} where a label is expected"
        )
    return plain_label(str(value))


def plain_label(text: str) -> str:
    """A label without blanks around it, and a whole number without its decimals."""
    text = text.strip()
    whole, point, decimals = text.partition(".")
    if point and decimals and not decimals.strip("0") and whole.lstrip("+-").isdecimal():
        return whole
    return text


def _value(row: dict[str, Any], column: str, table: Table, number: int) -> Any:
    if column not in row:
        found = tsv.shown(", ".join(row))
        raise DataError(
            f"{table.place(number)}: the row has no {tsv.shown(column)}; it has {found}"
        )
    return row[column]
