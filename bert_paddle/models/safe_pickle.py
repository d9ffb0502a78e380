"""Reads the pickles of Paddle and PyTorch without running any code in them.

A pickle is a program. The unpickler here allows a dozen names and maps each to a placeholder class
that only stores its arguments; arrays are built from them afterwards, with checks. So a file cannot
call numpy, torch or paddle; any other name is refused before it is imported. bfloat16, which numpy
lacks, is returned as its bits in uint16, as Paddle saves it. Memory is limited to a few times the
file's size, since a short pickle can reference one array many times.
"""

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.weight_names import find_state_dict

# The key under which Paddle adds a table of internal names to each state dict.
_NAME_TABLE = "StructuredToParameterName@@"
_TORCH_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # LONG1 0x1950a86a20f9469cfc6c
_STORAGE_TYPES = "Float Double Half BFloat16 Long Int Short Char Byte Bool".split()
_CODES = "<f4 <f8 <f2 <u2 <i8 <i4 <i2 |i1 |u1 |b1".split()
_TORCH_DTYPES = {f"{n}Storage": code for n, code in zip(_STORAGE_TYPES, _CODES, strict=True)}
_NUMPY_DTYPES = {np.dtype(code).str[1:] for code in "?bBhHiIlLqQefd"}


class _Immutable(type):
    """Metaclass of read-only classes: the pickle opcode BUILD could otherwise set any attribute."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError(f"{cls.__name__} is immutable")


class _DType(metaclass=_Immutable):
    """Placeholder for numpy.dtype: a `code` such as f4; __setstate__ sets the byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False):
        self.code, self.order = code, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def make(self) -> np.dtype:
        code = str(self.code).lstrip("<>|=")
        if code not in _NUMPY_DTYPES or self.order not in ("<", ">", "|", "="):
            raise ValueError(f"an array of dtype {str(self.code)[:20]!r}")
        return np.dtype(("<" if self.order in "|=" else self.order) + code)


class _Buffer(metaclass=_Immutable):
    """Placeholder for numpy's _frombuffer, which pickle protocol 5 uses."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any):
        self.args = (data, dtype, shape, order)

    def make(self) -> Any:
        return _array(*self.args)


class _Array(_Buffer):
    """Placeholder for numpy's _reconstruct: an empty array that __setstate__ fills."""

    def __init__(self, subtype: Any, shape: Any, dtype: Any):
        super().__init__(None, None, shape, "C")

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.args = (data, dtype, shape, "F" if fortran else "C")


class _Scalar(_Buffer):
    """Placeholder for numpy's scalar constructor."""

    def __init__(self, dtype: Any, data: Any):
        super().__init__(data, dtype, (), "C")

    def make(self) -> Any:
        return super().make().item()


class _Latin1(metaclass=_Immutable):
    """Placeholder for _codecs.encode, which protocol 2 uses to store bytes."""

    def __init__(self, text: str, encoding: str = "latin1"):
        self.text, self.encoding = text, encoding

    def make(self) -> bytes:
        if self.encoding != "latin1":
            raise ValueError("bytes that are not latin1")
        return self.text.encode("latin1")


class _Mapping(dict, metaclass=_Immutable):
    """Placeholder for OrderedDict; ignores the attributes that torch sets on it."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Tensor(metaclass=_Immutable):
    """Placeholder for torch's _rebuild_tensor_v2: a view into a storage, counted in elements."""

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class _Parameter(metaclass=_Immutable):
    """Placeholder for torch's _rebuild_parameter: the tensor itself."""

    def __new__(cls, data: Any, *rest: Any) -> Any:
        return data


_CONTAINERS: dict[tuple[str, str], Any] = {("collections", "OrderedDict"): _Mapping}
_NUMPY: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): object,  # only an argument of _reconstruct
    ("_codecs", "encode"): _Latin1,
    # Paddle saves a tensor outside a state dict as (name, array).
    **{(module, "tuple"): tuple for module in ("builtins", "__builtin__")},
}
for _core in ("numpy.core", "numpy._core"):
    _NUMPY[f"{_core}.multiarray", "_reconstruct"] = _Array
    _NUMPY[f"{_core}.multiarray", "scalar"] = _Scalar
    _NUMPY[f"{_core}.numeric", "_frombuffer"] = _Buffer
# A storage type is a plain string here, which a pickle cannot change.
_TORCH: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    **{("torch", name): name for name in _TORCH_DTYPES},
}


class _RestrictedUnpickler(pickle.Unpickler):
    """Unpickles plain values, and those names in `allowed` as their placeholders."""

    def __init__(self, file: Any, path: Path, allowed: dict[tuple[str, str], Any]):
        super().__init__(file, encoding="latin1")
        self._path, self._allowed = path, _CONTAINERS | allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            shown = f"{module}.{name}"[:100].encode("unicode_escape").decode()
            raise WeightsError(
                f"refused: {self._path} tries to call {shown}, which no weights file needs: use a "
                "file you trust, preferably model.safetensors"
            )
        return self._allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        if ("torch", "FloatStorage") not in self._allowed:  # not a PyTorch file
            raise ValueError("a reference to an object outside the file")
        _, storage_type, key, *_ = pid
        return _TORCH_DTYPES[storage_type], str(key)


def _load(file: Any, path: Path, allowed: dict[tuple[str, str], Any]) -> Any:
    size = file.seek(0, io.SEEK_END) - file.seek(0)
    for opcode, memo_index, _ in pickletools.genops(file):
        # The unpickler allocates a memo table of this length, whatever the file's size.
        if opcode.name in ("PUT", "LONG_BINPUT") and memo_index > size:
            raise ValueError("a memo index beyond the file's size")
    file.seek(0)
    return _RestrictedUnpickler(file, path, allowed).load()


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


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Build an array, in native byte order, from a pickle's unchecked values."""
    if not isinstance(dtype, _DType):
        raise ValueError("an array without a dtype")
    data = _Latin1(data) if isinstance(data, str) else data  # from a pickle of Python 2
    raw = data.make() if isinstance(data, _Latin1) else data
    array = np.frombuffer(raw, dtype.make()).reshape(shape, order=order)
    return array.astype(array.dtype.newbyteorder("="))


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
    if depth > 8:
        raise ValueError("containers nested too deeply")
    budget.take(8)
    if isinstance(value, _Buffer | _Latin1):
        array = value.make()
        budget.take(np.asarray(array).nbytes)
        return array
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key that is not a string")
        return {k: _materialize(v, budget, depth + 1) for k, v in value.items() if k != _NAME_TABLE}
    if isinstance(value, list | tuple):
        return [_materialize(v, budget, depth + 1) for v in value]
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise ValueError(f"a {type(value).__name__} where an array was expected")


def read_paddle(path: Path) -> dict[str, Any]:
    """Read `paddle.save`'s `.pdparams` {name: array}, or `.pdopt`, with nested dicts and numbers.

    Pickle protocols 2 to 5; tuples become lists. Raises WeightsError for a file that is damaged,
    refers to anything but numpy's array constructors, or does not contain a dict.
    """
    with _raise_as_weights_error(path), path.open("rb") as file:
        content = _materialize(_load(file, path, _NUMPY), _MemoryBudget(path))
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
    loaded = _load(io.BytesIO(archive.read(f"{root}data.pkl")), path, _TORCH)
    if not isinstance(loaded, dict):
        raise ValueError("it does not contain a state dict")
    wrapper, tensors = find_state_dict(loaded), dict[str, np.ndarray]()
    current_key, raw = None, b""  # the last storage read, which several tensors may share
    for name, value in (loaded[wrapper] if wrapper else loaded).items():
        if not isinstance(value, _Tensor) or value.storage[0] not in _CODES:
            raise ValueError(f"{str(name)[:40]} is not a tensor")
        dtype, key = np.dtype(value.storage[0]), value.storage[1]
        if key != current_key:
            current_key, entry = key, entries[f"{root}data/{key}"]
            budget.take(entry.file_size)
            raw = archive.read(entry)
        stored_dtype = dtype.newbyteorder(">") if is_big_endian else dtype
        view = _view(np.frombuffer(raw, stored_dtype), value)
        budget.take(view.nbytes)
        tensors[str(name)] = view.astype(dtype, order="C")
    return {wrapper: tensors} if wrapper else tensors


def _view(data: np.ndarray, tensor: _Tensor) -> np.ndarray:
    shape, strides, offset = tuple(tensor.shape), tuple(tensor.strides), int(tensor.offset)
    if len(shape) != len(strides) or offset < 0 or min((*shape, *strides, 0)) < 0:
        raise ValueError("a tensor with impossible strides")
    if 0 in shape:
        return np.zeros(shape, data.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # With strides of 0, a tensor of a small file could have enough elements to fill the memory.
    if last >= data.size or math.prod(shape) > data.size:
        raise ValueError("a tensor that reaches beyond its storage")
    strides = tuple(step * data.itemsize for step in strides)  # in bytes
    return np.lib.stride_tricks.as_strided(data[offset:], shape, strides, writeable=False)
