"""BERT's embeddings of packed rows, forward and backward, written out.

Z = words[ids] + positions[places] + segments[kinds];   Y = dropout(norm(Z))
"""

from typing import Any

import numpy as np

from bert_paddle.models.kernels.compile_kernels import Kernels
from bert_paddle.models.kernels.encoder_layer import Dropout, py_layer

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # words, positions, segments: int64 [n] each


def apply(embeddings: Any, rows: Rows, run: Kernels, dropout: Dropout) -> Any:
    """Y, a tensor [n, hidden], by the weights of a BertEmbeddings."""
    norm = embeddings.layer_norm
    tables = (embeddings.word_embeddings, embeddings.position_embeddings)
    weights = [table.weight for table in (*tables, embeddings.token_type_embeddings, norm)]
    contiguous = tuple(np.ascontiguousarray(one, np.int64) for one in rows)
    settings = contiguous, run, dropout.draw(0), norm._epsilon
    return py_layer(_forward, _backward).apply(*weights, norm.bias, settings)


def _forward(ctx: Any, words: Any, positions: Any, segments: Any, g: Any, e: Any, s: Any) -> Any:
    import paddle

    rows, run, draw, epsilon = s
    n, h = len(rows[0]), words.shape[1]
    z, y, stats = paddle.empty([n, h]), paddle.empty([n, h]), paddle.empty([n, 2])
    run("embed", *rows, words, positions, segments, g, e, z, y, stats, n, h, *draw, epsilon)
    ctx.kept = s, z, stats, (words, positions, segments, g, e)
    return y


def _backward(ctx: Any, dy: Any) -> Any:
    import paddle

    (rows, run, draw, _), z, stats, weights = ctx.kept
    ctx.kept = ()
    gradients, sizes = [paddle.empty_like(one) for one in weights], [w.shape[0] for w in weights]
    before = (dy.contiguous(), z, stats, weights[3], *rows, paddle.empty_like(z))
    run("embed_grad", *before, *gradients, *sizes[:3], *z.shape, *draw)
    return tuple(gradients)
