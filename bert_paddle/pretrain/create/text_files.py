"""Read the lines of text files as a stream. Does not import paddle.

Files are plain or compressed, UTF-8 with or without a byte order mark. Only "\n" ends a line: a
"\r" before it and characters such as U+2028 are part of the text. Memory use is about 2 *
LINE_BYTES.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create.compressed_files import open_bytes

ENCODING_ERRORS = ("strict", "replace")
LINE_BYTES = 1_000_000  # a longer line is split
RECORD_BYTES = 64_000_000  # a longer line is an error where it is a whole document

_NEWLINE = b"\n"
# Less than LINE_BYTES: only a line that began in an earlier chunk can exceed LINE_BYTES.
_CHUNK_BYTES = 256 * 1024
_BOM = b"\xef\xbb\xbf"
_REPLACEMENT = "\ufffd"
# More NUL bytes than this share of a block are UTF-16 or no text, whatever --encoding_errors says.
_MAX_NUL_SHARE, _FEW_NULS = 0.1, 8


@dataclass
class ReadNotes:
    """What was changed in a file while it was read.

    lines_with_splits: the line number (from 1) of every forced split. replaced: the number of
    places that were not UTF-8 or NUL, and first_replaced, the line of the first one.
    """

    lines_with_splits: list[int] = field(default_factory=list)
    replaced: int = 0
    first_replaced: int = 0

    def count_replaced(self, count: int, line: int) -> None:
        """Count places that were replaced in or after `line`."""
        self.first_replaced = self.first_replaced or line
        self.replaced += count


def read_line_blocks(
    path: Path,
    notes: ReadNotes,
    encoding_errors: str = "strict",
    record_bytes: int | None = None,
) -> Iterator[list[str]]:
    """Yield the lines of a file, without their "\\n", in lists.

    A line longer than LINE_BYTES is split into several, each in a list of its own except the last.
    With record_bytes, no line is split: a longer one is an error. encoding_errors: "replace" puts
    U+FFFD in the place of what is not UTF-8, and of NUL bytes. Raises DataError, naming file and
    line, for such text with "strict", and for a damaged compressed file.
    """
    limit = record_bytes or LINE_BYTES
    line, offset, is_continued = 1, 0, False
    decoder = _Decoder(path, notes, encoding_errors)
    with open_bytes(path) as file:
        data = file.read(_CHUNK_BYTES)
        if data.startswith(_BOM):
            data, offset = data[len(_BOM) :], len(_BOM)
        at_end = not data
        while True:
            while len(data) > limit and data.find(_NEWLINE, 0, limit + 1) < 0:
                if record_bytes:
                    raise DataError(f"{path}:{line}: a line of more than {limit:,} bytes: split it")
                end = _split_position(data)
                head = decoder.decode(data[:end], line, offset)
                notes.lines_with_splits.append(line)
                if head.strip():  # an empty line would end a document
                    yield [head]
                data, offset, is_continued = data[end:], offset + end, True
            end = len(data) if at_end else data.rfind(_NEWLINE) + 1
            if end:
                block = data[:end]
                lines = decoder.decode(block, line, offset).split("\n")
                if not lines[-1]:
                    lines.pop()
                # A blank remainder of a split line is no empty line, which would end a document.
                yield lines[1:] if is_continued and not lines[0].strip() else lines
                data, offset, is_continued = data[end:], offset + end, False
                line += block.count(_NEWLINE)
            if at_end:
                return
            chunk = file.read(_CHUNK_BYTES)
            data += chunk
            at_end = not chunk


def split_long_line(line: str) -> list[str]:
    """A line in pieces of at most LINE_BYTES each, split at spaces where there are any."""
    pieces = []
    data = line.encode()
    while len(data) > LINE_BYTES:
        end = _split_position(data)
        pieces.append(data[:end].decode())
        data = data[end:]
    return [*pieces, data.decode()]


def _split_position(data: bytes) -> int:
    """The byte offset at which to split a long line: at a space, or else between characters."""
    end = max(data.rfind(space, LINE_BYTES // 2, LINE_BYTES) for space in (b" ", b"\t"))
    if end > 0:
        return end
    end = LINE_BYTES
    # UTF-8: bytes 10xxxxxx continue a character, at most three of them.
    while end > LINE_BYTES - 3 and data[end] & 0xC0 == 0x80:
        end -= 1
    return end


class _Decoder:
    """Decodes the blocks of a file."""

    def __init__(self, path: Path, notes: ReadNotes, encoding_errors: str):
        self._path, self._notes, self._replace = path, notes, encoding_errors == "replace"

    def decode(self, block: bytes, line: int, offset: int) -> str:
        """Decode a block that begins in `line` (from 1) at byte `offset` of the file's text."""
        nul = block.find(0)
        if nul >= 0:
            nul_bytes = block.count(0)
            is_text = nul_bytes <= max(_FEW_NULS, _MAX_NUL_SHARE * len(block))
            if not (self._replace and is_text):
                raise DataError(
                    f"{self._path}:{line + block[:nul].count(_NEWLINE)}: a NUL byte (byte "
                    f"{offset + nul} of the text): not a text file, or one in UTF-16; save it as "
                    f"UTF-8{', or give --encoding_errors replace' if is_text else ''}"
                )
        try:
            text = block.decode("utf-8")
        except UnicodeDecodeError as error:
            if not self._replace:
                raise DataError(
                    f"{self._path}:{line + block[: error.start].count(_NEWLINE)}: not UTF-8 (byte "
                    f"{offset + error.start} of the text is 0x{block[error.start]:02x}): convert "
                    "the file to UTF-8, e.g. with iconv, or give --encoding_errors replace"
                ) from None
            text = block.decode("utf-8", "replace")
            replaced = text.count(_REPLACEMENT) - block.count(_REPLACEMENT.encode())
            first = line + block[: error.start].count(_NEWLINE)
            self._notes.count_replaced(replaced, first)
        if nul >= 0:
            self._notes.count_replaced(nul_bytes, line + block[:nul].count(_NEWLINE))
            text = text.replace("\0", _REPLACEMENT)
        return text
