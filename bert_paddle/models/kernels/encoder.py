"""PaddleNLP's BERT encoder, computed on packed rows: no padding, and in the last layer only what is
asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bert_paddle.distributed import collectives
from bert_paddle.models.kernels import compile_kernels, embedding, encoder_layer


def unsupported_reason(bert: Any) -> str:
    """Why this BertModel has to be computed by PaddleNLP's layers; "" when it has not."""
    config = bert.config
    if collectives.on_gpu():
        return "on a GPU Paddle's own are faster"
    if config.hidden_act != "gelu":
        return f"they know GELU, not {config.hidden_act}"
    if bert.fuse:
        return "its query, key and value are one layer"
    if any(str(p.dtype) != "paddle.float32" or p.stop_gradient for p in bert.parameters()):
        return "a weight is not float32, or frozen"
    return compile_kernels.kernels()[1]


def encode(
    bert: Any,
    input_ids: np.ndarray,
    input_mask: np.ndarray,
    segment_ids: np.ndarray,
    wanted: np.ndarray,
) -> Any:
    """The encoder's output for the wanted positions, a tensor [len(wanted), hidden].

    The arrays are [rows, length]; wanted: ascending flat indices into them, of positions that the
    mask keeps, at least one of each row.

    Raises ValueError for an id that the model has no embedding for.
    """
    import paddle

    length = input_ids.shape[1]
    kept = np.flatnonzero(input_mask)
    words, segments = input_ids.reshape(-1)[kept], segment_ids.reshape(-1)[kept]
    layers, heads = bert.encoder.layers, bert.config.num_attention_heads
    _check(words, bert.embeddings.word_embeddings, "token id")
    _check(segments, bert.embeddings.token_type_embeddings, "segment id")
    if length > bert.embeddings.position_embeddings.weight.shape[0]:
        raise ValueError(f"rows of {length} tokens are longer than the model's positions")
    keys = np.count_nonzero(input_mask, axis=1).astype(np.int64)
    queries = np.bincount(wanted // length, minlength=len(input_ids)).astype(np.int64)
    draws = [len(layers) + 1]
    seeds = paddle.randint(0, 2**31 - 1, draws).tolist() if bert.training else [0] * draws[0]
    dropout = encoder_layer.Dropout(bert.embeddings.dropout.p if bert.training else 0.0, seeds[-1])
    x = embedding.apply(bert.embeddings, (words, kept % length, segments), _run(), dropout)
    full, last = encoder_layer.spans(keys, keys, heads), encoder_layer.spans(queries, keys, heads)
    for number, one in enumerate(layers):
        is_last = number == len(layers) - 1
        rows = paddle.to_tensor(np.searchsorted(kept, wanted)) if is_last else None
        settings = _settings(one, last if is_last else full, heads, seeds[number])
        asked = paddle.gather(x, rows) if is_last else x
        x = encoder_layer.apply(asked, x, _parameters(one), settings)
    return x


def _check(ids: np.ndarray, table: Any, what: str) -> None:
    """The kernels would read, and write, beside the table."""
    if ids.min() < 0 or ids.max() >= table.weight.shape[0]:
        wrong = ids.min() if ids.min() < 0 else ids.max()
        raise ValueError(f"{what} {wrong} is not one of the model's {table.weight.shape[0]}")


def _settings(
    one: Any, spans: encoder_layer.Spans, heads: int, seed: int
) -> encoder_layer.Settings:
    attention = one.self_attn.dropout if one.training else 0.0
    hidden = one.dropout1.p if one.training else 0.0
    return encoder_layer.Settings(
        _run(),
        spans,
        heads,
        encoder_layer.Dropout(attention, seed),
        encoder_layer.Dropout(hidden, seed),
        (one.norm1._epsilon, one.norm2._epsilon),
    )


def _run() -> compile_kernels.Kernels:
    run, why = compile_kernels.kernels()
    assert run is not None, why  # `whats_against` was asked
    return run


def _parameters(one: Any) -> Sequence[Any]:
    attention = one.self_attn
    projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj)
    parts = (*projections, one.norm1, one.linear1, one.linear2, one.norm2)
    return [tensor for part in parts for tensor in (part.weight, part.bias)]
