"""Atomic writes of texts, bytes and JSON (after a crash, a file has either its old or its new
content), checksum manifests, and safetensors files."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import limits, read_files
from bert_paddle.common.tensor_file import TensorSnapshot

# Name suffixes of temporary files being written, and of folders being deleted.
PARTIAL_SUFFIX, DELETED_SUFFIX = ".part", ".gone"


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replace the file `path` atomically: write `text` to a temporary file, flush it, rename it."""
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file `path` atomically, as `write_text` does."""
    _replace(path, lambda temporary: temporary.write_bytes(content))


def temporary_path(path: Path) -> Path:
    """The name under which this process writes what becomes `path`. Removes what processes that
    were killed have left under such names."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+){re.escape(PARTIAL_SUFFIX)}")
    with contextlib.suppress(OSError):  # the write itself will say what is wrong with the folder
        for other in path.parent.iterdir():
            match = pattern.fullmatch(other.name)
            if match and not is_running(int(match[1])):
                shutil.rmtree(other) if other.is_dir() else other.unlink()
    return path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")


def is_running(process: int) -> bool:
    """Whether this machine has a process of this id."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = temporary_path(path)
    try:
        with read_files.errors_name(temporary):
            write(temporary)
            move_into_place(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):  # if the disk is full, this frees space
            temporary.unlink()
        raise


def move_into_place(temporary: Path, path: Path) -> None:
    """Flush a finished file and rename it to `path`, on the same disk; what is there is
    replaced."""
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Replace the file `path` atomically by `content` as indented JSON."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_tensors(
    path: Path, tensors: Mapping[str, np.ndarray] | TensorSnapshot, framework: str = "np"
) -> None:
    """Write a safetensors file. Raises OSError. Neither atomic nor flushed: for files of a new
    folder that is complete only when its manifest is written.

    framework: value of "format" in the file's metadata; transformers needs "pt" for weights in
    PyTorch's layout."""
    (tensors if isinstance(tensors, TensorSnapshot) else TensorSnapshot(tensors)).write(
        path, framework
    )


def sha256(path: Path) -> str:
    """The SHA-256 hex digest of a file's content. Raises OSError."""
    digest = hashlib.sha256()
    with read_files.errors_name(path), path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, manifest: str, version: int) -> None:
    """Flush all files in a folder; write their names, sizes and SHA-256 digests to the manifest."""
    entries = {}
    for path in sorted(folder.rglob("*")):
        sync(path)
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            entries[name] = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    write_json(folder / manifest, {"version": version, "files": entries})


def check_manifest(
    folder: Path, manifest: str, required: tuple[str, ...], ignored_prefixes: tuple[str, ...] = ()
) -> str | None:
    """Compare a folder with its manifest, which must list the `required` files. Every listed file
    is read, except those whose names start with an ignored prefix. Returns the first difference, as
    the second half of a message, or None. Raises OSError for a file that exists but cannot be read:
    that is not a difference."""
    read_files.check_size(folder / manifest, "JSON_BYTES")
    content = read_files.read_bytes(folder / manifest)
    if content is None:
        return f"it has no {manifest}"
    try:
        entries = json.loads(content)["files"]
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in entries.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return f"its {manifest} cannot be read ({error})"
    # Many names of one file, such as a and ./a, would have it read as often.
    limits.check("MANIFEST_FILES", len(expected), str(folder / manifest))
    for name in required:
        if name not in expected:
            return f"its {manifest} does not list {name}"
    for name, (size, digest) in expected.items():
        path = folder / name
        if name.startswith(ignored_prefixes):
            continue
        if ".." in path.parts or folder not in path.parents:
            return f"its {manifest} lists {name}, which is outside the folder"
        try:
            if not read_files.is_file(path):
                return f"{name} is missing"
        except ValueError as error:  # a zero byte in the name
            return f"{name!r} cannot be read ({error})"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, not {size}"
        if sha256(path) != digest:
            return f"{name} differs from its checksum"
    return None


def delete(path: Path) -> None:
    """Delete a file, a folder, or a symbolic link (not its target). A folder is renamed first, so
    that a crash never leaves an incomplete folder under the original name."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        renamed = free_name(path, DELETED_SUFFIX)
        path.rename(renamed)
        shutil.rmtree(renamed)


def free_name(path: Path, suffix: str) -> Path:
    """`path` with a suffix appended, and a number if that name is taken."""
    candidates = (path.with_name(f"{path.name}{suffix}{n}") for n in ("", *range(2, 1_000_000)))
    return next(candidate for candidate in candidates if not os.path.lexists(candidate))
