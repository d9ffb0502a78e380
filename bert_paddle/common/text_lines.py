"""Lines of text files, decoded strictly, and parts of them in messages."""

from collections.abc import Sequence

from bert_paddle.common.errors import DataError

BOM = b"\xef\xbb\xbf"


def decode_line(raw: bytes, path: str, line: int) -> str:
    """One line of a file as text. Raises DataError for bytes that are not UTF-8 text."""
    if b"\0" in raw:
        raise DataError(f"{path}:{line}: a NUL byte: the file is not text, or is damaged")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        position = f"byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line"
        raise DataError(f"{path}:{line}: not UTF-8 ({position}); save the file as UTF-8") from None


def strip_line_end(text: str) -> str:
    """A line without its LF or CR LF."""
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def field_count_error(
    path: str, line: int, fields: Sequence[str], count: int, delimiter: str = "tab"
) -> DataError:
    """The error for a row that does not have `count` fields."""
    actual = "an empty line" if fields == [""] else len(fields)
    return DataError(
        f"{path}:{line}: expected {count} {delimiter}-separated fields, found {actual}"
    )


def quote_value(text: str, limit: int = 80) -> str:
    """A value for a message: quoted, on one line, truncated to `limit` characters."""
    return repr(text if len(text) <= limit else text[:limit] + "...")
