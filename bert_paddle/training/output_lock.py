"""A lock on the output folder, which only one running process may use at a time.

Not by filelock: it leaves its file in a finished run's folder, empties a user's file of that name
before anything can look at it, does not notice that its file was replaced, and does not name the
owner.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from bert_paddle.common.errors import OutputError
from bert_paddle.distributed import collectives

LOCK_FILE = ".in_use"
_OWNER = "process "  # how the content of a lock file begins


def ensure_writable(folder: Path) -> None:
    """Create the output folder. Raises OutputError when it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        if os.path.lexists(probe) and probe.lstat().st_size:  # not ours, which is empty
            probe = folder / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"--output_dir {folder} cannot be written ({error.strerror}): give another folder"
        ) from None


@contextmanager
def lock_output_dir(folder: Path) -> Iterator[None]:
    """Lock the output folder for this run inside the block. The system releases the lock when the
    process ends, even if it is killed.

    Raises OutputError when the folder is not writable or another run has locked it.
    """
    locks: list[TextIO] = []  # one lock file on the main process, none on the others

    def lock() -> None:
        ensure_writable(folder)
        locks.append(_acquire(folder))

    collectives.run_on_main(lock)
    try:
        yield
    finally:
        for lock_file in locks:
            with suppress(OSError):
                os.unlink(lock_file.name)  # before the lock is released: see `_acquire`
            lock_file.close()


def _acquire(folder: Path) -> TextIO:
    """Create and lock the lock file; returns it, open. Raises OutputError if it is locked, or is a
    file of that name that no run wrote."""
    import fcntl  # not on Windows, where `exit_with_one_line` says what to do

    path = folder / LOCK_FILE
    while True:
        lock = path.open("a+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            owner = lock.read().strip() or "unknown process"
            lock.close()
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise  # the file system does not support locks
            raise OutputError(
                f"--output_dir {folder} is in use by another run ({owner}): wait until it "
                "ends, stop it, or give another folder"
            ) from None
        # The previous owner may have removed the file between our opening and locking it.
        with suppress(FileNotFoundError):
            if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                break
        lock.close()
    lock.seek(0)
    if not _OWNER.startswith(lock.read(len(_OWNER))):  # a crash may have left a part of it
        lock.close()
        raise OutputError(f"{path} is not a run's lock file: move it, or give another folder")
    lock.truncate(0)
    lock.write(f"{_OWNER}{os.getpid()} on {socket.gethostname()}\n")
    lock.flush()
    return lock
