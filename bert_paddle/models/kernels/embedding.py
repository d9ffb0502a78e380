"""BERT's embeddings of packed rows, forward and backward.

Z = words[input_ids] + positions[position_ids] + segments[segment_ids];   Y = dropout(norm(Z))

words, positions, segments: the embedding tables; g, e: the norm's weight and bias; stats: its means
and 1 / standard deviations.
"""

from typing import Any

import numpy as np

from bert_paddle.models.kernels.compile_kernels import Kernels
from bert_paddle.models.kernels.encoder_layer import Dropout, make_py_layer

Ids = tuple[np.ndarray, np.ndarray, np.ndarray]  # input, position and segment ids: int64 [n] each


def apply(embeddings: Any, ids: Ids, kernels: Kernels, dropout: Dropout) -> Any:
    """Y, a tensor [n, hidden]. embeddings: PaddleNLP's BertEmbeddings, which has the weights."""
    norm = embeddings.layer_norm
    tables = (embeddings.word_embeddings, embeddings.position_embeddings)
    weights = [table.weight for table in (*tables, embeddings.token_type_embeddings, norm)]
    contiguous = tuple(np.ascontiguousarray(part, np.int64) for part in ids)
    settings = contiguous, kernels, dropout.arguments(0), norm._epsilon
    return make_py_layer(_forward, _backward).apply(*weights, norm.bias, settings)


def _forward(ctx: Any, words: Any, positions: Any, segments: Any, g: Any, e: Any, s: Any) -> Any:
    import paddle

    ids, kernels, dropout, epsilon = s
    n, h = len(ids[0]), words.shape[1]
    z, y, stats = paddle.empty([n, h]), paddle.empty([n, h]), paddle.empty([n, 2])
    kernels.run(
        "embed", *ids, words, positions, segments, g, e, z, y, stats, n, h, *dropout, epsilon
    )
    ctx.saved = s, z, stats, (words, positions, segments, g, e)
    return y


def _backward(ctx: Any, dy: Any) -> Any:
    import paddle

    (ids, kernels, dropout, _), z, stats, weights = ctx.saved
    ctx.saved = ()
    gradients = [paddle.empty_like(weight) for weight in weights]
    table_sizes = [table.shape[0] for table in weights[:3]]
    inputs = (dy.contiguous(), z, stats, weights[3], *ids, paddle.empty_like(z))
    kernels.run("embed_grad", *inputs, *gradients, *table_sizes, *z.shape, *dropout)
    return tuple(
        None if weight.stop_gradient else gradient
        for weight, gradient in zip(weights, gradients, strict=True)
    )
