"""The delimiter and the encoding of a user's text files, as flags give them."""

from collections.abc import Iterator

DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}


def delimiter_character(delimiter: str | None) -> str | None:
    """The character that --delimiter gives, itself or by its name; None without the flag."""
    return None if delimiter is None else DELIMITERS.get(delimiter.lower(), delimiter)


def _is_encoding(name: str) -> bool:
    """Whether Python has a text encoding of this name."""
    try:
        "a".encode(name)  # LookupError for what is not a text encoding, such as rot13 or zlib
    except (LookupError, ValueError):
        return False
    return True


def problems(delimiter: str | None, encoding: str | None) -> Iterator[str]:
    """Problems with --delimiter and --encoding, one message each."""
    if delimiter and len(delimiter_character(delimiter) or "") != 1:
        names = ", ".join(name for name in DELIMITERS if name.isalpha())
        yield f"--delimiter {delimiter}: give one character, or {names}"
    elif delimiter in ('"', "\n", "\r"):
        yield "--delimiter: a quotation mark or line end cannot separate fields"
    if encoding and not _is_encoding(encoding):
        yield (
            f"--encoding {encoding}: no such text encoding (utf-8, utf-16-le, cp1252, gb18030, "
            "big5, shift_jis, euc-kr, ...)"
        )
