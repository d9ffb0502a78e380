"""Products of a few rows with a weight matrix, as in generation, where each token is one row. Their
time is that of reading the weights once, for which MKL takes up to twice as long as the memory."""

from typing import Any

from bert_paddle.distributed import collectives
from bert_paddle.models.kernels.compile_kernels import Kernels, load_kernels

MOST_ROWS = 8  # with more, MKL is as fast


def find_kernels(model: Any) -> Kernels | None:
    """The kernels if they can compute the model's products: in float32, on the CPU."""
    in_float32 = all(str(p.dtype) == "paddle.float32" for p in model.parameters())
    return load_kernels()[0] if in_float32 and collectives.on_cpu() else None


def are_few(x: Any) -> bool:
    """Whether a tensor [..., width] has at most MOST_ROWS rows."""
    return x.size <= MOST_ROWS * x.shape[-1]


def linear(x: Any, weight: Any, bias: Any, kernels: Kernels) -> Any:
    """x weight + bias, float32 [..., out], for x [..., in], weight [in, out] and bias [out]."""
    import paddle

    x = x.contiguous()
    y = paddle.empty([*x.shape[:-1], weight.shape[1]])
    rows = x.size // x.shape[-1]
    kernels.run("few_rows_linear", x, weight, bias, y, rows, *weight.shape)
    return y


def output_layer(x: Any, words: Any, kernels: Kernels) -> Any:
    """x words^T, float32 [..., vocab], for x [..., hidden] and word embeddings [vocab, hidden]."""
    import paddle

    x = x.contiguous()
    y = paddle.empty([*x.shape[:-1], words.shape[0]])
    kernels.run("few_rows_scores", x, words, y, x.size // x.shape[-1], *words.shape)
    return y
