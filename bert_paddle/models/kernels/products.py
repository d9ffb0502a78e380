"""The matrix products of the encoder, in float32 by MKL, in bfloat16 by oneDNN, libraries that
Paddle's CPU build carries.

They are called directly, and write into arrays of numpy: Paddle takes about as long to make a
tensor as a small product takes.

In bfloat16 the factors of a product are rounded (8 bits of precision, the range of float32), and
its sums and result are float32. Weights are rounded once per forward pass; the float32 ones remain
what the optimizer changes.
"""

import ctypes
import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import hardware
from bert_paddle.models.kernels.compile_kernels import Kernels, as_pointer

_INSTRUCTION_SETS = {"avx512_bf16", "amx_bf16"}  # as Linux names them
_ALIGNMENT = 64  # bytes: what MKL needs to give the same results at every address
_ROW_MAJOR, _NO_TRANSPOSE, _TRANSPOSE = 101, 111, 112  # of the CBLAS interface


class Products(ABC):
    """How the encoder computes matrix products, and stores their factors.

    name: the type of the factors, which the kernels store (see load_kernels).
    """

    name: str

    @abstractmethod
    def empty(self, shape: Sequence[int]) -> np.ndarray:
        """A new array for factors."""

    @abstractmethod
    def storage(self, array: Any) -> Any:
        """Where a kernel stores a float32 array as a factor; it may be that array."""

    @abstractmethod
    def factors(self, kernels: Kernels, tensors: Sequence[Any]) -> list[Any]:
        """Float32 tensors as factors."""

    @abstractmethod
    def _call(self, transpose_a: bool, transpose_b: bool, arguments: Sequence[Any]) -> None:
        """Call the library; arguments: those that all libraries take, from the sizes on."""

    def multiply(
        self,
        a: Any,
        b: Any,
        result: Any,
        transpose_a: bool = False,
        transpose_b: bool = False,
        add: bool = False,
    ) -> Any:
        """Writes A B into the float32 array or tensor `result`, or adds it with `add`, and returns
        it; transpose_a: A^T B; transpose_b: A B^T. a, b: factors. All are contiguous, with rows in
        C order. The GIL is released."""
        rows, columns = result.shape
        arguments = (
            *(rows, columns, a.shape[not transpose_a]),
            *(1.0, as_pointer(a), a.shape[1], as_pointer(b), b.shape[1]),
            *(float(add), as_pointer(result), columns),
        )
        self._call(transpose_a, transpose_b, arguments)
        return result


def empty(shape: Sequence[int], dtype: Any = np.float32) -> np.ndarray:
    """A new array, aligned as products need it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


class _Float32Products(Products):
    name = "float32"

    def empty(self, shape: Sequence[int]) -> np.ndarray:
        return empty(shape)

    def storage(self, array: Any) -> Any:
        return array

    def factors(self, kernels: Kernels, tensors: Sequence[Any]) -> list[Any]:
        return [tensor.contiguous() for tensor in tensors]

    def _call(self, transpose_a: bool, transpose_b: bool, arguments: Sequence[Any]) -> None:
        turned = [_TRANSPOSE if turn else _NO_TRANSPOSE for turn in (transpose_a, transpose_b)]
        _sgemm()(_ROW_MAJOR, *turned, *arguments)


class _Bfloat16Products(Products):
    name = "bfloat16"

    def empty(self, shape: Sequence[int]) -> np.ndarray:
        return empty(shape, np.uint16)

    def storage(self, array: Any) -> Any:
        return self.empty(array.shape)

    def factors(self, kernels: Kernels, tensors: Sequence[Any]) -> list[Any]:
        contiguous = [tensor.contiguous() for tensor in tensors]
        rounded = [self.empty(tensor.shape) for tensor in tensors]
        pairs = zip(contiguous, rounded, strict=True)
        # `Cast` structs of layer.c
        casts = [(x.data_ptr(), out.ctypes.data, x.size) for x, out in pairs]
        kernels.run("cast_bfloat16", np.array(casts, np.int64), len(casts))
        return rounded

    def _call(self, transpose_a: bool, transpose_b: bool, arguments: Sequence[Any]) -> None:
        turned = [b"T" if turn else b"N" for turn in (transpose_a, transpose_b)]
        status = _bfloat16_gemm()(*turned, *arguments)
        if status:
            raise MemoryError(f"oneDNN could not compute a product in bfloat16 (status {status})")


FLOAT32, BFLOAT16 = _Float32Products(), _Bfloat16Products()


@functools.cache
def _sgemm() -> Any:
    """MKL's C function cblas_sgemm."""
    integer = ctypes.c_int
    return _function("libmklml*", "cblas_sgemm", integer, (integer, integer, integer))


@functools.cache
def _bfloat16_gemm() -> Any:
    """oneDNN's C function dnnl_gemm_bf16bf16f32."""
    kinds = ctypes.c_char, ctypes.c_char
    return _function("libdnnl*", "dnnl_gemm_bf16bf16f32", ctypes.c_int64, kinds)


def _function(pattern: str, name: str, integer: Any, first: tuple[Any, ...]) -> Any:
    """A function of a library that Paddle has already loaded, and with it bound to its OpenMP
    threads. first: the types of its arguments before the sizes. Raises OSError or AttributeError
    where Paddle ships no such library or function."""
    import paddle

    path = next((Path(paddle.__file__).parent / "libs").glob(pattern), None)
    if path is None:
        raise OSError(f"this PaddlePaddle ships no {pattern.strip('*')}")
    function = getattr(ctypes.CDLL(str(path)), name)
    real, pointer = ctypes.c_float, ctypes.c_void_p
    sizes = integer, integer, integer
    function.argtypes = (*first, *sizes, real, pointer, integer, pointer, integer)
    function.argtypes += (real, pointer, integer)
    function.restype = ctypes.c_int  # not read of a function that returns nothing
    return function


def float32_unsupported_reason() -> str:
    """Why the products in float32 cannot be computed; "" if they can."""
    try:
        _sgemm()
    except (OSError, AttributeError) as error:
        return str(error)
    return ""


def has_bfloat16_instructions() -> bool:
    """Whether the CPU multiplies bfloat16 numbers, where the system says so (Linux)."""
    return bool(_INSTRUCTION_SETS.intersection(hardware.instruction_sets().split()))


def bfloat16_unsupported_reason() -> str:
    """Why this machine cannot multiply bfloat16 matrices faster than float32 ones; "" if it can."""
    if not has_bfloat16_instructions():
        return "this CPU has no bfloat16 instructions"
    try:
        _bfloat16_gemm()
    except (OSError, AttributeError) as error:
        return f"oneDNN: {error}"
    return ""
