"""Writing files so that a crash leaves the old one or the new one, never half of either."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step: built beside, flushed, renamed."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_text(text, encoding="utf-8")
    sync(beside)
    os.replace(beside, path)
    sync(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Replace `path` by `content` as indented JSON, in one step."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write a safetensors file. Raises OSError when the disk refuses, as any other file does."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(tensors, path, metadata={"format": "np"})
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from None


def sha256(path: Path) -> str:
    """The hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
