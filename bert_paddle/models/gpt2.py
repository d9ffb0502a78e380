"""GPT-2 (Radford et al. 2019) in Paddle's layers: a decoder of pre-norm layers with causal
attention, whose output layer shares the word embeddings.

    z        = words[ids] + positions            x = dropout(z)
    layer:   x = x + dropout(attention(norm1(x)))
             x = x + dropout(linear2(gelu(linear1(norm2(x)))))
    logits   = norm(x) words^T

The parameters have PaddleNLP's names, so that its GPTForCausalLM loads what is saved here. The
model is computed here, since PaddleNLP's takes sizes and dropout rates of Hugging Face folders for
others and drops the attention mask in generation.
"""

from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import model_state
from bert_paddle.models.gpt2_config import Gpt2Config
from bert_paddle.models.gpt2_weights import POSITION_EMBEDDINGS, WORD_EMBEDDINGS, gpt2_shapes
from bert_paddle.models.kernels import few_rows
from bert_paddle.models.kernels.compile_kernels import Kernels
from bert_paddle.models.weight_names import Tensors

_MASKED = -1e9  # added to the scores of what a token must not attend to


def build_gpt2(config: Gpt2Config, tensors: Tensors) -> Any:
    """A paddle.nn.Layer with these weights, in evaluation mode; `config` is its attribute.

    Raises WeightsError if the memory is not enough.
    """
    from paddle import nn

    h, epsilon = config.hidden_size, config.layer_norm_eps
    try:
        model = nn.Layer()
        model.gpt = gpt = nn.Layer()
        gpt.embeddings, gpt.decoder = nn.Layer(), nn.Layer()
        gpt.embeddings.word_embeddings = nn.Embedding(config.vocab_size, h)
        gpt.embeddings.position_embeddings = nn.Embedding(config.max_position_embeddings, h)
        layers = [_layer(config) for _ in range(config.num_hidden_layers)]
        gpt.decoder.layers = nn.LayerList(layers)
        gpt.decoder.norm = nn.LayerNorm(h, epsilon)
    except MemoryError:
        raise WeightsError(f"not enough memory for a model of these sizes: {config}") from None
    model.config = config
    model_state.set_tensors(model, tensors)
    model.eval()
    return model


def _layer(config: Gpt2Config) -> Any:
    from paddle import nn

    h, layer = config.hidden_size, nn.Layer()
    layer.norm1 = nn.LayerNorm(h, config.layer_norm_eps)
    layer.self_attn = nn.Layer()
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        setattr(layer.self_attn, name, nn.Linear(h, h))
    layer.norm2 = nn.LayerNorm(h, config.layer_norm_eps)
    layer.linear1 = nn.Linear(h, config.intermediate_size)
    layer.linear2 = nn.Linear(config.intermediate_size, h)
    return layer


def initial_tensors(config: Gpt2Config, seed: int) -> Tensors:
    """GPT-2's initial weights: N(0, initializer_range); those of the layers that end on the
    residual path divided by sqrt(2 x layers); biases 0, norms 1. Each tensor depends only on its
    name and `seed`, so it is the same in every process."""
    residual_scale = 1 / np.sqrt(2 * config.num_hidden_layers)
    tensors: Tensors = {}
    for name, shape in gpt2_shapes(config).items():
        if name.endswith("bias"):
            tensors[name] = np.zeros(shape, np.float32)
        elif "norm" in name:
            tensors[name] = np.ones(shape, np.float32)
        else:
            is_residual = ".out_proj." in name or ".linear2." in name
            std = config.initializer_range * (residual_scale if is_residual else 1)
            tensors[name] = model_state.seeded_normal(name, shape, std, seed)
    return tensors


def resize_embeddings(tensors: Tensors, rows: int, std: float, seed: int) -> Tensors:
    """The tensors with `rows` word embeddings: new ones are drawn from N(0, std) by the seed."""
    words = tensors[WORD_EMBEDDINGS]
    if rows <= len(words):
        return tensors
    drawn = model_state.seeded_normal(WORD_EMBEDDINGS, (rows, words.shape[1]), std, seed)
    return tensors | {WORD_EMBEDDINGS: np.concatenate([words, drawn[len(words) :]])}


class KeyValueCache:
    """The keys and values of the tokens so far, one pair of tensors [rows, heads, tokens, head
    size] for each layer. length: the number of tokens. kernels: compute the products of few rows,
    if they are given."""

    def __init__(self, layers: int, kernels: Kernels | None = None):
        self.pairs: list[tuple[Any, Any] | None] = [None] * layers
        self.length = 0
        self.kernels = kernels

    def append(self, layer: int, key: Any, value: Any) -> tuple[Any, Any]:
        """Add the keys and values of new tokens; returns those of all."""
        import paddle

        before = self.pairs[layer]
        if before is not None:
            key, value = (
                paddle.concat([old, new], axis=2)
                for old, new in zip(before, (key, value), strict=True)
            )
        self.pairs[layer] = key, value
        return key, value


def hidden_states(
    model: Any,
    input_ids: Any,
    position_ids: Any = None,
    mask: Any = None,
    cache: KeyValueCache | None = None,
    recompute: bool = False,
) -> Any:
    """The output of the last norm, [rows, length, hidden].

    input_ids, position_ids: int64 tensors [rows, length]; without position_ids, they follow those
    in the cache. mask: float tensor [rows or 1, 1, length, length] that is added to the scores;
    without it, each token attends to itself and all before it. With a cache, its tokens come before
    these, and theirs are added to it.
    recompute: in training, the backward pass computes each layer again, which saves memory.
    """
    import paddle

    config, gpt = model.config, model.gpt
    length, before = input_ids.shape[1], cache.length if cache is not None else 0
    if position_ids is None:
        position_ids = paddle.arange(before, before + length).unsqueeze(0)
    if mask is None:
        mask = causal_mask(length, before)
    words, positions = gpt.embeddings.word_embeddings, gpt.embeddings.position_embeddings
    x = words(input_ids) + positions(position_ids)
    x = _dropout(x, config.embedding_dropout_prob, model.training)
    for number, layer in enumerate(gpt.decoder.layers):
        run = _recomputed if model.training and recompute else _run
        x = run(_layer_output, layer, x, mask, config, model.training, cache, number)
    if cache is not None:
        cache.length += length
    return gpt.decoder.norm(x)


def logits(model: Any, hidden: Any, kernels: Kernels | None = None) -> Any:
    """The output layer: [..., vocab] from the last norm's output [..., hidden]. kernels: as for
    KeyValueCache."""
    import paddle

    words = model.gpt.embeddings.word_embeddings.weight
    if kernels is not None and few_rows.are_few(hidden):
        return few_rows.output_layer(hidden, words, kernels)
    return paddle.matmul(hidden, words, transpose_y=True)


def causal_mask(length: int, before: int = 0) -> Any:
    """A float32 tensor [1, 1, length, before + length]: 0 where a token may attend, else a large
    negative number; None for one token, which may attend to all."""
    import paddle

    if length == 1:
        return None
    blocked = np.triu(np.full((length, before + length), _MASKED, np.float32), before + 1)
    return paddle.to_tensor(blocked[None, None])


def text_mask(text_numbers: np.ndarray) -> Any:
    """The causal mask of rows of several texts, which do not attend to each other: float32 [rows,
    1, length, length]. text_numbers: int [rows, length], the number of the text of each token."""
    import paddle

    length = text_numbers.shape[1]
    allowed = text_numbers[:, :, None] == text_numbers[:, None, :]
    allowed &= np.tril(np.ones((length, length), bool))
    return paddle.to_tensor(np.where(allowed, 0, _MASKED).astype(np.float32)[:, None])


def _run(function: Any, *arguments: Any) -> Any:
    return function(*arguments)


def _recomputed(function: Any, *arguments: Any) -> Any:
    """Call a function whose intermediate results are computed again in the backward pass."""
    from paddle.distributed.fleet.utils import recompute

    return recompute(function, *arguments)


def _layer_output(
    layer: Any,
    x: Any,
    mask: Any,
    config: Gpt2Config,
    training: bool,
    cache: KeyValueCache | None,
    number: int,
) -> Any:
    """The output of one layer, of the shape of its input x."""
    import paddle.nn.functional as F

    attended = _attention(layer.self_attn, layer.norm1(x), mask, config, training, cache, number)
    x = x + _dropout(attended, config.hidden_dropout_prob, training)
    inner = _linear(layer.linear1, layer.norm2(x), cache)
    inner = F.gelu(inner, approximate=config.activation == "gelu_new")
    return x + _dropout(_linear(layer.linear2, inner, cache), config.hidden_dropout_prob, training)


def _linear(layer: Any, x: Any, cache: KeyValueCache | None) -> Any:
    """The output of a paddle.nn.Linear."""
    if cache is not None and cache.kernels is not None and few_rows.are_few(x):
        return few_rows.linear(x, layer.weight, layer.bias, cache.kernels)
    return layer(x)


def _dropout(x: Any, rate: float, training: bool) -> Any:
    """Dropout; without training no operation at all, of which generation has one for each token."""
    import paddle.nn.functional as F

    return F.dropout(x, rate) if training else x


def _attention(
    attention: Any,
    x: Any,
    mask: Any,
    config: Gpt2Config,
    training: bool,
    cache: KeyValueCache | None,
    number: int,
) -> Any:
    import paddle
    import paddle.nn.functional as F

    rows, length, width = x.shape
    heads, rate = config.num_attention_heads, config.attention_probs_dropout_prob

    def split(projected: Any) -> Any:
        return projected.reshape([rows, length, heads, width // heads]).transpose([0, 2, 1, 3])

    query, key, value = (
        split(_linear(projection, x, cache))
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if cache is not None:
        key, value = cache.append(number, key, value)
    scores = paddle.matmul(query * (width // heads) ** -0.5, key, transpose_y=True)
    if mask is not None:
        scores = scores + mask.astype(scores.dtype)
    weights = _dropout(F.softmax(scores), rate, training)
    merged = paddle.matmul(weights, value).transpose([0, 2, 1, 3]).reshape([rows, length, width])
    return _linear(attention.out_proj, merged, cache)


def check_ids(model: Any, ids: np.ndarray) -> None:
    """Raise ValueError for ids or lengths outside the model's embedding tables."""
    config = model.config
    if ids.size and (ids.min() < 0 or ids.max() >= config.vocab_size):
        raise ValueError(f"a token id is outside the model's range, 0 to {config.vocab_size - 1}")
    if ids.shape[-1] > config.max_position_embeddings:
        raise ValueError(
            f"rows of {ids.shape[-1]} tokens are longer than the model's "
            f"{config.max_position_embeddings} positions ({POSITION_EMBEDDINGS})"
        )
