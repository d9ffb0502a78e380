"""Read a user's data files row by row, as dicts by column name. The formats:

    tsv         tab-separated without quoting, as in GLUE: quotation marks are ordinary characters
    csv         RFC 4180: comma-separated, fields with commas or line breaks in quotation marks
    quoted_tsv  tab-separated, quoted as CSV is (what pandas and spreadsheets write as TSV)
    jsonl       one object per line
    json        a list of objects, one object per line, or a layout of pandas (json_rows)

They are UTF-8 unless text_lines recognizes another encoding; delimited recognizes other delimiters.
Malformed content raises a DataError with file and line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from bert_paddle.common.errors import DataError
from bert_paddle.glue import custom_args
from bert_paddle.glue.custom import delimited, json_rows, text_lines
from bert_paddle.glue.data import tsv

Row = tuple[int, dict[str, Any]]  # the row's number (see Table), its values by column
_DIALECTS = {
    custom_args.TSV: delimited.Dialect("\t", quoted=False),
    custom_args.QUOTED_TSV: delimited.Dialect("\t", quoted=True),
    custom_args.CSV: delimited.Dialect(",", quoted=True),
}


@dataclass(frozen=True)
class Table:
    """A file's columns and rows. A row's number is the line it begins on or, in a JSON list, the
    object's position; both count from 1. has_header: whether the columns' names are a line of the
    file. duplicates: names of several columns, of which the first is read."""

    path: str
    columns: tuple[str, ...]
    rows: Iterator[Row]
    row_unit: str = "line"
    has_header: bool = False
    duplicates: set[str] = field(default_factory=set)

    def location(self, number: int) -> str:
        """The file and the row `number`, for a message."""
        return f"{self.path}{':' if self.row_unit == 'line' else ', object '}{number}"

    def missing_column_error(self, column: str) -> DataError:
        """The error for a column that the file does not have."""
        columns = tsv.quote_value(", ".join(self.columns), 200)
        return DataError(
            f"{self.path} has no column {tsv.quote_value(column)}; its columns are {columns}"
        )


@dataclass(frozen=True)
class Reading:
    """How flags say that files are read; None for what is recognized. names: the column names of a
    file without a header line. delimiter: one character."""

    file_format: str | None = None
    names: Sequence[str] = ()
    delimiter: str | None = None
    encoding: str | None = None


def open_table(
    path: str, reading: Reading, note: Callable[[str], None] = lambda line: None
) -> Table:
    """Open a file as a table whose rows are read lazily. note: called with a line for each thing
    about the file that is recognized or ignored.

    Raises DataError for an empty or malformed file, possibly only while iterating over its rows.
    """
    format_name = custom_args.detect_format(path, reading.file_format)
    assert format_name is not None  # CustomDataArgs rejects unknown extensions
    file = text_lines.inspect(path, reading.encoding)
    for line in file.notes:
        note(line)
    row_unit, has_header, duplicates = "line", False, set[str]()
    if format_name not in _DIALECTS:
        if _is_single_value(file, format_name):
            rows, row_unit = json_rows.whole_rows(file, note), "object"
        else:
            rows = json_rows.line_rows(file)
    else:
        expected = _DIALECTS[format_name]
        dialect = delimited.choose_dialect(
            file, expected, reading.delimiter, len(reading.names), note
        )
        rows = delimited.table_rows(file, dialect, reading.names, note, duplicates)
        has_header = not reading.names
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: the file is empty")
    return Table(path, tuple(first[1]), chain([first], rows), row_unit, has_header, duplicates)


def _is_single_value(file: text_lines.TextFile, format_name: str) -> bool:
    # With .jsonl, a list is a mistake on its line; a list of a .json is the usual layout.
    if format_name == custom_args.JSON_LINES and file.first_character() == "[":
        return False
    return json_rows.is_single_value(file)
