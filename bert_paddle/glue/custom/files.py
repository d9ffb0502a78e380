"""Tables of any of the formats that a user's own data come in, row by row, by column name.

    tsv         fields between tabs, no quoting, as in GLUE: a quotation mark is a character
    csv         RFC 4180: commas, and quotation marks around fields with commas or line breaks
    quoted_tsv  tabs, and quotation marks as in CSV (what pandas and spreadsheets write as TSV)
    jsonl       an object a line
    json        a list of objects, or an object a line

All are UTF-8. Whatever does not fit stops the reading with its file and line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from bert_paddle.common.errors import DataError
from bert_paddle.glue import custom_args
from bert_paddle.glue.data import tsv

_FIELD_LIMIT = 2**31 - 1  # characters; the csv module's own limit is too small for long documents
Row = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Table:
    """A file's columns, and its rows with the number of each: the line it begins on, or, in a list
    of objects, its place from 1."""

    path: str
    columns: tuple[str, ...]
    rows: Iterator[Row]
    counted_in: str = "line"

    def place(self, number: int) -> str:
        """Where a row stands, for a message."""
        return f"{self.path}{':' if self.counted_in == 'line' else ', object '}{number}"

    def missing(self, column: str) -> DataError:
        """What is said of a column that the file does not have."""
        found = tsv.shown(", ".join(self.columns), 200)
        return DataError(f"{self.path} has no column {tsv.shown(column)}; its columns are {found}")


def read(path: str, file_format: str | None, names: Sequence[str] = ()) -> Table:
    """Open a table; names: of its columns, where the file has no header line.

    Raises DataError for a file that is empty or malformed, while the rows are read too.
    """
    kind = custom_args.format_of(path, file_format)
    assert kind is not None  # the flags were checked
    counted_in = "line"
    if kind == custom_args.JSON and _first_byte(path) == b"[":
        rows, counted_in = _listed(path), "object"
    elif kind in (custom_args.JSON, custom_args.JSON_LINES):
        rows = _objects(path)
    else:
        rows = _delimited(path, _SPLITTERS[kind], names)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: the file is empty")
    return Table(path, tuple(first[1]), chain([first], rows), counted_in)


def _lines(path: str) -> Iterator[tuple[int, str]]:
    """The lines of a file with their numbers and line ends. Empty lines may only end a file."""
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                if number == 1:
                    raw = raw.removeprefix(tsv.BOM)
                yield number, tsv.decoded(raw, path, number)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _first_byte(path: str) -> bytes:
    """The first byte that is not white space, b"" in an empty file."""
    try:
        with open(path, "rb") as file:
            start = file.read(1 << 16).removeprefix(tsv.BOM).lstrip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return start[:1]


# Delimited files: header, fields, and how many there must be.

Split = Callable[[str], Iterator[tuple[int, list[str]]]]


def _delimited(path: str, split: Split, names: Sequence[str]) -> Iterator[Row]:
    rows = _without_last_blanks(split(path), path)
    columns = list(names)
    if not names:
        _, columns = next(rows, (0, []))
        _check_header(columns, path)
    count, empty = len(columns), True
    by = "comma" if split is _csv_rows else "tab"
    for number, fields in rows:
        if len(fields) != count:
            raise tsv.wrong_count(path, number, fields or [""], count, by)
        if names and empty and fields == columns:
            raise DataError(f"{path}:1 is a header line: leave --column_names out")
        empty = False
        yield number, dict(zip(columns, fields, strict=True))
    if empty and columns and not names:
        raise DataError(f"{path}: a header and no row")


def _without_last_blanks(
    rows: Iterator[tuple[int, list[str]]], path: str
) -> Iterator[tuple[int, list[str]]]:
    """The rows; empty lines are let pass where no other row comes after them."""
    blank = 0
    for number, fields in rows:
        if fields in ([], [""]):
            blank = blank or number
            continue
        if blank:
            raise DataError(f"{path}:{blank}: an empty line; take it out")
        yield number, fields


def _check_header(columns: list[str], path: str) -> None:
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path}:1: the header names {tsv.shown(', '.join(twice))} twice")
    if any(len(name) > 1 and name[0] == name[-1] == '"' for name in columns):
        raise DataError(
            f"{path}:1: the header has quotation marks, and a .tsv has no quoting: give "
            "--file_format quoted_tsv"
        )


def _tsv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    for number, text in _lines(path):
        yield number, tsv.without_end(text).split("\t")


def _csv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    return _quoted(path, ",")


def _quoted_tsv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    return _quoted(path, "\t")


def _quoted(path: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line each begins on: a quoted field may have line breaks."""
    reader = csv.reader((text for _, text in _lines(path)), delimiter=delimiter, strict=True)
    while True:
        begins = reader.line_num + 1
        limit = csv.field_size_limit(_FIELD_LIMIT)
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}:{begins}: the row's quotation marks do not fit together ({error}); those "
                'within a field are doubled ("")'
            ) from None
        finally:
            csv.field_size_limit(limit)
        yield begins, fields


_SPLITTERS: dict[str, Split] = {
    custom_args.TSV: _tsv_rows,
    custom_args.QUOTED_TSV: _quoted_tsv_rows,
    custom_args.CSV: _csv_rows,
}


# JSON.


def _objects(path: str) -> Iterator[Row]:
    """An object a line; empty lines are let pass, as most readers of JSON lines do."""
    for number, text in _lines(path):
        if text.strip():
            try:
                found = json.loads(text)
            except (ValueError, RecursionError) as error:
                words = str(error).partition(":")[0]
                raise DataError(f"{path}:{number}: not a JSON object a line ({words})") from None
            yield number, _object(found, f"{path}:{number}")


def _listed(path: str) -> Iterator[Row]:
    """The objects of a list, which is read whole."""
    try:
        found = json.loads("".join(text for _, text in _lines(path)))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error})") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply for a list of objects") from None
    for number, item in enumerate(found, 1):
        yield number, _object(item, f"{path}, object {number}")


def _object(found: Any, place: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise DataError(f"{place}: {tsv.shown(str(found))} where an object is expected")
    return found
