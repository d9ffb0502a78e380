"""Which folders are checkpoints of this program, and which of their files it wrote.

Only these may be replaced, renamed or deleted: a folder named model_1 may be a user's own.
"""

import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.errors import OutputError

MANIFEST_FILE, STATE_FILE = "manifest.json", "state/train_state.json"
OPTIMIZER_FILE = "state/optimizer.safetensors"
PARTIAL, REPLACED, ASIDE = ".partial", ".replaced", ".aside"
# What earlier versions named REPLACED. People name their backups so: they are never deleted.
EARLIER_REPLACED = re.compile(r"(model_\d+)\.old\d*")
NAME = re.compile(r"model_(\d+)")
# With the suffixes of a checkpoint that a crash left, or that was set aside.
ANY_NAME = re.compile(r"model_\d+(\.partial|\.replaced\d*|\.aside\d*)?(\.gone\d*)?")
_STATE_FOLDER, _CARD = "state", "README.md"
# What a checkpoint contains at the top; a half-deleted one may have lost its manifest.
_ENTRIES = frozenset(
    "manifest.json state model.safetensors config.json vocab.txt tokenizer.json README.md "
    "tokenizer_config.json special_tokens_map.json added_tokens.json".split()
)
_TEMPORARY = re.compile(r"\..+\.\d+\.part")


def is_checkpoint(folder: Path) -> bool:
    """Whether this program wrote a folder of the name of a checkpoint, complete or damaged. It is
    recognized by its training state, whose files are made first and deleted last, or by its
    manifest. An empty folder counts too: there is nothing to lose. Raises OSError."""
    if any(read_files.exists(folder / name) for name in (STATE_FILE, OPTIMIZER_FILE)):
        return True
    if STATE_FILE in _listed_files(folder):
        return True
    # Empty but perhaps for the emptied folder of the state, which is deleted last.
    return {path.name for path in folder.rglob("*")} <= {_STATE_FOLDER}


def other_files(folder: Path) -> list[str]:
    """The files in a checkpoint that are not the checkpoint's, such as a user's notes or a model
    card that was edited; sorted relative paths. Raises OSError."""
    listed = _listed_files(folder)
    own = listed.keys() | _ENTRIES | {MANIFEST_FILE, STATE_FILE, OPTIMIZER_FILE}
    card = folder / _CARD
    if _CARD in listed and read_files.is_file(card) and atomic_files.sha256(card) != listed[_CARD]:
        own -= {_CARD}
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = ((path.relative_to(folder).as_posix(), path.name) for path in paths)
    return sorted(
        relative
        for relative, name in names
        if relative not in own and not _TEMPORARY.fullmatch(name)
    )


def delete(folder: Path) -> None:
    """Delete a checkpoint; of a symbolic link, only the link. Raises OutputError, and deletes
    nothing, if it contains files that are not the checkpoint's; OSError."""
    if folder.is_symlink():
        folder.unlink()
        return
    _check_no_other_files(folder)
    renamed = atomic_files.free_name(folder, atomic_files.DELETED_SUFFIX)
    folder.rename(renamed)
    discard(renamed)


def delete_unfinished(folder: Path) -> None:
    """Delete a half-written or half-deleted checkpoint; a folder of others stays. Raises
    OutputError, and deletes nothing, if it contains files that are not the checkpoint's; OSError.
    """
    if not folder.is_symlink() and is_checkpoint(folder):
        _check_no_other_files(folder)
    if folder.is_symlink() or is_checkpoint(folder):
        discard(folder)


def discard(folder: Path) -> None:
    """Delete a checkpoint as far as possible, the mark by which it is recognized last; of a
    symbolic link, only the link."""
    if folder.is_symlink():
        folder.unlink()
        return
    for path in folder.iterdir():
        if path.name == _STATE_FOLDER:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _check_no_other_files(folder: Path) -> None:
    others = other_files(folder)
    if others:
        raise OutputError(
            f"{folder} is kept, since it contains files that are not the checkpoint's "
            f"({', '.join(others[:3])}): move them"
        )


def _listed_files(folder: Path) -> dict[str, str]:
    """The files that a checkpoint's manifest lists, with their SHA-256; {} if there is no readable
    manifest."""
    content: dict[str, Any] = read_files.read_json_object(folder / MANIFEST_FILE) or {}
    files = content.get("files")
    if not isinstance(files, dict):
        return {}
    return {n: str(e.get("sha256")) if isinstance(e, dict) else "" for n, e in files.items()}
