"""One layer of BERT's encoder (Vaswani et al. 2017, arXiv:1706.03762, with the norm behind, and
GELU, Hendrycks and Gimpel 2016, arXiv:1606.08415), forward and backward, written out.

    q, k, v = Xq Wq + bq, X Wk + bk, X Wv + bv
    P       = softmax(q k^T / sqrt(d)), per head;   A = dropout(P) v
    Y1      = norm(dropout(A Wo + bo) + Xq)
    Y       = norm(dropout(gelu(Y1 W1 + b1) W2 + b2) + Y1)

Products are Paddle's; what stands between them is in kernels.c.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_paddle.models.kernels.compile_kernels import Kernels

_WIDE = 16  # of kernels.c


@dataclass(frozen=True)
class Spans:
    """Where the sequences lie in packed rows, and their probabilities in a flat array.

    queries, keys: int64 [sequences + 1], first row of each; place: int64 [sequences]; size: of
    the probabilities of all heads.
    """

    queries: np.ndarray
    keys: np.ndarray
    place: np.ndarray
    size: int


def spans(queries: np.ndarray, keys: np.ndarray, heads: int) -> Spans:
    """Spans of sequences of so many queries and keys, int64 [sequences] each."""
    sizes = heads * queries * (-(-keys // _WIDE) * _WIDE)
    ends = np.cumsum(sizes)
    return Spans(_starts(queries), _starts(keys), ends - sizes, int(ends[-1]))


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@dataclass(frozen=True)
class Dropout:
    """A rate and the seed of one layer's draws; as kernels take it: seed, threshold, scale."""

    rate: float
    seed: int

    def draw(self, number: int) -> tuple[int, int, float]:
        """The `number`-th dropout of the layer."""
        seed = (self.seed + number * 0x9E3779B1) & 0xFFFFFFFF
        scale = 1.0 / (1.0 - self.rate) if self.rate < 1.0 else 0.0
        return seed, min(int(self.rate * 2**32), 2**32 - 1), scale


@dataclass(frozen=True)
class Settings:
    """What a layer needs beside its tensors."""

    run: Kernels
    spans: Spans
    heads: int
    attention: Dropout
    hidden: Dropout
    epsilons: tuple[float, float]


def apply(x_queries: Any, x: Any, parameters: Sequence[Any], settings: Settings) -> Any:
    """The layer's output for the rows `x_queries` [nq, h] of the rows `x` [n, h], float32 tensors.

    parameters: query, key, value and output projection, first norm, the two feed-forward layers,
    second norm: weight [in, out] and bias of each.
    """
    return py_layer(_forward, _backward).apply(x_queries, x, *parameters, settings)


@functools.cache
def py_layer(forward: Any, backward: Any) -> Any:
    """A PyLayer of two functions; a class made when asked for, since its base class is paddle's."""
    from paddle.autograd import PyLayer

    parts = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Fused", (PyLayer,), parts)


def _forward(ctx: Any, xq: Any, x: Any, *given: Any) -> Any:
    import paddle
    from paddle import matmul

    *parameters, s = given
    wq, bq, wk, bk, wv, bv, wo, bo, g1, e1, w1, b1, w2, b2, g2, e2 = parameters
    n, h, run = xq.shape[0], xq.shape[1], s.run
    q, k, v, attended = matmul(xq, wq), matmul(x, wk), matmul(x, wv), paddle.empty_like(xq)
    chances, where = paddle.empty([s.spans.size]), (s.spans.queries, s.spans.keys, s.spans.place)
    sizes = (len(s.spans.place), s.heads, h // s.heads)
    run("attention", q, k, v, bq, bk, bv, *where, chances, attended, *sizes, *s.attention.draw(0))
    z1, y1, stats1 = matmul(attended, wo), paddle.empty_like(xq), paddle.empty([n, 2])
    norms = (n, h, *s.hidden.draw(1), s.epsilons[0])
    run("dropout_add_norm", z1, bo, xq, g1, e1, y1, stats1, *norms)
    inner = matmul(y1, w1)
    active = paddle.empty_like(inner)
    run("bias_gelu", inner, b1, active, *inner.shape)
    z2, y, stats2 = matmul(active, w2), paddle.empty_like(xq), paddle.empty([n, 2])
    norms = (n, h, *s.hidden.draw(2), s.epsilons[1])
    run("dropout_add_norm", z2, b2, y1, g2, e2, y, stats2, *norms)
    ctx.settings, ctx.parameters = s, parameters
    ctx.kept = xq, x, q, k, v, chances, attended, z1, y1, stats1, inner, active, z2, stats2
    return y


def _backward(ctx: Any, dy: Any) -> Any:
    import paddle
    from paddle import matmul

    s, run = ctx.settings, ctx.settings.run
    wq, bq, wk, bk, wv, bv, wo, bo, g1, e1, w1, b1, w2, b2, g2, e2 = ctx.parameters
    xq, x, q, k, v, chances, attended, z1, y1, stats1, inner, active, z2, stats2 = ctx.kept
    ctx.kept = ()
    like, (n, h) = paddle.empty_like, xq.shape
    dy1, dz2, dg2, de2, db2 = like(dy), like(dy), like(g2), like(e2), like(b2)
    dy, norms = dy.contiguous(), (n, h, *s.hidden.draw(2))
    run("dropout_add_norm_grad", dy, z2, stats2, g2, dy1, dz2, dg2, de2, db2, *norms)
    dinner, dw2, db1 = matmul(dz2, w2, transpose_y=True), _of(active, dz2), like(b1)
    run("bias_gelu_grad", inner, dinner, db1, *inner.shape)
    dy1.add_(matmul(dinner, w1, transpose_y=True))
    dw1 = _of(y1, dinner)
    dxq, dz1, dg1, de1, dbo = like(dy), like(dy), like(g1), like(e1), like(bo)
    norms = (n, h, *s.hidden.draw(1))
    run("dropout_add_norm_grad", dy1, z1, stats1, g1, dxq, dz1, dg1, de1, dbo, *norms)
    dattended, dwo = matmul(dz1, wo, transpose_y=True), _of(attended, dz1)
    dq, dk, dv = like(q), like(k), like(v)
    where = s.spans.queries, s.spans.keys, s.spans.place
    sizes = (len(s.spans.place), s.heads, h // s.heads)
    sums = (chances, dq, dk, dv, *sizes, *s.attention.draw(0))
    run("attention_grad", dattended, q, k, v, *where, *sums)
    biases = dbq, dbk, dbv = like(bq), like(bk), like(bv)
    for bias, grad in zip(biases, (dq, dk, dv), strict=True):
        run("column_sums", grad, bias, *grad.shape)
    dxq.add_(matmul(dq, wq, transpose_y=True))
    dx = matmul(dk, wk, transpose_y=True).add_(matmul(dv, wv, transpose_y=True))
    weights = _of(xq, dq), dbq, _of(x, dk), dbk, _of(x, dv), dbv, dwo, dbo
    return dxq, dx, *weights, dg1, de1, dw1, db1, dw2, db2, dg2, de2


def _of(before: Any, grad: Any) -> Any:
    """A weight's gradient: before^T grad."""
    import paddle

    return paddle.matmul(before, grad, transpose_x=True)
