"""Reading files without taking an error of the system for a missing or damaged file.

Only ENOENT and ENOTDIR mean that a file does not exist. All other errors (EIO, EACCES, ESTALE,
EMFILE, ELOOP ...) are raised as an OSError that names the file: nothing may be recomputed, replaced
or deleted because of them. `Path.is_file` and its like take some of them for "no".
"""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bert_paddle.common import limits
from bert_paddle.common.errors import DataError

ABSENT = (FileNotFoundError, NotADirectoryError)


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Add `path` to an OSError from the block that names no file, as those of read() do."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def read_bytes(path: Path) -> bytes | None:
    """The content of a file; None if it does not exist. Raises OSError."""
    try:
        with errors_name(path):
            return path.read_bytes()
    except ABSENT:
        return None


def read_json_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file does not exist or contains anything else. Raises
    OSError if it cannot be read, DataError if it is larger than allowed."""
    check_size(path, "JSON_BYTES")
    try:
        return parse_json_object(read_bytes(path) or b"")
    except ValueError:
        return None


def parse_json_object(content: bytes | str) -> dict[str, Any]:
    """The object in a JSON text. Raises ValueError, whose message completes "<file> …"."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(parsed, dict):
        raise ValueError(f"contains a {type(parsed).__name__}, not a JSON object")
    return parsed


def check_size(path: Path, limit: str, error: type[Exception] = DataError) -> None:
    """Raise `error` if a file is larger than the limit of that name in limits.py, or is no regular
    file, which could be endless (a device). A missing file is no error."""
    try:
        status = path.stat()
    except (*ABSENT, ValueError):
        return
    limits.check(limit, status.st_size, str(path), error)
    check_not_endless(path, error)


def check_not_endless(path: Path, error: type[Exception] = DataError) -> None:
    """Raise `error` if a path is of a device, a pipe or a socket. Raises OSError if there is no
    such file."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise error(f"{path} is not a regular file")


def exists(path: Path) -> bool:
    """Whether a file or folder exists, following links. Raises OSError."""
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Whether there is a regular file, following links. Raises OSError."""
    return stat.S_ISREG(_mode(path) or 0)


def is_dir(path: Path) -> bool:
    """Whether there is a folder, following links. Raises OSError."""
    return stat.S_ISDIR(_mode(path) or 0)


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (*ABSENT, ValueError):  # ValueError: a NUL byte, which no name has
        return None
