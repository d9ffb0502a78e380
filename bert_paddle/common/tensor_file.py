"""Copy-on-write snapshots of tensors, written to a file while training continues.

Tensors are written directly from the model's memory. When this memory is about to change,
`materialize` copies those not written yet. So a save needs no second copy of the model and
optimizer state if the disk keeps up with the forward and backward pass; if the disk is slower,
training does not wait for it.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK_BYTES = 4 << 20  # written under the lock at once: bounds the time `materialize` waits
_DTYPE_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
}


class TensorSnapshot:
    """Arrays by name, to be written once. shared: the arrays are views of memory that will change;
    call `materialize` before it does. owners: the objects that own this memory, to keep alive."""

    def __init__(
        self, arrays: Mapping[str, np.ndarray], shared: bool = False, owners: Sequence[Any] = ()
    ):
        self._owners = list(owners)
        # Wide types first, so that every array in the file is aligned to its item size.
        self._arrays = dict(sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])))
        self._shared = shared
        self._lock = threading.Lock()

    def materialize(self) -> None:
        """Copy the arrays that are not written yet; afterwards their memory may change."""
        with self._lock:
            if self._shared:
                for name, array in self._arrays.items():
                    self._arrays[name] = array.copy()
            self._shared = False

    def write(self, path: Path, framework: str) -> None:
        """Write a safetensors file, and free each array once it is written.

        framework: the metadata's "format". Layout (github.com/huggingface/safetensors): the
        header's length in 8 bytes, the header as JSON, the arrays one after the other.
        """
        header: dict[str, Any] = {"__metadata__": {"format": framework}}
        end = 0
        for name, array in self._arrays.items():
            begin, end = end, end + array.nbytes
            entry = {"dtype": _DTYPE_NAMES[array.dtype.name], "shape": list(array.shape)}
            header[name] = entry | {"data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # aligns the arrays to 8 bytes
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for name in list(self._arrays):
                for begin in range(0, self._arrays[name].nbytes, _CHUNK_BYTES):
                    with self._lock:  # `materialize` may have replaced the array by a copy
                        content = np.ascontiguousarray(self._arrays[name]).reshape(-1)
                        file.write(content.view(np.uint8)[begin : begin + _CHUNK_BYTES].data)
                with self._lock:
                    del self._arrays[name]
