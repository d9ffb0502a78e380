"""Reads texts from a user's file: a column of a table, or the lines of a text file."""

from collections.abc import Iterator
from dataclasses import dataclass

from bert_paddle.clm.args import TEXT, ClmArgs, detect_format
from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.custom import text_lines
from bert_paddle.glue.custom.columns import read_text
from bert_paddle.glue.custom.files import Reading, Table, open_table
from bert_paddle.glue.data.tsv import quote_value, strip_line_end
from bert_paddle.models.byte_level_bpe import BpeTokenizer

TEXT_COLUMNS = ("text", "content", "sentence", "document", "body")
_SHOWN_TEXTS, _SHOWN_CHARACTERS = 3, 100


@dataclass
class Texts:
    """A file's texts in its order, without empty ones. path: for messages."""

    texts: list[str]
    path: str

    def __len__(self) -> int:
        return len(self.texts)


def read_texts(path: str, args: ClmArgs, tokenizer: BpeTokenizer, log: RunLog) -> Texts:
    """Read a file; logs how many texts it has, how many empty ones were dropped, and a few texts.

    Raises DataError for a malformed file, a missing column, a file without a text, and a text that
    has a special token in it: that would be taken for the beginning or the end of a text.
    """
    texts, dropped = list[str](), 0
    rows, origin = _rows(path, args, log)
    for location, text in rows:
        if not text.strip():
            dropped += 1
            continue
        if token := tokenizer.special_token_in(text):
            raise DataError(
                f"{location}: the text contains {token}, which is a special token: remove it "
                "there, or give other --bos_token, --eos_token and --pad_token"
            )
        texts.append(text)
    if not texts:
        raise DataError(f"{path}: all {dropped} texts are empty" if dropped else f"{path}: no text")
    note = f"; {dropped} empty row(s) dropped" if dropped else ""
    log.note(f"data: {path}: {len(texts):,} texts{origin}{note}")
    for text in texts[:_SHOWN_TEXTS]:
        log.note(f"  {quote_value(text, _SHOWN_CHARACTERS)}")
    return Texts(texts, path)


def _rows(path: str, args: ClmArgs, log: RunLog) -> tuple[Iterator[tuple[str, str]], str]:
    """(location, text) of each row, and where in the file the texts are, for a message."""
    if detect_format(path, args.file_format) == TEXT:
        return _text_lines(path, log), ", one per line"
    table = open_table(path, Reading(args.file_format), log.note)
    column = _text_column(table, args.text_column)
    return _column_values(table, column), f" in the column {quote_value(column)}"


def _column_values(table: Table, column: str) -> Iterator[tuple[str, str]]:
    for number, row in table.rows:
        is_null = column in row and row[column] is None
        text = "" if is_null else read_text(row, column, table, number)
        yield table.location(number), text


def _text_lines(path: str, log: RunLog) -> Iterator[tuple[str, str]]:
    file = text_lines.inspect(path, None)
    for note in file.notes:
        log.note(note)
    for number, line in file.lines():
        yield f"{path}:{number}", strip_line_end(line)


def _text_column(table: Table, requested: str | None) -> str:
    """The column as requested, else by its usual name, else the only one."""
    if requested is not None:
        if requested not in table.columns:
            raise table.missing_column_error(requested)
        return requested
    by_name = {column.strip().lower(): column for column in table.columns}
    found = next((by_name[name] for name in TEXT_COLUMNS if name in by_name), None)
    if found is None and len(table.columns) == 1:
        found = table.columns[0]
    if found is None:
        columns = quote_value(", ".join(table.columns), 200)
        raise DataError(
            f"{table.path}: which column is the text? give --text_column; there are {columns}"
        )
    return found
