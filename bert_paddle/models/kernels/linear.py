"""A linear layer, Y = X W^T + b, forward and backward, with any kind of products."""

from typing import Any

from bert_paddle.models.kernels.compile_kernels import Kernels
from bert_paddle.models.kernels.encoder_layer import make_py_layer
from bert_paddle.models.kernels.products import Products


def apply(x: Any, weight: Any, bias: Any, kernels: Kernels, products: Products) -> Any:
    """Y [n, out], for x [n, in], weight [out, in] and bias [out], all float32."""
    return make_py_layer(_forward, _backward).apply(x, weight, bias, kernels, products)


def _forward(ctx: Any, x: Any, weight: Any, bias: Any, kernels: Kernels, products: Products) -> Any:
    import paddle

    x_factor, weight_factor = products.factors(kernels, [x, weight])
    ctx.saved = kernels, products, x_factor, weight_factor
    y = paddle.empty([x.shape[0], weight.shape[0]])
    return products.multiply(x_factor, weight_factor, y, transpose_b=True).add_(bias)


def _backward(ctx: Any, dy: Any) -> tuple[Any, Any, Any]:
    import paddle

    kernels, products, x, weight = ctx.saved
    ctx.saved = ()
    [grad] = products.factors(kernels, [dy])
    dx = products.multiply(grad, weight, paddle.empty(list(x.shape)))
    dweight = products.multiply(grad, x, paddle.empty(list(weight.shape)), transpose_a=True)
    return dx, dweight, dy.sum(0)
