"""Read a user's data files row by row, as dicts by column name. The formats:

    tsv         tab-separated without quoting, as in GLUE: quotation marks are ordinary characters
    csv         RFC 4180: comma-separated, fields with commas or line breaks in quotation marks
    quoted_tsv  tab-separated, quoted as CSV is (what pandas and spreadsheets write as TSV)
    jsonl       one object per line
    json        a list of objects, or one object per line

All are UTF-8. Malformed content raises a DataError with file and line.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import DataError
from bert_paddle.common.text_lines import (
    BOM,
    decode_line,
    field_count_error,
    quote_value,
    strip_line_end,
)

TSV, QUOTED_TSV, CSV, JSON, JSON_LINES = "tsv", "quoted_tsv", "csv", "json", "jsonl"
FORMATS = (TSV, QUOTED_TSV, CSV, JSON, JSON_LINES)
EXTENSIONS = {".tsv": TSV, ".csv": CSV, ".json": JSON, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES}
_FIELD_LIMIT = 2**31 - 1  # characters; the csv module's default is too small for long documents
Row = tuple[int, dict[str, Any]]  # the row's number (see Table), its values by column


# What a value of another type is called in a message.
TYPE_NAMES = {
    type(None): "nothing (null)",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True)
class Table:
    """A file's columns and rows. A row's number is the line it begins on or, in a JSON list, the
    object's position; both count from 1. has_header: whether the columns' names are a line of the
    file."""

    path: str
    columns: tuple[str, ...]
    rows: Iterator[Row]
    row_unit: str = "line"
    has_header: bool = False

    def location(self, number: int) -> str:
        """The file and the row `number`, for a message."""
        return f"{self.path}{':' if self.row_unit == 'line' else ', object '}{number}"

    def missing_column_error(self, column: str) -> DataError:
        """The error for a column that the file does not have."""
        columns = quote_value(", ".join(self.columns), 200)
        return DataError(
            f"{self.path} has no column {quote_value(column)}; its columns are {columns}"
        )


def detect_format(path: str, file_format: str | None) -> str | None:
    """The format of a file, by --file_format or its extension; None for an unknown extension."""
    return file_format or EXTENSIONS.get(Path(path).suffix.lower())


def open_table(path: str, file_format: str | None, names: Sequence[str] = ()) -> Table:
    """Open a file as a table whose rows are read lazily. names: the column names of a file without
    a header line.

    Raises DataError for an empty or malformed file, possibly only while iterating over its rows.
    """
    format_name = detect_format(path, file_format)
    assert format_name is not None  # the flags reject unknown extensions
    row_unit, has_header = "line", False
    if format_name == JSON and _first_byte(path) == b"[":
        rows, row_unit = _json_list_rows(path), "object"
    elif format_name in (JSON, JSON_LINES):
        rows = _json_lines_rows(path)
    else:
        rows = _delimited_rows(path, _ROW_READERS[format_name], names)
        has_header = not names
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: the file is empty")
    return Table(path, tuple(first[1]), chain([first], rows), row_unit, has_header)


def _decoded_lines(path: str) -> Iterator[tuple[int, str]]:
    """(line number, line with its line end) for each line of a file."""
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                if number == 1:
                    raw = raw.removeprefix(BOM)
                yield number, decode_line(raw, path, number)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _first_byte(path: str) -> bytes:
    """The first byte that is not whitespace; b"" for an empty file."""
    try:
        with open(path, "rb") as file:
            start = file.read(1 << 16).removeprefix(BOM).lstrip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return start[:1]


# Delimited files.

RowReader = Callable[[str], Iterator[tuple[int, list[str]]]]


def _delimited_rows(path: str, read_rows: RowReader, names: Sequence[str]) -> Iterator[Row]:
    rows = _drop_trailing_empty_lines(read_rows(path), path)
    columns = list(names)
    if not names:
        _, columns = next(rows, (0, []))
        _check_header(columns, path)
    count, no_rows = len(columns), True
    delimiter = "comma" if read_rows is _csv_rows else "tab"
    for number, fields in rows:
        if len(fields) != count:
            raise field_count_error(path, number, fields or [""], count, delimiter)
        if count > 1 and len(fields[0]) == len(columns[0]) and _is_header(fields, columns):
            if names and no_rows:
                raise DataError(f"{path}:{number} is a header line: omit --column_names")
            raise DataError(
                f"{path}:{number}: the header line again (were files joined?): delete the line"
            )
        no_rows = False
        yield number, dict(zip(columns, fields, strict=True))
    if no_rows and columns and not names:
        raise DataError(f"{path}: no rows after the header")


def _is_header(fields: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether a row repeats the columns' names, in any case."""
    return [field.lower() for field in fields] == [name.lower() for name in columns]


def _drop_trailing_empty_lines(
    rows: Iterator[tuple[int, list[str]]], path: str
) -> Iterator[tuple[int, list[str]]]:
    """The rows without the empty lines at the end of the file. Raises DataError for an empty line
    between rows."""
    first_empty = 0
    for number, fields in rows:
        if fields in ([], [""]):
            first_empty = first_empty or number
            continue
        if first_empty:
            raise DataError(f"{path}:{first_empty}: an empty line; remove it")
        yield number, fields


def _check_header(columns: list[str], path: str) -> None:
    duplicates = sorted({name for name in columns if columns.count(name) > 1})
    if duplicates:
        raise DataError(f"{path}:1: the header names {quote_value(', '.join(duplicates))} twice")
    if any(len(name) > 1 and name[0] == name[-1] == '"' for name in columns):
        raise DataError(
            f"{path}:1: quotation marks in the header, but TSV has no quoting: give "
            "--file_format quoted_tsv"
        )


def _tsv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    for number, text in _decoded_lines(path):
        yield number, strip_line_end(text).split("\t")


def _csv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    return _quoted_rows(path, ",")


def _quoted_tsv_rows(path: str) -> Iterator[tuple[int, list[str]]]:
    return _quoted_rows(path, "\t")


def _quoted_rows(path: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line it begins on, fields) for each row; a quoted field may contain line breaks."""
    reader = csv.reader(
        (text for _, text in _decoded_lines(path)), delimiter=delimiter, strict=True
    )
    while True:
        first_line = reader.line_num + 1
        # The limit is global to the csv module, so it is set for one row only.
        limit = csv.field_size_limit(_FIELD_LIMIT)
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}:{first_line}: unbalanced quotation marks ({error}); write a quotation "
                'mark inside a field as ""'
            ) from None
        finally:
            csv.field_size_limit(limit)
        yield first_line, fields


_ROW_READERS: dict[str, RowReader] = {
    TSV: _tsv_rows,
    QUOTED_TSV: _quoted_tsv_rows,
    CSV: _csv_rows,
}


# JSON.


def _json_lines_rows(path: str) -> Iterator[Row]:
    """One object per line; empty lines are skipped, as in most readers of JSON Lines."""
    for number, text in _decoded_lines(path):
        if text.strip():
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                reason = str(error).partition(":")[0]
                raise DataError(
                    f"{path}:{number}: not one JSON object per line ({reason})"
                ) from None
            yield number, _check_object(value, f"{path}:{number}")


def _json_list_rows(path: str) -> Iterator[Row]:
    """The objects in a JSON list; the whole file is read into memory."""
    try:
        values = json.loads("".join(text for _, text in _decoded_lines(path)))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error})") from None
    except RecursionError:
        raise DataError(f"{path} is nested too deeply for a list of objects") from None
    for number, value in enumerate(values, 1):
        yield number, _check_object(value, f"{path}, object {number}")


def _check_object(value: Any, location: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{location}: {quote_value(str(value))} where an object is expected")
    return value


# Values.


def read_text(row: dict[str, Any], column: str, table: Table, number: int) -> str:
    """The text of row `number`. Raises DataError if it is missing or not a string."""
    value = read_field(row, column, table, number)
    if not isinstance(value, str):
        type_name = TYPE_NAMES.get(type(value), "a number")
        raise DataError(
            f"{table.location(number)}: {quote_value(column)} is {type_name} "
            "where a text is expected"
        )
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:  # half of a surrogate pair, which a JSON escape can spell
            raise DataError(f"{table.location(number)}: the text has a lone surrogate") from None
    return value


def read_field(row: dict[str, Any], column: str, table: Table, number: int) -> Any:
    """The value in a column of row `number`. Raises DataError if the row has none."""
    if column not in row:
        columns = quote_value(", ".join(row))
        raise DataError(
            f"{table.location(number)}: the row has no {quote_value(column)}; it has {columns}"
        )
    return row[column]
