"""Reads the pickles of Paddle and PyTorch without running any code in them.

A pickle is a program. `pickle_values` interprets it; the dozen names that are allowed here mean
placeholder classes that only store their arguments, and arrays are built from them afterwards, with
checks. So a file cannot call numpy, torch or paddle; any other name is refused before it is
imported. bfloat16, which numpy lacks, is returned as its bits in uint16, as Paddle saves it. Memory
is limited to a few times the file's size, since a short pickle can reference one array many times.
"""

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import pickle_values
from bert_paddle.models.pickle_names import (
    NUMPY,
    TORCH,
    AllowedNames,
    Buffer,
    Latin1,
    Tensor,
    Tuple,
)
from bert_paddle.models.weight_names import find_state_dict

# The key under which Paddle adds a table of internal names to each state dict.
_NAME_TABLE = "StructuredToParameterName@@"
_TORCH_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # LONG1 0x1950a86a20f9469cfc6c
_MAX_DEPTH, _MAX_DIMENSIONS = 8, 32
_CONTAINER_BYTES = 100  # memory of an empty list or dict, about


@contextmanager
def _raise_as_weights_error(path: Path) -> Iterator[None]:
    """Turn any exception into a WeightsError: a damaged file can raise almost anything."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        reason = " ".join(str(error)[:80].split()) or type(error).__name__
        raise WeightsError(
            f"{path} cannot be read as a weights file ({reason}); it is damaged or incomplete: "
            "copy or download it again"
        ) from error


class _MemoryBudget:
    """Limits the memory that the content of a file takes to 1 MiB plus eight times its size."""

    def __init__(self, path: Path):
        self._left = 8 * path.stat().st_size + (1 << 20)

    def take(self, n_bytes: int) -> None:
        self._left -= n_bytes
        if self._left < 0:
            raise ValueError("its content needs far more memory than the file's size")


def _materialize(value: Any, budget: _MemoryBudget, depth: int = 0) -> Any:
    """An unpickled value with arrays in place of placeholders and lists in place of tuples."""
    if depth > _MAX_DEPTH:
        raise ValueError("containers nested too deeply")
    budget.take(8)
    if isinstance(value, Buffer | Latin1):
        array = value.make()
        budget.take(np.asarray(array).nbytes)
        return array
    if isinstance(value, dict):
        items = _items(value, budget)
        return {k: _materialize(v, budget, depth + 1) for k, v in items if k != _NAME_TABLE}
    if isinstance(value, Tuple):
        return _materialize(value.values, budget, depth + 1)
    if isinstance(value, list | tuple):
        budget.take(_CONTAINER_BYTES)
        return [_materialize(v, budget, depth + 1) for v in value]
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise ValueError(f"a {type(value).__name__} where an array was expected")


def _items(mapping: dict[str, Any], budget: _MemoryBudget) -> Iterator[tuple[str, Any]]:
    """The items of a mapping, those that an OrderedDict has as its argument included."""
    budget.take(_CONTAINER_BYTES)
    for pair in getattr(mapping, "pairs", ()):
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError("an OrderedDict of what are not pairs")
        yield pair[0], pair[1]
    yield from mapping.items()


def read_paddle(path: Path) -> dict[str, Any]:
    """Read `paddle.save`'s `.pdparams` {name: array}, or `.pdopt`, with nested dicts and numbers.

    Pickle protocols 2 to 5; tuples become lists. Raises WeightsError for a file that is damaged,
    refers to anything but numpy's array constructors, or does not contain a dict.
    """
    with _raise_as_weights_error(path), path.open("rb") as file:
        content = _materialize(
            pickle_values.read_pickle(file, AllowedNames(path, NUMPY), str(path)),
            _MemoryBudget(path),
        )
    if not isinstance(content, dict):
        raise WeightsError(f"{path} contains a {type(content).__name__}, not a state dict")
    return content


def read_torch(path: Path) -> dict[str, Any]:
    """Read a state dict that `torch.save` wrote (zip format, torch 1.6 and later); of a training
    checkpoint only {the key of the model's state dict: that}.

    Raises WeightsError for the older format, a damaged file, or values that are not tensors.
    """
    with _raise_as_weights_error(path):
        with path.open("rb") as file:
            if _TORCH_LEGACY_MAGIC in file.read(32):
                raise WeightsError(
                    f"{path} is in the format PyTorch used before version 1.6, which is not read "
                    "here: load it once in PyTorch and save it as model.safetensors"
                )
        with zipfile.ZipFile(path) as archive:
            return _torch_tensors(archive, path, _MemoryBudget(path))


def _torch_tensors(archive: zipfile.ZipFile, path: Path, budget: _MemoryBudget) -> dict[str, Any]:
    entries = {info.filename: info for info in archive.infolist()}
    root = next((n.removesuffix("data.pkl") for n in entries if n.endswith("data.pkl")), None)
    if root is None:
        raise ValueError("a zip file without data.pkl")
    if any(info.compress_type != zipfile.ZIP_STORED for info in entries.values()):
        raise ValueError("a compressed zip file, which PyTorch never writes")
    is_big_endian = f"{root}byteorder" in entries and archive.read(f"{root}byteorder") == b"big"
    content = io.BytesIO(archive.read(f"{root}data.pkl"))
    loaded = pickle_values.read_pickle(content, AllowedNames(path, TORCH), str(path))
    if not isinstance(loaded, dict):
        raise ValueError("it does not contain a state dict")
    wrapper, tensors = find_state_dict(loaded), dict[str, np.ndarray]()
    current_key, raw = None, b""  # the last storage read, which several tensors may share
    for name, value in _items(loaded[wrapper] if wrapper else loaded, budget):
        if not isinstance(value, Tensor) or not isinstance(value.storage, tuple):
            raise ValueError(f"{name[:40]} is not a tensor")
        dtype, key = np.dtype(value.storage[0]), value.storage[1]
        if key != current_key:
            current_key, entry = key, entries[f"{root}data/{key}"]
            budget.take(entry.file_size)
            raw = archive.read(entry)
        stored_dtype = dtype.newbyteorder(">") if is_big_endian else dtype
        view = _view(np.frombuffer(raw, stored_dtype), value)
        budget.take(view.nbytes)
        tensors[name] = view.astype(dtype, order="C")
    return {wrapper: tensors} if wrapper else tensors


def _view(data: np.ndarray, tensor: Tensor) -> np.ndarray:
    shape, strides, offset = tensor.shape, tensor.strides, tensor.offset
    for values in (shape, strides, (offset,)):
        is_valid = isinstance(values, tuple) and len(values) <= _MAX_DIMENSIONS
        if not is_valid or not all(type(n) is int and abs(n) < 1 << 62 for n in values):
            raise ValueError("a tensor with impossible strides")
    if len(shape) != len(strides) or offset < 0 or min((*shape, *strides, 0)) < 0:
        raise ValueError("a tensor with impossible strides")
    if 0 in shape:
        return np.zeros(shape, data.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # With strides of 0, a tensor of a small file could have enough elements to fill the memory.
    if last >= data.size or math.prod(shape) > data.size:
        raise ValueError("a tensor that reaches beyond its storage")
    byte_strides = tuple(step * data.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(data[offset:], shape, byte_strides, writeable=False)
