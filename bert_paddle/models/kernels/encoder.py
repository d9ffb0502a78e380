"""PaddleNLP's BERT encoder computed on packed rows: without padding, and in the last layer only the
positions that the caller needs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_paddle.distributed import collectives
from bert_paddle.models.kernels import compile_kernels, embedding, encoder_layer


def unsupported_reason(bert: Any) -> str:
    """Why our kernels cannot compute this BertModel; "" when they can."""
    config = bert.config
    if collectives.on_gpu():
        return "on a GPU Paddle's own kernels are faster"
    if config.hidden_act != "gelu":
        return f"they implement GELU, not {config.hidden_act}"
    if bert.fuse:
        return "query, key and value are fused into one layer"
    if any(str(p.dtype) != "paddle.float32" or p.stop_gradient for p in bert.parameters()):
        return "a weight is frozen or not float32"
    return compile_kernels.load_kernels()[1]


def encode(
    bert: Any,
    input_ids: np.ndarray,
    input_mask: np.ndarray,
    segment_ids: np.ndarray,
    positions: np.ndarray,
) -> Any:
    """The encoder's output at `positions`, a tensor [len(positions), hidden].

    The other arrays are [rows, length]; positions: ascending flat indices into them, unmasked, at
    least one in each row.

    Raises ValueError for an id that the model has no embedding for.
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
    keys = np.count_nonzero(input_mask, axis=1).astype(np.int64)
    queries = np.bincount(positions // length, minlength=len(input_ids)).astype(np.int64)
    count = len(layers) + 1  # a seed for each layer, and one for the embeddings
    seeds = paddle.randint(0, 2**31 - 1, [count]).tolist() if bert.training else [0] * count
    dropout = encoder_layer.Dropout(bert.embeddings.dropout.p if bert.training else 0.0, seeds[-1])
    x = embedding.apply(bert.embeddings, (ids, unmasked % length, segments), _kernels(), dropout)
    full = encoder_layer.make_spans(keys, keys, heads)
    last = encoder_layer.make_spans(queries, keys, heads)
    for index, layer in enumerate(layers):
        is_last = index == len(layers) - 1
        rows = paddle.to_tensor(np.searchsorted(unmasked, positions)) if is_last else None
        settings = _settings(layer, last if is_last else full, heads, seeds[index])
        x_queries = paddle.gather(x, rows) if is_last else x
        x = encoder_layer.apply(x_queries, x, _parameters(layer), settings)
    return x


def _check_ids(ids: np.ndarray, table: Any, what: str) -> None:
    """The kernels do not check bounds: such an id would read and write outside the table."""
    if ids.min() < 0 or ids.max() >= table.weight.shape[0]:
        invalid = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"{what} {invalid} is not one of the model's {table.weight.shape[0]}")


def _settings(
    layer: Any, spans: encoder_layer.Spans, heads: int, seed: int
) -> encoder_layer.Settings:
    attention = layer.self_attn.dropout if layer.training else 0.0
    hidden = layer.dropout1.p if layer.training else 0.0
    return encoder_layer.Settings(
        _kernels(),
        spans,
        heads,
        encoder_layer.Dropout(attention, seed),
        encoder_layer.Dropout(hidden, seed),
        (layer.norm1._epsilon, layer.norm2._epsilon),
    )


def _kernels() -> compile_kernels.Kernels:
    kernels, reason = compile_kernels.load_kernels()
    assert kernels is not None, reason  # `unsupported_reason` has checked
    return kernels


def _parameters(layer: Any) -> Sequence[Any]:
    attention = layer.self_attn
    projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    parts = (*projections, layer.norm1, layer.linear1, layer.linear2, layer.norm2)
    return [tensor for part in parts for tensor in (part.weight, part.bias)]
