"""Which folders are checkpoints of this program, and which of their files it wrote.

Only these may be replaced, renamed or deleted: a folder named model_1 may be a user's own.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.errors import OutputError

MANIFEST_FILE, STATE_FILE = "manifest.json", "state/train_state.json"
OPTIMIZER_FILE = "state/optimizer.safetensors"
PARTIAL, OLD, ASIDE = ".partial", ".old", ".aside"
NAME = re.compile(r"model_(\d+)")
# With the suffixes of a checkpoint that a crash left, or that was set aside.
ANY_NAME = re.compile(r"model_\d+(\.partial|\.old\d*|\.aside\d*)?(\.gone\d*)?")
_UNFINISHED = re.compile(r".*(\.partial|\.gone\d*)")
# What a checkpoint contains at the top; a half-deleted one may have lost its manifest.
_ENTRIES = frozenset(
    "manifest.json state model.safetensors config.json vocab.txt tokenizer.json README.md "
    "tokenizer_config.json special_tokens_map.json added_tokens.json".split()
)
_TEMPORARY = re.compile(r"\..+\.\d+\.part")


def is_checkpoint(folder: Path) -> bool:
    """Whether this program wrote a folder of the name of a checkpoint, complete or damaged. It is
    recognized by its training state or its manifest. An empty folder counts too: there is nothing
    to lose. Raises OSError."""
    if any(read_files.exists(folder / name) for name in (STATE_FILE, OPTIMIZER_FILE)):
        return True
    if STATE_FILE in _listed_files(folder):
        return True
    names = {path.name for path in folder.iterdir()}
    # Being written, or half deleted: it may have neither yet, or no longer.
    return not names or bool(_UNFINISHED.fullmatch(folder.name)) and names <= _ENTRIES


def other_files(folder: Path) -> list[str]:
    """The files in a checkpoint that are not the checkpoint's, such as a user's notes; sorted
    relative paths. Raises OSError."""
    own = _listed_files(folder) | {MANIFEST_FILE, STATE_FILE, OPTIMIZER_FILE}
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = ((path.relative_to(folder).as_posix(), path.name) for path in paths)
    return sorted(
        relative
        for relative, name in names
        if relative not in own | _ENTRIES and not _TEMPORARY.fullmatch(name)
    )


def delete(folder: Path) -> None:
    """Delete a checkpoint; of a symbolic link, only the link. Raises OutputError, and deletes
    nothing, if it contains files that are not the checkpoint's; OSError."""
    if not folder.is_symlink():
        others = other_files(folder)
        if others:
            raise OutputError(
                f"{folder} is kept, since it contains files that are not the checkpoint's "
                f"({', '.join(others[:3])}): move them"
            )
    atomic_files.delete(folder)


def delete_unfinished(folder: Path) -> None:
    """Delete a half-written or half-deleted checkpoint as far as possible."""
    if folder.is_symlink():
        folder.unlink()
    elif is_checkpoint(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _listed_files(folder: Path) -> set[str]:
    """The files that a checkpoint's manifest lists; empty if there is no readable manifest."""
    content: dict[str, Any] = read_files.read_json_object(folder / MANIFEST_FILE) or {}
    files = content.get("files")
    return set(files) if isinstance(files, dict) else set()
