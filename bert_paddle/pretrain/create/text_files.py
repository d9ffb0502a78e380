"""Text files: which ones an input names, and their lines, read as a stream. No paddle.

Plain or gzipped, UTF-8 with or without a byte order mark. Only "\n" ends a line (a "\r" before it
is left to the caller): characters such as U+2028 are text. Never more than about two LINE_BYTES of
a file are in memory.
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

SUFFIXES = (".txt", ".gz")  # what is taken from a folder; .txt.gz among them
LINE_BYTES = 1_000_000

_NL = b"\n"
_CHUNK = 256 * 1024  # less than LINE_BYTES: only a line that began in an earlier chunk is longer
_BOM, _GZIP = b"\xef\xbb\xbf", b"\x1f\x8b"
_Bytes = IO[bytes] | gzip.GzipFile


def find_files(inputs: Sequence[str]) -> list[Path]:
    """The text files that `inputs` name, sorted within each input, each file once.

    An input is a file of any name, a folder (all .txt, .txt.gz and .gz files below it, hidden ones
    left out) or a glob pattern, in which ** spans folders. Raises DataError, naming the input, for
    one that has no file.
    """
    if not inputs:
        raise DataError("no input files are given: name text files, folders or patterns")
    found: dict[str, Path] = {}
    for name in inputs:
        files = _files_of(name)
        if not files:
            raise DataError(f"{name}: no text files there (.txt, .txt.gz, .gz): give another input")
        for path in files:
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _files_of(name: str) -> list[Path]:
    if not name.strip():
        raise DataError("an input file has an empty name: name text files, folders or patterns")
    path = Path(name).expanduser()
    if path.is_dir():
        return _below(path)
    if path.exists():
        return [_regular(path)]
    if not glob.has_magic(name):
        raise DataError(f"{name}: no such file or folder")
    files: list[Path] = []
    for match in map(Path, glob.glob(str(path), recursive=True)):
        files += _below(match) if match.is_dir() else [_regular(match)]
    return sorted(files)


def _below(folder: Path) -> list[Path]:
    """The text files below a folder, through links too, each folder once."""

    def refuse(error: OSError) -> None:  # os.walk would leave an unreadable folder out
        raise error

    files: list[Path] = []
    seen: set[str] = set()
    for where, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in names:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                files.append(_regular(Path(where, name)))
    return sorted(files)


def _regular(path: Path) -> Path:
    """`path`, which must be a file that can be read more than once: no pipe, no broken link."""
    if not path.is_file():
        kind = "not a regular file" if path.exists() else "a link to a file that is not there"
        raise DataError(f"{path}: {kind}; give a text file")
    return path


def line_blocks(path: Path, cuts: list[int]) -> Iterator[list[str]]:
    """The lines of a file, many at a time, without their "\\n", which alone ends a line.

    A line beyond LINE_BYTES comes as several, each in a list of its own but the last; each time the
    number of the line (from 1) is added to `cuts`. Raises DataError, naming file and line, for
    what is not UTF-8 or holds NUL bytes, and for a damaged gzip file.
    """
    line, offset, going_on = 1, 0, False
    with _opened(path) as file:
        data = _read(file, path)
        if data.startswith(_BOM):
            data, offset = data[len(_BOM) :], len(_BOM)
        at_end = not data
        while True:
            while len(data) > LINE_BYTES and data.find(_NL, 0, LINE_BYTES + 1) < 0:
                end = _place_to_cut(data)
                piece = _decoded(data[:end], path, line, offset)
                cuts.append(line)
                if piece.strip():  # an empty line would end a document
                    yield [piece]
                data, offset, going_on = data[end:], offset + end, True
            end = len(data) if at_end else data.rfind(_NL) + 1
            if end:
                block = data[:end]
                lines = _decoded(block, path, line, offset).split("\n")
                if not lines[-1]:
                    lines.pop()
                yield lines[1:] if going_on and not lines[0].strip() else lines
                data, offset, going_on = data[end:], offset + end, False
                line += block.count(_NL)
            if at_end:
                return
            chunk = _read(file, path)
            data += chunk
            at_end = not chunk


def _place_to_cut(data: bytes) -> int:
    """Where to end the first piece of a long line: at a space, or else between characters."""
    end = max(data.rfind(space, LINE_BYTES // 2, LINE_BYTES) for space in (b" ", b"\t"))
    if end > 0:
        return end
    end = LINE_BYTES
    while end > LINE_BYTES - 3 and data[end] & 0xC0 == 0x80:
        end -= 1
    return end


def _decoded(block: bytes, path: Path, line: int, offset: int) -> str:
    """The text of a block that begins in `line` (from 1) at byte `offset` of the file's text."""
    nul = block.find(0)
    if nul >= 0:
        raise DataError(
            f"{path}:{line + block[:nul].count(_NL)}: a NUL byte (byte {offset + nul} of the "
            "text): not a text file, or one in UTF-16; save it as UTF-8"
        )
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{line + block[: error.start].count(_NL)}: not UTF-8 (byte "
            f"{offset + error.start} of the text is 0x{block[error.start]:02x}): convert the file "
            "to UTF-8, e.g. with iconv"
        ) from None


@contextmanager
def _opened(path: Path) -> Iterator[_Bytes]:
    """The file's text as bytes, unpacked where its first bytes or its name say gzip."""
    with path.open("rb") as file:
        magic = file.peek(len(_GZIP))[: len(_GZIP)]
        if magic != _GZIP and path.suffix.lower() != ".gz":
            yield file
            return
        if not magic:  # which the library takes for a gzip file without content
            raise DataError(f"{path}: an empty file, not a gzip file: copy or make it again")
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked


def _read(file: _Bytes, path: Path) -> bytes:
    try:
        return file.read(_CHUNK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = str(error).rstrip(".")
        raise DataError(
            f"{path}: not a whole gzip file ({reason}): copy or make it again"
        ) from None
