"""Folders of the cache whose content is trusted: compiled code, tokenized rows.

Whoever can write there could run code in this process or change its results. So a cache is used
only if no other user can have written it, as ssh demands of its files: every folder on its path
belongs to this user or root, and no other user may write there (as in /tmp, where the sticky bit
keeps users from each other's files, they may).
"""

import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bert_paddle.common import runtime

_OPEN_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK


class UntrustedError(OSError):
    """A folder or file of the cache that another user may have written. The message names it, the
    reason and the way out."""


def open_folder(name: str) -> Path:
    """The folder `name` of the cache, without links in its path; created for this user alone if it
    is missing.

    Raises UntrustedError if another user can write there, and OSError if it cannot be created.
    """
    folder = Path(os.path.realpath(runtime.cache_dir() / name))
    _check_folders(folder)  # before creating: not in a folder of another user
    for missing in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    _check_folders(folder)
    return folder


def problem(name: str) -> str:
    """Why the folder `name` of the cache, which may be missing, is not trusted; "" if it is."""
    try:
        _check_folders(Path(os.path.realpath(runtime.cache_dir() / name)))
    except UntrustedError as error:
        return str(error)
    except OSError:  # it cannot be reached, so nothing is read from it
        return ""
    return ""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for this user alone, deleted after the block, for when there is no cache.

    Raises UntrustedError if other users could replace it, and OSError."""
    parent = Path(os.path.realpath(tempfile.gettempdir()))
    mode = parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise UntrustedError(
            f"{parent} can be written by other users and lacks the sticky bit: set TMPDIR to a "
            "folder of your own"
        )
    with tempfile.TemporaryDirectory(dir=parent, prefix="bert_paddle.") as folder:
        yield Path(folder)


def open_file(path: Path) -> BinaryIO:
    """Open a file in a folder of the cache for reading.

    Raises UntrustedError if another user may have written it, and OSError.
    """
    # A link's target could be in any folder, and opening a pipe would wait.
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _OPEN_FLAGS))
    reason = _reason(os.fstat(file.fileno()))
    if reason:
        file.close()
        raise UntrustedError(f"{path} {reason}")
    return file


def _check_folders(folder: Path) -> None:
    """Check the folders on a path without links that exist. Raises UntrustedError."""
    for path in (folder, *folder.parents):
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        reason = _reason(status)
        if reason:
            raise UntrustedError(f"{path} {reason}, or set XDG_CACHE_HOME to a folder of your own")


def _reason(status: os.stat_result) -> str:
    """Why a file or folder may have been written by another user; "" if it cannot."""
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to {_user_name(status.st_uid)}"
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if writable and not (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
        return "can be written by other users: chmod go-w it"
    return ""


def _user_name(user_id: int) -> str:
    try:
        return f"the user {pwd.getpwuid(user_id).pw_name}"
    except KeyError:
        return f"the user with id {user_id}"
