"""Writing files so that a crash leaves the old one or the new one, never half of either."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.tensor_file import TensorSnapshot

PART, GONE = ".part", ".gone"  # ends of the names of what is being written, or deleted


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: built beside, flushed, renamed."""
    _replace(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, as `write_text` does."""
    _replace(path, lambda beside: beside.write_bytes(content))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}{PART}")
    try:
        write(beside)
        sync(beside)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):  # a full disk is not left fuller
            beside.unlink()
        raise
    sync(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by `content` as indented JSON, in one step."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_tensors(
    path: Path, tensors: Mapping[str, np.ndarray] | TensorSnapshot, form: str = "np"
) -> None:
    """Write a safetensors file. Raises OSError when the disk refuses.

    form: what its metadata says of the layout; transformers wants "pt" where it is PyTorch's."""
    (tensors if isinstance(tensors, TensorSnapshot) else TensorSnapshot(tensors)).write(path, form)


def sha256(path: Path) -> str:
    """The hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: str, version: int) -> None:
    """Flush every file in a folder, and write its manifest: names, sizes and SHA-256."""
    entries = {}
    for path in sorted(folder.rglob("*")):
        sync(path)
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            entries[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    write_json(folder / manifest, {"version": version, "files": entries})


def check_manifest(
    folder: Path, manifest: str, needed: tuple[str, ...], but: tuple[str, ...] = ()
) -> str | None:
    """Why a folder is not as `seal` left it, or None. Reads every file that the manifest names,
    among them those `needed`, but for those whose names begin with one of `but`."""
    try:
        entries = json.loads((folder / manifest).read_text(encoding="utf-8"))["files"]
        wanted = {name: (entry["bytes"], entry["sha256"]) for name, entry in entries.items()}
    except FileNotFoundError:
        return f"it has no {manifest}"
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return f"its {manifest} cannot be read ({error})"
    for name in needed:
        if name not in wanted:
            return f"its {manifest} does not name {name}"
    for name, (size, digest) in wanted.items():
        path = folder / name
        if name.startswith(but):
            continue
        try:
            if ".." in path.parts or folder not in path.parents:
                return f"its {manifest} names {name}, outside of it"
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size} bytes, not {size}"
            if sha256(path) != digest:
                return f"{name} differs from its checksum"
        except (OSError, ValueError) as error:
            return f"{name!r} cannot be read ({error})"
    return None


def delete(path: Path) -> None:
    """Delete a file, a folder, or a link without what it points to; a folder in one step, so that
    a crash does not leave half of it under its name."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        gone = path.with_name(path.name + GONE)
        shutil.rmtree(gone, ignore_errors=True)
        path.rename(gone)
        shutil.rmtree(gone)
