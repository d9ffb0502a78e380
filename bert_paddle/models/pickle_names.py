"""The names that pickles of weights may use, each with a placeholder that only stores arguments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError

_STORAGE_TYPES = "Float Double Half BFloat16 Long Int Short Char Byte Bool".split()
CODES = "<f4 <f8 <f2 <u2 <i8 <i4 <i2 |i1 |u1 |b1".split()
_TORCH_DTYPES = {f"{n}Storage": code for n, code in zip(_STORAGE_TYPES, CODES, strict=True)}
_MAX_ARGUMENTS = 10
_NUMPY_DTYPES = {np.dtype(code).str[1:] for code in "?bBhHiIlLqQefd"}


class Placeholder:
    """What a name in a pickle stands for; its subclasses store the arguments of the call."""

    def set_state(self, state: Any) -> None:
        """The pickle operation BUILD."""
        raise ValueError("a state where there is none")


class _DType(Placeholder):
    """Placeholder for numpy.dtype: a `code` such as f4; set_state sets the byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False):
        self.code, self.order = code, "|"

    def set_state(self, state: Any) -> None:
        self.order = state[1]

    def make(self) -> np.dtype:
        if not isinstance(self.code, str) or self.order not in ("<", ">", "|", "="):
            raise ValueError("an array without a dtype")
        code = self.code.lstrip("<>|=")
        if code not in _NUMPY_DTYPES:
            raise ValueError(f"an array of dtype {self.code[:20]!r}")
        return np.dtype(("<" if self.order in "|=" else self.order) + code)


class Buffer(Placeholder):
    """Placeholder for numpy's _frombuffer, which pickle protocol 5 uses."""

    def __init__(self, data: Any, dtype: Any, shape: Any, order: Any):
        self.args = (data, dtype, shape, order)

    def make(self) -> Any:
        return _array(*self.args)


class _Array(Buffer):
    """Placeholder for numpy's _reconstruct: an empty array that set_state fills."""

    def __init__(self, subtype: Any, shape: Any, dtype: Any):
        super().__init__(None, None, shape, "C")

    def set_state(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.args = (data, dtype, shape, "F" if fortran else "C")


class _Scalar(Buffer):
    """Placeholder for numpy's scalar constructor."""

    def __init__(self, dtype: Any, data: Any):
        super().__init__(data, dtype, (), "C")

    def make(self) -> Any:
        return super().make().item()


class Latin1(Placeholder):
    """Placeholder for _codecs.encode, which protocol 2 uses to store bytes."""

    def __init__(self, text: str, encoding: str = "latin1"):
        self.text, self.encoding = text, encoding

    def make(self) -> bytes:
        if self.encoding != "latin1":
            raise ValueError("bytes that are not latin1")
        return self.text.encode("latin1")


class Mapping(dict):
    """Placeholder for OrderedDict; ignores the attributes that torch sets on it."""

    def __init__(self, pairs: Any = ()):
        super().__init__()
        # Python 2 stores the content as an argument. It is not copied here, since one list could be
        # the argument of many calls.
        self.pairs = pairs

    def set_state(self, state: Any) -> None:
        """The attributes are of no use."""


class Tuple(Placeholder):
    """Placeholder for tuple, for the same reason."""

    def __init__(self, values: Any = ()):
        self.values = values


class Tensor(Placeholder):
    """Placeholder for torch's _rebuild_tensor_v2: a view into a storage, counted in elements."""

    def __init__(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        requires_grad: Any = None,
        backward_hooks: Any = None,
        metadata: Any = None,
    ):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides


class _Parameter(Placeholder):
    """Placeholder for torch's _rebuild_parameter: the tensor itself."""

    def __new__(cls, data: Any, requires_grad: Any = None, backward_hooks: Any = None) -> Any:
        return data


_CONTAINERS: dict[tuple[str, str], Any] = {("collections", "OrderedDict"): Mapping}
NUMPY: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): object,  # only an argument of _reconstruct
    ("_codecs", "encode"): Latin1,
    ("builtins", "tuple"): Tuple,  # Paddle saves a tensor outside a state dict as (name, array)
    ("__builtin__", "tuple"): Tuple,
}
for _core in ("numpy.core", "numpy._core"):
    NUMPY[f"{_core}.multiarray", "_reconstruct"] = _Array
    NUMPY[f"{_core}.multiarray", "scalar"] = _Scalar
    NUMPY[f"{_core}.numeric", "_frombuffer"] = Buffer
# A storage type is a plain string here, which a pickle cannot change.
TORCH: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): Tensor,
    ("torch._utils", "_rebuild_parameter"): _Parameter,
    **{("torch", name): name for name in _TORCH_DTYPES},
}


@dataclass(frozen=True)
class _Name:
    """A name that a pickle has looked up."""

    target: Any


class AllowedNames:
    """The names that a pickle may use, with their placeholders (see `pickle_values.Names`)."""

    def __init__(self, path: Path, allowed: dict[tuple[str, str], Any]):
        self._path, self._allowed = path, _CONTAINERS | allowed

    def find(self, module: str, name: str) -> _Name:
        if (module, name) not in self._allowed:
            shown = f"{module}.{name}"[:100].encode("unicode_escape").decode()
            raise WeightsError(
                f"refused: {self._path} tries to call {shown}, which no weights file needs: use a "
                "file you trust, preferably model.safetensors"
            )
        return _Name(self._allowed[module, name])

    def call(self, target: Any, arguments: tuple[Any, ...]) -> Any:
        if not isinstance(target, _Name) or not isinstance(target.target, type):
            raise ValueError("a call of what is not a function")
        if len(arguments) > _MAX_ARGUMENTS:
            raise ValueError("a call with too many arguments")
        return target.target(*arguments)

    def set_state(self, target: Any, state: Any) -> None:
        if not isinstance(target, Placeholder | Mapping):
            raise ValueError("a state of what is not an object")
        target.set_state(state)

    def find_external(self, identifier: Any) -> Any:
        if ("torch", "FloatStorage") not in self._allowed:  # not a PyTorch file
            raise ValueError("a reference to an object outside the file")
        if not isinstance(identifier, tuple) or len(identifier) > _MAX_ARGUMENTS:
            raise ValueError("a reference that is not PyTorch's")
        _, storage_type, key, *_ = identifier
        if not isinstance(storage_type, _Name) or not isinstance(key, str | int):
            raise ValueError("a reference that is not PyTorch's")
        return _TORCH_DTYPES[storage_type.target], str(key)


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Build an array, in native byte order, from a pickle's unchecked values."""
    if not isinstance(dtype, _DType):
        raise ValueError("an array without a dtype")
    data = Latin1(data) if isinstance(data, str) else data  # from a pickle of Python 2
    raw = data.make() if isinstance(data, Latin1) else data
    array = np.frombuffer(raw, dtype.make()).reshape(shape, order=order)
    return array.astype(array.dtype.newbyteorder("="))
