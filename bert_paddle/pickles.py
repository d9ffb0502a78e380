"""Reads the pickles of Paddle and PyTorch without running anything that is in them.

A pickle is a program. The unpickler here knows a dozen names and maps each to a class of this
module that does nothing but hold its arguments; the arrays are made afterwards, from checked
values. Neither numpy nor torch nor paddle is called by the file, so there is nothing in them to
be misused, and every other name is refused before it is looked up.

bfloat16, which numpy lacks, is returned as its bits in uint16, as Paddle itself saves it.
"""

import math
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.errors import WeightsError

# Paddle puts this table of internal names into each state dict.
_NAME_TABLE = "StructuredToParameterName@@"
_TORCH_LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # LONG1 0x1950a86a20f9469cfc6c
_TORCH_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
_NUMPY_DTYPES = {np.dtype(code).str[1:] for code in "?bBhHiIlLqQefd"}


class _Fixed(type):
    """Classes that a pickle cannot alter: BUILD may set attributes on whatever it is given."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError(f"{cls.__name__} cannot be altered")


class _DType(metaclass=_Fixed):
    """Stands for numpy.dtype: `code` like f4, byte order set by the state."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False):
        self.code, self.order = code, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def make(self) -> np.dtype:
        code = str(self.code).lstrip("<>|=")
        if code not in _NUMPY_DTYPES or self.order not in ("<", ">", "|", "="):
            raise ValueError(f"an array of dtype {str(self.code)[:20]!r}")
        return np.dtype(("<" if self.order in "|=" else self.order) + code)


class _NDArray(metaclass=_Fixed):
    """Stands for numpy.ndarray, which pickles name only as an argument."""


class _Array(metaclass=_Fixed):
    """Stands for numpy's _reconstruct: an empty array whose state brings everything."""

    def __init__(self, subtype: Any, shape: Any, dtype: Any):
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def make(self) -> np.ndarray:
        _, shape, dtype, fortran, data = self.state
        return _array(data, dtype, shape, "F" if fortran else "C")


class _Buffer(metaclass=_Fixed):
    """Stands for numpy's _frombuffer, which pickle protocol 5 uses."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any):
        self.args = (data, dtype, shape, order)

    def make(self) -> np.ndarray:
        return _array(*self.args)


class _Scalar(metaclass=_Fixed):
    """Stands for numpy's scalar constructor."""

    def __init__(self, dtype: Any, data: Any):
        self.args = (data, dtype)

    def make(self) -> Any:
        return _array(*self.args, (), "C").item()


class _Latin1(metaclass=_Fixed):
    """Stands for _codecs.encode, by which protocol 2 writes bytes."""

    def __new__(cls, text: Any, encoding: Any = "latin1") -> Any:
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError("bytes that are not latin1")
        return text.encode("latin1")


class _Mapping(dict, metaclass=_Fixed):
    """Stands for OrderedDict; the attributes that torch hangs onto it are not kept."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Tensor(metaclass=_Fixed):
    """Stands for torch's _rebuild_tensor_v2: a view into a storage, counted in elements."""

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class _Parameter(metaclass=_Fixed):
    """Stands for torch's _rebuild_parameter: the tensor itself."""

    def __new__(cls, data: Any, *rest: Any) -> Any:
        return data


class _Storage(metaclass=_Fixed):
    """A torch storage that the pickle points to: dtype and the key of its bytes."""

    def __init__(self, dtype: str, key: str):
        self.dtype, self.key = dtype, key


_CONTAINERS: dict[tuple[str, str], Any] = {("collections", "OrderedDict"): _Mapping}
_NUMPY: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _NDArray,
    ("_codecs", "encode"): _Latin1,
    # Paddle's (name, array) of a tensor outside a state dict.
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
}
for _core in ("numpy.core", "numpy._core"):
    _NUMPY[f"{_core}.multiarray", "_reconstruct"] = _Array
    _NUMPY[f"{_core}.multiarray", "scalar"] = _Scalar
    _NUMPY[f"{_core}.numeric", "_frombuffer"] = _Buffer
# A storage type is a plain string here: nothing that a pickle could change.
_TORCH: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    **{("torch", name): name for name in _TORCH_DTYPES},
}


class _Reader(pickle.Unpickler):
    """Unpickles plain values, and the stand-ins for the names in `allowed`."""

    def __init__(self, file: Any, path: Path, allowed: dict[tuple[str, str], Any]):
        super().__init__(file, encoding="latin1")
        self._path, self._allowed = path, allowed

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise WeightsError(
                f"refused: {self._path} wants to run {module}.{name}; a file of weights has no "
                "need of it: use one you trust, best as model.safetensors"
            ) from None

    def persistent_load(self, pid: Any) -> Any:
        if self._allowed.get(("torch", "FloatStorage")) is None:
            raise ValueError("a reference to something outside the file")
        _, storage_type, key, *_ = pid
        return _Storage(_TORCH_DTYPES[storage_type], str(key))


def _load(file: Any, path: Path, allowed: dict[tuple[str, str], Any]) -> Any:
    try:
        return _Reader(file, path, _CONTAINERS | allowed).load()
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle can raise almost anything
        raise _damaged(path, error) from error


def _damaged(path: Path, error: object) -> WeightsError:
    return WeightsError(
        f"{path} cannot be read as a file of weights ({str(error)[:80] or type(error).__name__}); "
        "it is damaged or incomplete: copy or download it again"
    )


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, _DType):
        raise ValueError("an array without a dtype")
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(raw, bytes | bytearray):
        raise ValueError("an array without its bytes")
    kind = dtype.make()
    return np.frombuffer(raw, kind).reshape(shape, order=order).astype(kind.newbyteorder("="))


def _made(value: Any, depth: int = 0) -> Any:
    """`value` with the stand-ins turned into arrays."""
    if depth > 8:
        raise ValueError("containers nested too deeply")
    if isinstance(value, _Array | _Buffer | _Scalar):
        return value.make()
    if isinstance(value, dict):
        return {k: _made(v, depth + 1) for k, v in value.items() if k != _NAME_TABLE}
    if isinstance(value, list | tuple):
        return [_made(v, depth + 1) for v in value]
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    raise ValueError(f"a {type(value).__name__.strip('_')} where an array was expected")


def read_paddle(path: Path) -> dict[str, Any]:
    """What `paddle.save` wrote: `.pdparams` {name: array}, `.pdopt` with nested dicts and numbers.

    Pickle protocols 2 to 5. The table `StructuredToParameterName@@` is left out. Tuples come back
    as lists. Raises WeightsError for a file that asks for any other name than numpy's array
    constructors, is damaged, or holds no dict at its top.
    """
    with path.open("rb") as file:
        loaded = _load(file, path, _NUMPY)
    try:
        made = _made(loaded)
    except Exception as error:
        raise _damaged(path, error) from error
    if not isinstance(made, dict):
        raise WeightsError(f"{path} holds a {type(made).__name__}, not the state dict of a model")
    return made


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict that `torch.save` wrote (zip format, torch 1.6 and later).

    Raises WeightsError for the older format, for a pickle that asks for anything but tensors, and
    for a damaged file.
    """
    with path.open("rb") as file:
        if _TORCH_LEGACY_MAGIC in file.read(32):
            raise WeightsError(
                f"{path} is in the format PyTorch used before version 1.6, which is not read here: "
                "load it once in PyTorch and save it as model.safetensors"
            )
    try:
        with zipfile.ZipFile(path) as archive:
            return _torch_tensors(archive, path)
    except WeightsError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error


def _torch_tensors(archive: zipfile.ZipFile, path: Path) -> dict[str, np.ndarray]:
    entries = {info.filename: info for info in archive.infolist()}
    root = next((name[:-8] for name in entries if name.endswith("data.pkl")), None)
    if root is None:
        raise ValueError("a zip file without data.pkl")
    if any(info.compress_type != zipfile.ZIP_STORED for info in entries.values()):
        raise ValueError("compressed, which PyTorch never writes")
    order = archive.read(f"{root}byteorder") if f"{root}byteorder" in entries else b"little"
    with archive.open(f"{root}data.pkl") as file:
        loaded = _load(file, path, _TORCH)
    if not isinstance(loaded, dict):
        raise ValueError("no state dict at its top")
    tensors = {}
    for name, value in loaded.items():
        storage = value.storage if isinstance(value, _Tensor) else None
        if not isinstance(storage, _Storage) or storage.dtype not in _TORCH_DTYPES.values():
            raise ValueError(f"{str(name)[:40]} is not a tensor")
        kind = np.dtype(storage.dtype)
        raw = archive.read(f"{root}data/{storage.key}")
        data = np.frombuffer(raw, kind.newbyteorder(">") if order == b"big" else kind)
        tensors[str(name)] = _view(data, value).astype(kind, order="C")
    return tensors


def _view(data: np.ndarray, tensor: _Tensor) -> np.ndarray:
    shape, strides, offset = tuple(tensor.shape), tuple(tensor.strides), int(tensor.offset)
    if len(shape) != len(strides) or offset < 0 or min((*shape, *strides, 0)) < 0:
        raise ValueError("a tensor with impossible strides")
    if 0 in shape:
        return np.zeros(shape, data.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # More elements than the storage holds means stride 0: a small file could fill the memory.
    if last >= data.size or math.prod(shape) > data.size:
        raise ValueError("a tensor that reaches beyond its storage")
    steps = tuple(step * data.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(data[offset:], shape, steps, writeable=False)
