"""Rows of delimited files: which delimiter, which columns, and what spreadsheets leave behind."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bert_paddle.common import limits
from bert_paddle.common.errors import DataError
from bert_paddle.glue.custom.text_lines import TextFile
from bert_paddle.glue.data import tsv
from bert_paddle.glue.text_format import DELIMITERS

_FIELD_LIMIT = 2**31 - 1  # characters; the csv module's default is too small for long documents
_SAMPLE_ROWS = 200
_NAMES = {character: name for name, character in DELIMITERS.items() if name.isalpha()}
Row = tuple[int, dict[str, Any]]  # the line it begins on, its values by column
Fields = tuple[int, list[str]]
Note = Callable[[str], None]


@dataclass(frozen=True)
class Dialect:
    """delimiter: one character. quoted: whether quotation marks enclose fields, as in CSV. skip:
    lines before the header, such as `sep=;`."""

    delimiter: str
    quoted: bool
    skip: int = 0

    @property
    def name(self) -> str:
        """The delimiter in words, for messages."""
        return _NAMES.get(self.delimiter, repr(self.delimiter))

    def rows(self, file: TextFile) -> Iterator[Fields]:
        """(line it begins on, fields) for each row; a quoted field may contain line breaks."""
        lines = islice(file.lines(), self.skip, None)
        if self.quoted:
            return _quoted_rows(lines, self.delimiter, file.path, self.skip)
        return ((n, tsv.strip_line_end(text).split(self.delimiter)) for n, text in lines)


def choose_dialect(
    file: TextFile, expected: Dialect, given: str | None, columns: int, note: Note
) -> Dialect:
    """The dialect of a file.

    expected: by the file's extension or --file_format. given: --delimiter as one character, or
    None. columns: the number of --column_names, 0 for a file with a header. Another delimiter than
    expected is taken if all rows have as many fields with it, and the first row has none of the
    expected ones, or no row as many fields as the first, such as for a comma in a column's name.
    """
    first = next(file.lines(), (0, ""))[1].strip().strip('"')
    skip = 0
    if first.lower().startswith("sep=") and len(first) == 5 or first.lower() == "sep=":
        # Excel's own line. A tab at its end has been stripped.
        skip, of_file = 1, first[4:] or "\t"
        if given is None:
            note(f"{file.path}:1: the fields are separated by {_quote(of_file)} (sep=)")
            return Dialect(of_file, of_file != "\t" or expected.quoted, skip)
    if given is not None:
        return Dialect(given, expected.quoted, skip)
    if _field_count(file, expected, columns) and not _fits_first_row_alone(file, expected):
        return expected
    others = (Dialect(d, quoted=True) for d in ("\t", ",", ";", "|") if d != expected.delimiter)
    fitting = [other for other in others if _field_count(file, other, columns)]
    if len(fitting) != 1 or not _all_rows_fit(file, fitting[0]):
        return expected
    _check_quotation_marks(file, fitting[0])
    note(
        f"{file.path}: the fields are separated by {_quote(fitting[0].delimiter)}, not by "
        f"{_quote(expected.delimiter)} (--delimiter overrides)"
    )
    return fitting[0]


def _quote(delimiter: str) -> str:
    return {"\t": "tabs", " ": "spaces"}.get(delimiter, repr(delimiter))


def _field_count(file: TextFile, dialect: Dialect, columns: int) -> int:
    """The number of fields in the first row; 0 if the row is not split, or not into `columns`."""
    try:
        _, fields = next(dialect.rows(file), (0, []))
    except DataError:
        return 0
    count = len(fields)
    return count if count > 1 and columns in (0, count) else 0


def _fits_first_row_alone(file: TextFile, dialect: Dialect) -> bool:
    """Whether none of the next rows, of which there are several, has as many fields as the
    first."""
    counts = []
    try:
        for _, fields in islice(dialect.rows(file), _SAMPLE_ROWS):
            counts += [len(fields)] if fields not in ([], [""]) else []
    except DataError:
        return counts[:1] != [] and counts[0] not in counts[1:]
    return len(counts) > 2 and counts[0] not in counts[1:]


def _all_rows_fit(file: TextFile, dialect: Dialect) -> bool:
    """Whether the first rows have as many fields as the first one, which is not the only one."""
    try:
        sample = [fields for _, fields in islice(dialect.rows(file), _SAMPLE_ROWS)]
    except DataError:
        return False
    counts = {len(fields) for fields in sample if fields not in ([], [""])}
    return len(sample) > 1 and len(counts) == 1


def _check_quotation_marks(file: TextFile, dialect: Dialect) -> None:
    """Raise DataError if a quoted field of a file whose delimiter was guessed spans lines: it may
    be two marks of the text, and the rows between them would be lost."""
    lines = sum(bool(text.strip()) for _, text in islice(file.lines(), dialect.skip, None))
    try:
        rows = sum(fields not in ([], [""]) for _, fields in dialect.rows(file))
    except DataError:
        rows = -1
    if rows != lines:
        raise DataError(
            f"{file.path}: the fields seem to be separated by {_quote(dialect.delimiter)}, but "
            "quotation marks span several lines: give --delimiter if they enclose fields, or "
            "--file_format tsv if they belong to the text"
        )


def table_rows(
    file: TextFile, dialect: Dialect, names: Sequence[str], note: Note, duplicates: set[str]
) -> Iterator[Row]:
    """The rows by column. names: --column_names, for a file without a header. duplicates: receives
    the names that several columns have, of which the first is read.

    Columns without a name are not read. Raises DataError for a row with another number of fields,
    unless only blank fields are too many, or fields of nameless columns are missing.
    """
    path, fields_dropped = file.path, 0
    rows = _drop_blank_end(dialect.rows(file), path, note)
    columns = list(names)
    if not names:
        _, columns = next(rows, (0, []))
        duplicates |= _check_header(columns, path)
    count, no_rows = len(columns), True
    required = max((i for i, name in enumerate(columns, 1) if name.strip()), default=count)
    places = {name: i for i, name in reversed(list(enumerate(columns))) if name.strip()}
    places = dict(sorted(places.items(), key=lambda item: item[1])) or {"": 0}
    for number, fields in rows:
        if len(fields) > count and not any(field.strip() for field in fields[count:]):
            del fields[count:]
            fields_dropped += 1
        if len(fields) > count or len(fields) < required:
            raise _field_count_error(path, number, fields or [""], count, dialect)
        if count > 1 and len(fields[0]) == len(columns[0]) and _is_header(fields, columns):
            if names and no_rows:
                raise DataError(f"{path}:{number} is a header line: omit --column_names")
            raise DataError(
                f"{path}:{number}: the header line again (were files joined?): delete the line"
            )
        no_rows = False
        yield number, {name: fields[i] for name, i in places.items()}
    if no_rows and columns and not names:
        raise DataError(f"{path}: no rows after the header")
    if fields_dropped:
        note(f"{path}: {fields_dropped} row(s) end in more delimiters than the header: ignored")


def _is_header(fields: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether a row repeats the columns' names, in any case."""
    return [field.lower() for field in fields] == [name.lower() for name in columns]


def _field_count_error(
    path: str, line: int, fields: Sequence[str], count: int, dialect: Dialect
) -> DataError:
    error = tsv.field_count_error(path, line, fields, count, dialect.name)
    if len(fields) <= count:
        return error
    if dialect.quoted:
        way_out = f"a text that has a {dialect.name} in it belongs in quotation marks"
    else:
        way_out = f"no text can have a {dialect.name} in it (with --file_format quoted_tsv it can)"
    return DataError(f"{error}: {way_out}; another delimiter is given with --delimiter")


def _drop_blank_end(rows: Iterator[Fields], path: str, note: Note) -> Iterator[Fields]:
    """The rows without the empty ones at the end of the file, of which those with delimiters are
    said. Raises DataError for an empty line between rows."""
    blank: list[Fields] = []
    for number, fields in rows:
        if not any(field.strip() for field in fields) and (len(fields) > 1 or fields in ([], [""])):
            blank.append((number, fields))
            continue
        for empty_number, empty in blank:
            if empty in ([], [""]):
                raise DataError(f"{path}:{empty_number}: an empty line; remove it")
            yield empty_number, empty
        blank = []
        yield number, fields
    if with_delimiters := sum(len(fields) > 1 for _, fields in blank):
        note(f"{path}: {with_delimiters} row(s) of nothing but delimiters at the end: ignored")


def _check_header(columns: list[str], path: str) -> set[str]:
    """The names that several columns have. Raises DataError for quotation marks in TSV, and for too
    many columns."""
    limits.check("COLUMNS", len(columns), path)
    if any(len(name) > 1 and name[0] == name[-1] == '"' for name in columns):
        raise DataError(
            f"{path}:1: quotation marks in the header, but TSV has no quoting: give "
            "--file_format quoted_tsv"
        )
    return {name for name, number in Counter(columns).items() if number > 1 and name.strip()}


def _quoted_rows(
    lines: Iterator[tuple[int, str]], delimiter: str, path: str, skipped: int
) -> Iterator[Fields]:
    reader = csv.reader((text for _, text in lines), delimiter=delimiter, strict=True)
    while True:
        first_line = skipped + reader.line_num + 1
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
