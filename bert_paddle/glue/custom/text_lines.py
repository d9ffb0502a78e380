"""The lines of a user's text file, in whatever encoding and with whatever line ends it has.

UTF-8 is the rule. What else is beyond doubt is read, and said: UTF-16 and UTF-32 with a byte order
mark (Excel's "Unicode text"), UTF-16 of mostly ASCII characters and UTF-32 without one, Chinese in
GBK or GB18030 (Excel's CSV in Chinese Windows), and lines that end in CR alone (its CSV for the
Macintosh).
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bert_paddle.common.errors import DataError
from bert_paddle.glue.data import tsv

_CHUNK = 1 << 20  # bytes
UTF8 = "utf-8"
_MARKS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with UTF-16's mark
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MIN_HANZI = 16
# A field in which a spreadsheet's cell may have line breaks.
_QUOTED = re.compile(r'"[^"]*"')
_WAY_OUT = "save the file as UTF-8, or give --encoding (such as cp1252 or gb18030)"


@dataclass(frozen=True)
class TextFile:
    """How a file's bytes become lines. notes: what was recognized, for the log."""

    path: str
    encoding: str
    ends_in_cr: bool
    notes: tuple[str, ...]

    def lines(self) -> Iterator[tuple[int, str]]:
        """(line number, line with its line end) for each line. Raises DataError for bytes that are
        no text in this encoding, and for NUL characters."""
        try:
            with open(self.path, "rb") as file:
                if self.encoding == UTF8 and not self.ends_in_cr:
                    yield from _utf8_lines(file, self.path)
                else:
                    yield from self._other_lines(file)
        except OSError as error:
            raise _read_error(self.path, error) from None

    def _other_lines(self, file: BinaryIO) -> Iterator[tuple[int, str]]:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        end, number, rest, position = "\r" if self.ends_in_cr else "\n", 1, "", 0
        while True:
            chunk = file.read(_CHUNK)
            try:
                rest += decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{self.path}: not {self.encoding} (near byte {position + error.start + 1} of "
                    f"the file): give another --encoding, or save the file as UTF-8"
                ) from None
            if position == 0:
                rest = rest.removeprefix("\ufeff")
            position += len(chunk)
            *lines, rest = rest.split(end)
            for line in lines if chunk else [*lines, *([rest] if rest else [])]:
                if "\0" in line:
                    raise _nul_error(self.path, number)
                yield number, f"{line}\n"
                number += 1
            if not chunk:
                return

    def first_character(self) -> str:
        """The first character that is not white space; "" for an empty file."""
        return next((text.lstrip()[0] for _, text in self.lines() if text.strip()), "")


def inspect(path: str, encoding: str | None) -> TextFile:
    """Find out how to read a file. encoding: --encoding, None to recognize it. Raises DataError for
    a file that cannot be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(_CHUNK)
            if encoding is None:
                encoding, note = _recognize(start, file)
            else:
                note = ""
    except OSError as error:
        raise _read_error(path, error) from None
    notes = [f"{path}: read as {note}"] if note else []
    encoding = codecs.lookup(encoding).name
    # The last character may be cut in the middle.
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(start)
    ends_in_cr = _ends_in_cr(text) or _ends_in_cr(_QUOTED.sub("", text))
    if ends_in_cr:
        notes.append(f"{path}: lines end in CR alone")
    return TextFile(path, encoding, ends_in_cr, tuple(notes))


def _ends_in_cr(text: str) -> bool:
    return "\n" not in text and "\r" in text.rstrip("\r")


def _utf8_lines(file: BinaryIO, path: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(file, 1):
        if number == 1:
            raw = raw.removeprefix(tsv.BOM)
        if b"\0" in raw:
            raise _nul_error(path, number)
        try:
            yield number, raw.decode("utf-8")
        except UnicodeDecodeError as error:
            position = f"byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line"
            raise DataError(f"{path}:{number}: not UTF-8 ({position}): {_WAY_OUT}") from None


def _nul_error(path: str, number: int) -> DataError:
    with open(path, "rb") as file:
        start = file.read(_CHUNK)
    # Of the characters that every text has, such as line ends, the high byte is 0.
    name = "utf-16-le" if start[1::2].count(0) >= start[::2].count(0) else "utf-16-be"
    return DataError(
        f"{path}:{number}: a NUL byte: the file is not text, is damaged, or is UTF-16 (give "
        f"--encoding {name})"
    )


def _read_error(path: str, error: OSError) -> DataError:
    return DataError(f"{Path(path)}: cannot be read: {error.strerror}")


def _recognize(start: bytes, file: BinaryIO) -> tuple[str, str]:
    """The encoding of a file, and what to say of it. start: its first bytes; `file` is behind
    them."""
    for mark, name in _MARKS:
        if start.startswith(mark):
            said = "" if name == UTF8 else f"{name.upper()[:-3]} (byte order mark)"
            return name, said
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if _is_ascii_in_utf16(start, offset):
            return name, f"{name.upper()} (every other byte is 0)"
    for name in ("utf-32-le", "utf-32-be"):
        if _is_utf32(start, name):
            return name, f"{name.upper()} (three of four bytes of most characters are 0)"
    content = start + file.read() if _has_invalid_utf8(start, file) else b""
    if content and _is_chinese_gb18030(content):
        return "gb18030", "GB18030 (not UTF-8; Chinese characters); --encoding overrides"
    return UTF8, ""


def _is_ascii_in_utf16(start: bytes, offset: int) -> bool:
    zeros, others = start[offset::2], start[1 - offset :: 2]
    return len(start) >= 4 and zeros.count(0) > 0.9 * len(zeros) and 0 not in others


def _is_utf32(start: bytes, encoding: str) -> bool:
    """Whether bytes are UTF-32: no other text has a 0 in every fourth byte."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start)
    except UnicodeDecodeError:
        return False
    return len(text) >= 2 and "\0" not in text


def _has_invalid_utf8(start: bytes, file: BinaryIO) -> bool:
    """Leaves `file` where it is."""
    decoder, position = codecs.getincrementaldecoder("utf-8")(), file.tell()
    try:
        decoder.decode(start)
        while chunk := file.read(_CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return True
    finally:
        file.seek(position)
    return False


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_chinese_gb18030(content: bytes) -> bool:
    """Whether bytes are Chinese in GB18030, beyond doubt: nearly all characters that are not ASCII
    are punctuation or among GB 2312's 3,755 frequent ones (lead bytes B0 to D7), and many are in
    its second half. Korean in EUC-KR has its syllables in the first half only, Japanese its kana
    elsewhere, and one-byte encodings no such pairs."""
    try:
        text = content.decode("gb18030")
    except UnicodeDecodeError:
        return False
    pairs = [encoded for c in text if c > "\x7f" and len(encoded := c.encode("gb18030")) == 2]
    hanzi = [pair for pair in pairs if pair[0] >= 0xB0 or pair[0] in (0xA4, 0xA5)]
    frequent = [pair for pair in hanzi if 0xB0 <= pair[0] <= 0xD7 and pair[1] >= 0xA1]
    late = [pair for pair in frequent if pair[0] >= 0xC9]
    # The frequent kanji of EUC-JP end at CF; of Chinese text a quarter is behind it.
    behind_kanji = [pair for pair in late if pair[0] >= 0xD0]
    if len(behind_kanji) < 0.1 * len(hanzi) and _decodes(content, "euc_jp"):
        return False
    return (
        len(hanzi) >= _MIN_HANZI
        and len(frequent) >= 0.95 * len(hanzi)
        and len(late) >= 0.2 * len(hanzi)
        and len(pairs) >= 0.95 * sum(c > "\x7f" for c in text)
    )
