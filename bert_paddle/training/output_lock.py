"""An output folder as one live run's own."""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from bert_paddle.common.errors import OutputError
from bert_paddle.distributed import collectives

LOCK_FILE = ".in_use"


def ensure_writable(folder: Path) -> None:
    """Make the output folder. Raises OutputError when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"--output_dir {folder} cannot be written ({error.strerror}): give another folder"
        ) from None


@contextmanager
def lock_output_dir(folder: Path) -> Iterator[None]:
    """Make the output folder this run's own inside the block; the system gives it free when the
    process ends, however that happens.

    Raises OutputError when it cannot be written or another live run has it.
    """
    held: list[TextIO] = []

    def claim() -> None:
        ensure_writable(folder)
        held.append(_lock(folder))

    collectives.run_on_main(claim)
    try:
        yield
    finally:
        for lock in held:
            with suppress(OSError):
                os.unlink(lock.name)  # while it is held: see `_lock`
            lock.close()


def _lock(folder: Path) -> TextIO:
    path = folder / LOCK_FILE
    while True:
        lock = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            owner = lock.read().strip() or "of which nothing is known"
            lock.close()
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise  # a file system without locks, which the error names
            raise OutputError(
                f"--output_dir {folder} is in use by another run ({owner}): wait for its end, stop "
                "it, or give another folder"
            ) from None
        # The one before may have removed its file between our opening and our locking it.
        with suppress(FileNotFoundError):
            if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                break
        lock.close()
    lock.truncate(0)
    lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    lock.flush()
    return lock
