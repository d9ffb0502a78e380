"""Find text files, and read their lines as a stream. Does not import paddle.

Files are plain or gzipped, UTF-8 with or without a byte order mark. Only "\n" ends a line: a "\r"
before it and characters such as U+2028 are part of the text. Memory use is about 2 * LINE_BYTES.
"""

import glob
import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bert_paddle.common.errors import DataError

SUFFIXES = (".txt", ".gz")  # of the files read from a folder; includes .txt.gz
LINE_BYTES = 1_000_000  # a longer line is split

_NEWLINE = b"\n"
# Less than LINE_BYTES: only a line that began in an earlier chunk can exceed LINE_BYTES.
_CHUNK_BYTES = 256 * 1024
_BOM, _GZIP_MAGIC = b"\xef\xbb\xbf", b"\x1f\x8b"
_ByteStream = IO[bytes] | gzip.GzipFile


def find_files(inputs: Sequence[str]) -> list[Path]:
    """The text files of all `inputs`, in their order and sorted within each; every file once.

    An input is a file of any name, a folder (all .txt, .txt.gz and .gz files below it except hidden
    ones) or a glob pattern, in which ** matches any number of folders. Raises DataError, naming the
    input, for an input without files.
    """
    if not inputs:
        raise DataError("no input files are given: name text files, folders or patterns")
    by_real_path: dict[str, Path] = {}
    for name in inputs:
        files = _resolve_input(name)
        if not files:
            raise DataError(f"{name}: no text files there (.txt, .txt.gz, .gz): give another input")
        for path in files:
            by_real_path.setdefault(os.path.realpath(path), path)
    return list(by_real_path.values())


def _resolve_input(name: str) -> list[Path]:
    """The text files of one input."""
    if not name.strip():
        raise DataError("an input file has an empty name: name text files, folders or patterns")
    path = Path(name).expanduser()
    if path.is_dir():
        return _text_files_below(path)
    if path.exists():
        return [_require_regular_file(path)]
    if not glob.has_magic(name):
        raise DataError(f"{name}: no such file or folder")
    files: list[Path] = []
    for match in map(Path, glob.glob(str(path), recursive=True)):
        files += _text_files_below(match) if match.is_dir() else [_require_regular_file(match)]
    return sorted(files)


def _text_files_below(folder: Path) -> list[Path]:
    """The text files below a folder. Links to folders are followed; each folder is read once."""

    def raise_error(error: OSError) -> None:  # os.walk would skip an unreadable folder
        raise error

    files: list[Path] = []
    seen: set[str] = set()
    for folder_path, folders, names in os.walk(folder, onerror=raise_error, followlinks=True):
        real_path = os.path.realpath(folder_path)
        if real_path in seen:  # reached again through a link, perhaps in a loop
            folders.clear()
            continue
        seen.add(real_path)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in names:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                files.append(_require_regular_file(Path(folder_path, name)))
    return sorted(files)


def _require_regular_file(path: Path) -> Path:
    """Return `path` if it can be read more than once: no pipe, no broken link."""
    if not path.is_file():
        problem = "not a regular file" if path.exists() else "a link to a file that does not exist"
        raise DataError(f"{path}: {problem}; give a text file")
    return path


def read_line_blocks(path: Path, lines_with_splits: list[int]) -> Iterator[list[str]]:
    """Yield the lines of a file, without their "\\n", in lists.

    A line longer than LINE_BYTES is split into several, each in a list of its own except the last.
    lines_with_splits: appended to: the line number (from 1) of every forced split. Raises
    DataError, naming file and line, for text that is not UTF-8 or contains NUL bytes, and for a
    damaged gzip file.
    """
    line, offset, is_continued = 1, 0, False
    with _open(path) as file:
        data = _read_chunk(file, path)
        if data.startswith(_BOM):
            data, offset = data[len(_BOM) :], len(_BOM)
        at_end = not data
        while True:
            while len(data) > LINE_BYTES and data.find(_NEWLINE, 0, LINE_BYTES + 1) < 0:
                end = _split_position(data)
                head = _decode(data[:end], path, line, offset)
                lines_with_splits.append(line)
                if head.strip():  # an empty line would end a document
                    yield [head]
                data, offset, is_continued = data[end:], offset + end, True
            end = len(data) if at_end else data.rfind(_NEWLINE) + 1
            if end:
                block = data[:end]
                lines = _decode(block, path, line, offset).split("\n")
                if not lines[-1]:
                    lines.pop()
                # A blank remainder of a split line is no empty line, which would end a document.
                yield lines[1:] if is_continued and not lines[0].strip() else lines
                data, offset, is_continued = data[end:], offset + end, False
                line += block.count(_NEWLINE)
            if at_end:
                return
            chunk = _read_chunk(file, path)
            data += chunk
            at_end = not chunk


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


def _decode(block: bytes, path: Path, line: int, offset: int) -> str:
    """Decode a block that begins in `line` (from 1) at byte `offset` of the file's text."""
    nul = block.find(0)
    if nul >= 0:
        raise DataError(
            f"{path}:{line + block[:nul].count(_NEWLINE)}: a NUL byte (byte {offset + nul} of the "
            "text): not a text file, or one in UTF-16; save it as UTF-8"
        )
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{line + block[: error.start].count(_NEWLINE)}: not UTF-8 (byte "
            f"{offset + error.start} of the text is 0x{block[error.start]:02x}): convert the file "
            "to UTF-8, e.g. with iconv"
        ) from None


@contextmanager
def _open(path: Path) -> Iterator[_ByteStream]:
    """Open a file for reading bytes, decompressed if its first bytes or its name indicate gzip."""
    with path.open("rb") as file:
        magic = file.peek(len(_GZIP_MAGIC))[: len(_GZIP_MAGIC)]
        if magic != _GZIP_MAGIC and path.suffix.lower() != ".gz":
            yield file
            return
        if not magic:  # the library would accept it as a gzip file without content
            raise DataError(f"{path}: an empty file, not a gzip file: copy or create it again")
        with gzip.GzipFile(fileobj=file) as decompressed:
            yield decompressed


def _read_chunk(file: _ByteStream, path: Path) -> bytes:
    try:
        return file.read(_CHUNK_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = str(error).rstrip(".")
        raise DataError(
            f"{path}: not a complete gzip file ({reason}): copy or create it again"
        ) from None
