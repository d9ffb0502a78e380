"""Open plain and compressed files as streams of bytes: gzip, bzip2, xz and zstd. Does not import
paddle.

The format follows from a file's first bytes, whatever its name; a name that ends in .gz, .bz2, .xz
or .zst must have such a content.
"""

import bz2
import gzip
import importlib
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bert_paddle.common import limits
from bert_paddle.common.errors import DataError

_ZSTD_PACKAGES = ("compression.zstd", "backports.zstd")  # the first is in Python 3.14 and later
_SMALL_BYTES = 1 << 28  # so much may come from a file of any size
_MAGIC_BYTES = 10  # at most, of a compressed file's first bytes


class ByteStream(Protocol):
    """A file's content, decompressed."""

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


@dataclass(frozen=True)
class _Compression:
    """A format: its name for messages, a pattern of the first bytes, and how to decompress."""

    name: str
    magic: re.Pattern[bytes]
    open: Callable[[Any], Any]


def _open_zstd(file: Any) -> Any:
    for name in _ZSTD_PACKAGES:
        try:
            return importlib.import_module(name).ZstdFile(file)
        except ImportError:
            continue
    raise DataError(
        f"{file.name}: reading zstd files needs the package backports.zstd, which is not "
        "installed: pip install backports.zstd, or decompress it with zstd -d"
    )


_COMPRESSIONS = {
    ".gz": _Compression("gzip", re.compile(rb"\x1f\x8b"), lambda file: gzip.GzipFile(fileobj=file)),
    # The second part: the first block, or the end of an empty file.
    ".bz2": _Compression("bzip2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    ".xz": _Compression("xz", re.compile(rb"\xfd7zXZ\x00"), lzma.LZMAFile),
    ".zst": _Compression("zstd", re.compile(rb"\x28\xb5\x2f\xfd"), _open_zstd),
}
SUFFIXES = tuple(_COMPRESSIONS)


class _Decompressed:
    """A compressed file's content. Damage is reported as a DataError that names the file."""

    def __init__(self, path: Path, compression: _Compression, stream: Any):
        self._path, self._compression, self._stream = path, compression, stream
        self._decompressed = 0  # bytes so far

    def read(self, size: int) -> bytes:
        """At most `size` bytes; raises DataError for a damaged or incomplete file."""
        try:
            content = self._stream.read(size)
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise self._damaged(error) from None
        except Exception as error:
            # bz2 raises an OSError without a number; zstd's own error exists only with its package.
            if type(error).__name__ == "ZstdError" or getattr(error, "errno", 0) is None:
                raise self._damaged(error) from None
            raise
        self._decompressed += len(content)
        if self._decompressed > _SMALL_BYTES:
            ratio = self._decompressed // max(1, self._path.stat().st_size)
            limits.check("EXPANSION", ratio, str(self._path))
        return content

    def _damaged(self, error: Exception) -> DataError:
        reason = str(error).rstrip(".")
        return DataError(
            f"{self._path}: not a complete {self._compression.name} file ({reason}): copy or "
            "create it again"
        )


@contextmanager
def open_bytes(path: Path) -> Iterator[ByteStream]:
    """Open a file for reading bytes, decompressed if its first bytes or its name indicate that.

    Memory use does not grow with the file. Raises DataError for an empty or damaged compressed
    file, and for zstd without a package that reads it.
    """
    with path.open("rb") as file:
        magic = file.peek(_MAGIC_BYTES)[:_MAGIC_BYTES]
        compression = _COMPRESSIONS.get(path.suffix.lower())
        for candidate in _COMPRESSIONS.values():
            if candidate.magic.match(magic):
                compression = candidate
        if compression is None:
            yield file
            return
        if not magic:  # gzip would accept it as a file without content
            raise DataError(
                f"{path}: an empty file, not a {compression.name} file: copy or create it again"
            )
        with compression.open(file) as stream:
            yield _Decompressed(path, compression, stream)
