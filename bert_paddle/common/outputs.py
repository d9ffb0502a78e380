"""No input is an output: compare what a command reads with what it will write or delete.

Paths are compared by device and inode, so that links, hard links, relative paths and the spelling
on file systems without case do not matter.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from bert_paddle.common import read_files
from bert_paddle.common.errors import OutputError

# A flag as in messages ("--train_file") and its value; None: not given.
Input = tuple[str, str | Path | None]


def check_inputs_kept(inputs: Iterable[Input], outputs: Iterable[Path], way_out: str) -> None:
    """Raise OutputError if an input would be written over or deleted.

    inputs: files and folders that are read; names that are no path are ignored. outputs: the files
    that will be written, replaced or deleted, and folders that will be replaced or deleted with all
    that they contain. way_out: the end of the message, such as "give another --output_dir".
    """
    by_identity = {identity(path): path for path in outputs}
    by_identity.pop(None, None)  # outputs that do not exist yet replace nothing
    for flag, value in inputs:
        for place in _with_parents(value):
            output = by_identity.get(identity(place))
            if output is not None:
                raise OutputError(
                    f"{flag} {value} would be lost: {output} is replaced or deleted; {way_out}"
                )


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is in a folder, at any depth, or is that folder. Raises OSError."""
    wanted = identity(folder)
    return wanted is not None and wanted in map(identity, _with_parents(path))


def is_same(path: Path, other: Path) -> bool:
    """Whether two paths are of the same existing file or folder. Raises OSError."""
    found = identity(path)
    return found is not None and found == identity(other)


def identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file or folder, following links; None if it does not exist. Raises
    OSError."""
    try:
        status = path.stat()
    except read_files.ABSENT:
        return None
    return status.st_dev, status.st_ino


def _with_parents(value: str | Path | None) -> list[Path]:
    """A path without links, and the folders that contain it; [] if it does not exist."""
    if value is None or not read_files.exists(Path(value).expanduser()):
        return []
    path = Path(os.path.realpath(Path(value).expanduser()))
    return [path, *path.parents]
