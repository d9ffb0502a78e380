"""Computes PaddleNLP's BERT encoder without padding: all unmasked tokens of a batch are packed into
one array, and the last layer computes only the positions that the caller needs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_paddle.common.errors import RunError
from bert_paddle.distributed import collectives
from bert_paddle.models.kernels import compile_kernels, embedding, encoder_layer
from bert_paddle.models.kernels.products import FLOAT32, Products, float32_unsupported_reason


def unsupported_reason(bert: Any) -> str:
    """Why our kernels cannot compute this BertModel; "" if they can."""
    config = bert.config
    if collectives.on_gpu():
        return "on a GPU Paddle's own kernels are faster"
    if not collectives.on_cpu():
        return "they are for the CPU"
    if config.hidden_act != "gelu":
        return f"they support only the activation gelu, not {config.hidden_act}"
    if bert.fuse:
        return "query, key and value are fused into one layer"
    # The pooler is not computed by them.
    parameters = (*bert.embeddings.parameters(), *bert.encoder.parameters())
    if any(str(p.dtype) != "paddle.float32" for p in parameters):
        return "a weight is not float32"
    return compile_kernels.load_kernels()[1] or float32_unsupported_reason()


def encode(
    bert: Any,
    input_ids: np.ndarray,
    input_mask: np.ndarray,
    segment_ids: np.ndarray,
    positions: np.ndarray,
    products: Products = FLOAT32,
) -> Any:
    """The encoder's output at `positions`, a float32 tensor [len(positions), hidden].

    positions: ascending flat indices of unmasked tokens, at least one in each row of the other
    arrays, which are [rows, length].

    Raises ValueError for ids or lengths outside the model's embedding tables.
    """
    import paddle

    length = input_ids.shape[1]
    unmasked = np.flatnonzero(input_mask)
    ids, segments = input_ids.reshape(-1)[unmasked], segment_ids.reshape(-1)[unmasked]
    layers, heads = bert.encoder.layers, bert.config.num_attention_heads
    _check_ids(ids, bert.embeddings.word_embeddings, "token id")
    _check_ids(segments, bert.embeddings.token_type_embeddings, "segment id")
    limit = bert.embeddings.position_embeddings.weight.shape[0]
    if length > limit:
        raise ValueError(f"rows of {length} tokens are longer than the model's {limit} positions")
    key_counts = np.count_nonzero(input_mask, axis=1).astype(np.int64)
    query_counts = np.bincount(positions // length, minlength=len(input_ids)).astype(np.int64)
    n_seeds = len(layers) + 1  # one for each layer, and one for the embeddings
    seeds = paddle.randint(0, 2**31 - 1, [n_seeds]).tolist() if bert.training else [0] * n_seeds
    dropout = encoder_layer.Dropout(bert.embeddings.dropout.p if bert.training else 0.0, seeds[-1])
    kernels = kernels_for(products)
    x = embedding.apply(bert.embeddings, (ids, unmasked % length, segments), kernels, dropout)
    spans = encoder_layer.make_spans(key_counts, key_counts, heads)
    last_spans = encoder_layer.make_spans(query_counts, key_counts, heads)
    x_factor, *weights = products.factors(kernels, [x, *_factors(layers)])
    for index, layer in enumerate(layers):
        x_queries, queries_factor = x, x_factor
        if index == len(layers) - 1:
            packed_positions = paddle.to_tensor(np.searchsorted(unmasked, positions))
            x_queries, spans = paddle.gather(x, packed_positions), last_spans
            [queries_factor] = products.factors(kernels, [x_queries])
        output: list[Any] = []
        settings = _layer_settings(
            layer,
            products,
            (queries_factor, x_factor, weights[6 * index : 6 * index + 6], output),
            (spans, heads, seeds[index]),
        )
        x = encoder_layer.apply(x_queries, x, _parameters(layer), settings)
        [x_factor] = output
    return x


def _check_ids(ids: np.ndarray, table: Any, id_name: str) -> None:
    """Raise ValueError for an id outside the embedding table: the kernels do not check bounds."""
    size = table.weight.shape[0]
    if ids.min() < 0 or ids.max() >= size:
        invalid = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"{id_name} {invalid} is outside the model's range, 0 to {size - 1}")


def _layer_settings(
    layer: Any, products: Products, factors: tuple[Any, Any, Any, list[Any]], attention: Any
) -> encoder_layer.Settings:
    """factors, attention: the fields of Settings from x_queries on, and from spans on, with the
    dropouts' seed."""
    spans, heads, seed = attention
    attention_rate = layer.self_attn.dropout if layer.training else 0.0
    hidden_rate = layer.dropout1.p if layer.training else 0.0
    return encoder_layer.Settings(
        kernels_for(products),
        products,
        *factors,
        spans,
        heads,
        encoder_layer.Dropout(attention_rate, seed),
        encoder_layer.Dropout(hidden_rate, seed),
        (layer.norm1._epsilon, layer.norm2._epsilon),
    )


def kernels_for(products: Products) -> compile_kernels.Kernels:
    """The kernels that store what these products take. Raises RunError without them: only those
    for float32 were loaded when the kernels were chosen (`unsupported_reason`)."""
    kernels, reason = compile_kernels.load_kernels(products.name)
    if kernels is None:
        raise RunError(f"{products.name}: {reason}")
    return kernels


def _parameters(layer: Any) -> Sequence[Any]:
    """A layer's weights and biases in the order that `encoder_layer.apply` expects."""
    attention = layer.self_attn
    projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    parts = (*projections, layer.norm1, layer.linear1, layer.linear2, layer.norm2)
    return [tensor for part in parts for tensor in (part.weight, part.bias)]


def _factors(layers: Any) -> list[Any]:
    """The six weights of each layer that are factors of products, in the order of Settings."""
    return [
        part.weight
        for layer in layers
        for part in (
            layer.self_attn.q_proj,
            layer.self_attn.k_proj,
            layer.self_attn.v_proj,
            layer.self_attn.out_proj,
            layer.linear1,
            layer.linear2,
        )
    ]
