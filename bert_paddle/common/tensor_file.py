"""Tensors on their way to a file while training goes on: read from the model's own memory until
that is about to change, and copied only then, as far as they are not written yet.

A save thus takes no second copy of the model and its optimizer where the disk keeps up with the
forward and backward pass, and does not wait for the disk where it does not.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_PIECE = 4 << 20  # bytes written at a time, for which `release` waits at most
_KINDS = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "int32": "I32"}


class TensorSnapshot:
    """Arrays by name, to be written once. shown: whether they are memory that will change; whoever
    changes it calls `release` before. owners: what that memory belongs to, kept as long."""

    def __init__(
        self, arrays: Mapping[str, np.ndarray], shown: bool = False, owners: Sequence[Any] = ()
    ):
        self._owners = list(owners)
        # Wide types first: in the file, every array begins at a multiple of its own size.
        self._arrays = dict(sorted(arrays.items(), key=lambda one: (-one[1].itemsize, one[0])))
        self._shown = shown
        self._lock = threading.Lock()

    def release(self) -> None:
        """Copy what is not written yet: from here on, the memory may change."""
        with self._lock:
            if self._shown:
                for name, array in self._arrays.items():
                    self._arrays[name] = array.copy()
            self._shown = False

    def write(self, path: Path, form: str) -> None:
        """Write a safetensors file, and let go of each array as soon as it is written.

        form: what its metadata says of the layout. The file (github.com/huggingface/safetensors):
        the header's length in 8 bytes, the header as JSON, the arrays one after the other.
        """
        header: dict[str, Any] = {"__metadata__": {"format": form}}
        end = 0
        for name, array in self._arrays.items():
            begin, end = end, end + array.nbytes
            about = {"dtype": _KINDS[array.dtype.name], "shape": list(array.shape)}
            header[name] = about | {"data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # so that the arrays begin at a multiple of 8
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in list(self._arrays):
                for begin in range(0, self._arrays[name].nbytes, _PIECE):
                    with self._lock:  # the array may be a copy since the last piece
                        content = np.ascontiguousarray(self._arrays[name]).reshape(-1)
                        file.write(content.view(np.uint8)[begin : begin + _PIECE].data)
                with self._lock:
                    del self._arrays[name]
