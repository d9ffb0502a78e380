"""One layer of BERT's encoder (Vaswani et al. 2017, arXiv:1706.03762, post-norm, with the GELU of
Hendrycks and Gimpel 2016, arXiv:1606.08415), forward and backward.

    q, k, v = Xq Wq + bq, X Wk + bk, X Wv + bv
    P       = softmax(q k^T / sqrt(d)), per head;   A = dropout(P) v
    Y1      = norm(dropout(A Wo + bo) + Xq)
    Y       = norm(dropout(gelu(Y1 W1 + b1) W2 + b2) + Y1)

X: the layer's input; Xq: those of its rows whose output is computed; d: the size of a head.
products.py computes the matrix products, the C files everything between them.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_paddle.models.kernels.compile_kernels import Kernels
from bert_paddle.models.kernels.products import Products, empty

_KEY_MULTIPLE = 16  # attention.c pads the keys of a sequence to a multiple of this, its WIDE


@dataclass(frozen=True)
class Spans:
    """Where each sequence begins in the packed rows and in a flat array of attention probabilities.

    queries, keys: int64 [sequences + 1], the first row of each sequence, then the number of rows.
    probabilities: int64 [sequences], offsets in the flat array. size: the length of that array.
    """

    queries: np.ndarray
    keys: np.ndarray
    probabilities: np.ndarray
    size: int

    @property
    def offsets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The arrays in the order that the attention kernels expect."""
        return self.queries, self.keys, self.probabilities


def make_spans(query_counts: np.ndarray, key_counts: np.ndarray, heads: int) -> Spans:
    """The spans of sequences with these numbers of queries and keys, int64 [sequences]."""
    padded_keys = -(-key_counts // _KEY_MULTIPLE) * _KEY_MULTIPLE  # -(-a // b): a / b rounded up
    sizes = heads * query_counts * padded_keys
    ends = np.cumsum(sizes)
    return Spans(_starts(query_counts), _starts(key_counts), ends - sizes, int(ends[-1]))


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@dataclass(frozen=True)
class Dropout:
    """A dropout rate of one layer, and the layer's random seed."""

    rate: float
    seed: int

    def arguments(self, index: int) -> tuple[int, int, float]:
        """The kernels' arguments seed, threshold and scale. index: which dropout of the layer."""
        # Multiplying by 2^32 / golden ratio gives the dropouts of a layer distant seeds.
        seed = (self.seed + index * 0x9E3779B1) & 0xFFFFFFFF
        scale = 1.0 / (1.0 - self.rate) if self.rate < 1.0 else 0.0
        return seed, min(int(self.rate * 2**32), 2**32 - 1), scale


@dataclass(frozen=True)
class Settings:
    """A layer's inputs other than tensors that have gradients.

    x_queries, x, weights: the layer's inputs, and the weights of its query, key, value and output
    projections and of its two feed-forward layers, as factors of products.
    output: gets the layer's output as a factor.
    """

    kernels: Kernels
    products: Products
    x_queries: Any
    x: Any
    weights: Sequence[Any]
    output: list[Any]
    spans: Spans
    heads: int
    attention_dropout: Dropout
    hidden_dropout: Dropout
    epsilons: tuple[float, float]  # of the two norms


def apply(x_queries: Any, x: Any, parameters: Sequence[Any], settings: Settings) -> Any:
    """The layer's output [nq, h] for `x_queries` [nq, h] attending to `x` [n, h], float32 tensors.

    nq, n: the packed rows to compute, and all packed rows. parameters: weight and bias of the
    query, key, value and output projections, the first norm, the two feed-forward layers and the
    second norm, in this order; weights of projections and feed-forward layers are [in, out].
    """
    return make_py_layer(_forward, _backward).apply(x_queries, x, *parameters, settings)


@functools.cache
def make_py_layer(forward: Any, backward: Any) -> Any:
    """A PyLayer class with these methods, built on demand so that the import needs no paddle."""
    from paddle.autograd import PyLayer

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Fused", (PyLayer,), methods)


def _forward(ctx: Any, xq: Any, x: Any, *inputs: Any) -> Any:
    """Names are those of the formulas above; g, e: a norm's weight and bias; z1, z2: the inputs of
    the norms; stats1, stats2: their means and 1 / standard deviations; y1_, y_: y1 and y as factors
    of products; inner: y1 W1 + b1. All but y are arrays of numpy."""
    import paddle

    *parameters, s = inputs
    wq, wk, wv, wo, w1, w2 = s.weights
    _, bq, _, bk, _, bv, _, bo, g1, e1, _, b1, _, b2, g2, e2 = parameters
    (n, h), keys, width, run = xq.shape, x.shape, w1.shape[1], s.kernels.run
    multiply, storage, factor = s.products.multiply, s.products.storage, s.products.empty
    xq_wq = multiply(s.x_queries, wq, empty((n, h)))
    x_wk, x_wv = multiply(s.x, wk, empty(keys)), multiply(s.x, wv, empty(keys))
    q, k, v, context = storage(xq_wq), storage(x_wk), storage(x_wv), factor((n, h))
    probs = factor((s.spans.size,))
    sizes = (len(s.spans.probabilities), s.heads, h // s.heads, *s.attention_dropout.arguments(0))
    biased = xq_wq, x_wk, x_wv, bq, bk, bv, q, k, v
    run("attention", *biased, *s.spans.offsets, probs, context, *sizes)
    z1, y1, stats1 = multiply(context, wo, empty((n, h))), empty((n, h)), empty((n, 2))
    y1_, norms = storage(y1), (n, h, *s.hidden_dropout.arguments(1), s.epsilons[0])
    run("dropout_add_norm", z1, bo, xq, g1, e1, y1, y1_, stats1, *norms)
    y1_w1 = multiply(y1_, w1, empty((n, width)))
    inner, active = storage(y1_w1), factor((n, width))
    run("bias_gelu", y1_w1, b1, inner, active, n, width)
    z2, y, stats2 = multiply(active, w2, empty((n, h))), paddle.empty([n, h]), empty((n, 2))
    y_, norms = storage(y), (n, h, *s.hidden_dropout.arguments(2), s.epsilons[1])
    run("dropout_add_norm", z2, b2, y1, g2, e2, y, y_, stats2, *norms)
    s.output.append(y_)
    ctx.settings, ctx.parameters = s, parameters
    # What needs a gradient: the input, unless all before it is frozen, and the parameters.
    ctx.needs_dx = not (xq.stop_gradient and x.stop_gradient)
    ctx.trained = [not parameter.stop_gradient for parameter in parameters]
    ctx.saved = q, k, v, probs, context, z1, y1_, stats1, inner, active, z2, stats2
    return y


def _backward(ctx: Any, dy: Any) -> Any:
    """The gradients of `_forward`'s tensor inputs, in their order, None for those that need none;
    dx is the gradient of x. These are tensors, all others arrays of numpy."""
    from paddle import empty as new
    from paddle import empty_like as like

    s, products, run = ctx.settings, ctx.settings.products, ctx.settings.kernels.run
    multiply, factor = products.multiply, products.empty
    wq, wk, wv, wo, w1, w2 = s.weights
    # Weights in capitals: where their gradients go, unlike the factors.
    Wq, bq, Wk, bk, Wv, bv, Wo, bo, g1, e1, W1, b1, W2, b2, g2, e2 = ctx.parameters
    q, k, v, probs, context, z1, y1_, stats1, inner, active, z2, stats2 = ctx.saved
    ctx.saved = ()

    def weight_grad(weight: Any, x: Any, grad: Any) -> Any:
        """The gradient of W in x W: x^T grad; None in a frozen layer."""
        return multiply(x, grad, like(weight), transpose_a=True) if any(ctx.trained) else None

    dy, (n, h) = dy.contiguous(), dy.shape
    dy1, dz2, dg2, de2, db2 = empty((n, h)), factor((n, h)), like(g2), like(e2), like(b2)
    norms = (n, h, *s.hidden_dropout.arguments(2))
    run("dropout_add_norm_grad", dy, z2, stats2, g2, dy1, dz2, dg2, de2, db2, *norms)
    dactive, db1 = multiply(dz2, w2, empty(inner.shape), transpose_b=True), like(b1)
    dw2, dinner = weight_grad(W2, active, dz2), products.storage(dactive)
    run("bias_gelu_grad", inner, dactive, dinner, db1, *inner.shape)
    multiply(dinner, w1, dy1, transpose_b=True, add=True)
    dw1 = weight_grad(W1, y1_, dinner)
    dxq, dz1, dg1, de1, dbo = like(dy), factor((n, h)), like(g1), like(e1), like(bo)
    norms = (n, h, *s.hidden_dropout.arguments(1))
    run("dropout_add_norm_grad", dy1, z1, stats1, g1, dxq, dz1, dg1, de1, dbo, *norms)
    dcontext, dwo = multiply(dz1, wo, dy1, transpose_b=True), weight_grad(Wo, context, dz1)
    dq, dk, dv = factor(q.shape), factor(k.shape), factor(v.shape)
    sizes = (len(s.spans.probabilities), s.heads, h // s.heads, *s.attention_dropout.arguments(0))
    run("attention_grad", dcontext, q, k, v, *s.spans.offsets, probs, dq, dk, dv, *sizes)
    biases = dbq, dbk, dbv = like(bq), like(bk), like(bv)
    for bias, grad in zip(biases, (dq, dk, dv), strict=True):
        run("column_sums", grad, bias, *grad.shape)
    dwq = weight_grad(Wq, s.x_queries, dq)
    dwk, dwv = weight_grad(Wk, s.x, dk), weight_grad(Wv, s.x, dv)
    gradients = dwq, dbq, dwk, dbk, dwv, dbv, dwo, dbo, dg1, de1, dw1, db1, dw2, db2, dg2, de2
    trained = [g if needed else None for g, needed in zip(gradients, ctx.trained, strict=True)]
    if not ctx.needs_dx:
        return None, None, *trained
    multiply(dq, wq, dxq, transpose_b=True, add=True)
    dx = multiply(dk, wk, new(k.shape), transpose_b=True)
    multiply(dv, wv, dx, transpose_b=True, add=True)
    return dxq, dx, *trained
