"""The matrix products of the encoder, in float32 by Paddle (MKL), in bfloat16 by oneDNN, a library
that Paddle's CPU build carries.

In bfloat16 the factors of a product are rounded (8 bits of precision, the range of float32), and
its sums and result are float32. Weights are rounded once per forward pass; the float32 ones remain
what the optimizer changes.
"""

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bert_paddle.common import hardware
from bert_paddle.models.kernels.compile_kernels import Kernels

_INSTRUCTION_SETS = {"avx512_bf16", "amx_bf16"}  # as Linux names them


class Products(Protocol):
    """How the encoder computes matrix products, and stores their factors.

    name: the type of the factors, which the kernels store (see load_kernels). product and
    add_product: A B, with matrices of stored type and float32 results; transpose_a: A^T B;
    transpose_b: A B^T.
    """

    name: str

    def empty(self, shape: Sequence[int]) -> Any:
        """A new tensor for factors."""

    def storage(self, tensor: Any) -> Any:
        """The tensor in which a kernel stores a float32 tensor as a factor; it may be that one."""

    def factors(self, kernels: Kernels, tensors: Sequence[Any]) -> list[Any]:
        """Float32 tensors as factors."""

    def product(
        self, a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False
    ) -> Any: ...

    def add_product(self, total: Any, a: Any, b: Any, transpose_b: bool = False) -> None:
        """Adds the product to the float32 tensor `total` in place."""


class _Float32Products:
    name = "float32"

    def empty(self, shape: Sequence[int]) -> Any:
        import paddle

        return paddle.empty(shape)

    def storage(self, tensor: Any) -> Any:
        return tensor

    def factors(self, kernels: Kernels, tensors: Sequence[Any]) -> list[Any]:
        return list(tensors)

    def product(self, a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
        import paddle

        return paddle.matmul(a, b, transpose_x=transpose_a, transpose_y=transpose_b)

    def add_product(self, total: Any, a: Any, b: Any, transpose_b: bool = False) -> None:
        total.add_(self.product(a, b, transpose_b=transpose_b))


class _Bfloat16Products:
    name = "bfloat16"

    def empty(self, shape: Sequence[int]) -> Any:
        import paddle

        return paddle.empty(shape, "bfloat16")

    def storage(self, tensor: Any) -> Any:
        return self.empty(tensor.shape)

    def factors(self, kernels: Kernels, tensors: Sequence[Any]) -> list[Any]:
        contiguous = [tensor.contiguous() for tensor in tensors]
        rounded = [self.empty(tensor.shape) for tensor in tensors]
        pairs = zip(contiguous, rounded, strict=True)
        # `Cast` structs of layer.c
        casts = np.array([(x.data_ptr(), out.data_ptr(), x.size) for x, out in pairs], np.int64)
        kernels.run("cast_bfloat16", casts, len(casts))
        return rounded

    def product(self, a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
        import paddle

        rows, columns = a.shape[transpose_a], b.shape[not transpose_b]
        result = paddle.empty([rows, columns])
        _multiply(a, b, result, transpose_a, transpose_b, 0.0)
        return result

    def add_product(self, total: Any, a: Any, b: Any, transpose_b: bool = False) -> None:
        _multiply(a, b, total, False, transpose_b, 1.0)


FLOAT32: Products = _Float32Products()
BFLOAT16: Products = _Bfloat16Products()


def _multiply(a: Any, b: Any, c: Any, transpose_a: bool, transpose_b: bool, beta: float) -> None:
    """c = a b + beta c. a, b: bfloat16; c: float32; all contiguous. The GIL is released."""
    rows, columns = c.shape
    arguments = (
        b"T" if transpose_a else b"N",
        b"T" if transpose_b else b"N",
        *(rows, columns, a.shape[not transpose_a]),
        *(1.0, a.data_ptr(), a.shape[1], b.data_ptr(), b.shape[1]),
        *(beta, c.data_ptr(), columns),
    )
    status = _gemm()(*arguments)
    if status:
        raise MemoryError(f"oneDNN could not compute a product in bfloat16 (status {status})")


@functools.cache
def _gemm() -> Any:
    """oneDNN's C function dnnl_gemm_bf16bf16f32, for matrices in rows (C order)."""
    import paddle

    # Already loaded by Paddle, and with it bound to Paddle's OpenMP threads.
    path = next((Path(paddle.__file__).parent / "libs").glob("libdnnl*"), None)
    if path is None:
        raise OSError("this PaddlePaddle ships no oneDNN")
    function = ctypes.CDLL(str(path)).dnnl_gemm_bf16bf16f32
    integer, real, pointer = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
    function.argtypes = (
        *(ctypes.c_char, ctypes.c_char, integer, integer, integer),
        *(real, pointer, integer, pointer, integer),
        *(real, pointer, integer),
    )
    function.restype = ctypes.c_int
    return function


def has_bfloat16_instructions() -> bool:
    """Whether the CPU multiplies bfloat16 numbers, where the system says so (Linux)."""
    return bool(_INSTRUCTION_SETS.intersection(hardware.instruction_sets().split()))


def bfloat16_unsupported_reason() -> str:
    """Why this machine cannot multiply bfloat16 matrices faster than float32 ones; "" if it can."""
    if not has_bfloat16_instructions():
        return "this CPU has no bfloat16 instructions"
    try:
        _gemm()
    except (OSError, AttributeError) as error:
        return f"oneDNN: {error}"
    return ""
