"""Choosing the next token, and generating texts with a cache of keys and values.

Random numbers come from a generator that is passed, never from Paddle's: sampling changes nothing
in a training that goes on. The same random numbers give the same tokens for a text in a batch and
alone, up to rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_paddle.common.errors import RunError, UserError
from bert_paddle.models import gpt2
from bert_paddle.models.kernels import few_rows


@dataclass(frozen=True)
class SamplingSettings:
    """How the next token is chosen.

    max_new_tokens: at most, without the prompt. top_k: only among so many of the most probable
    tokens, 0: among all. top_p: only among the fewest most probable tokens that have at least this
    probability together. temperature: divides the logits; 0: the most probable token is taken.
    repetition_penalty: tokens that are in the text have their logits divided by it if they are
    positive, else multiplied (Keskar et al. 2019); 1: none.
    """

    max_new_tokens: int = 200
    top_k: int = 50
    top_p: float = 0.95
    temperature: float = 1.0
    repetition_penalty: float = 1.0


def generate(
    model: Any,
    prompt: Sequence[int],
    rngs: Sequence[np.random.Generator],
    settings: SamplingSettings,
    eos_id: int | None,
    vocab_size: int | None = None,
) -> Iterator[list[int | None]]:
    """Continue a prompt, once for each random generator; yields the next token of every text, None
    for those that have ended. Ends when all have, after eos or `max_new_tokens` tokens.

    model: in evaluation mode. prompt: at least one token. vocab_size: of the tokenizer, if the
    model has more embeddings: only its tokens are chosen. Raises UserError if the tokens would be
    more than the model's positions, RunError if logits are not finite.
    """
    import paddle

    check_length(len(prompt), settings.max_new_tokens, model.config.max_position_embeddings)
    kernels = few_rows.find_kernels(model)
    cache = gpt2.KeyValueCache(model.config.num_hidden_layers, kernels)
    texts = [list(prompt) for _ in rngs]
    tokens = np.array(texts, np.int64)
    ended = [False] * len(rngs)
    for number in range(settings.max_new_tokens):
        with paddle.no_grad():
            hidden = gpt2.hidden_states(model, paddle.to_tensor(tokens), cache=cache)
            logits = gpt2.logits(model, hidden[:, -1], kernels).astype("float32").numpy()
        if not np.isfinite(logits).all():
            raise RunError(
                "the model's logits are not finite: its weights are damaged or its training "
                "diverged; use another checkpoint"
            )
        logits = logits[:, :vocab_size]
        chosen: list[int | None] = []
        for i, (row, rng) in enumerate(zip(logits, rngs, strict=True)):
            token = None if ended[i] else choose_token(row, texts[i], rng, settings)
            chosen.append(token)
            if token is not None:
                texts[i].append(token)
                ended[i] = token == eos_id
        yield chosen
        if all(ended) or number + 1 == settings.max_new_tokens:
            return
        tokens = np.array([[token or 0] for token in chosen], np.int64)


def check_length(prompt: int, new: int, positions: int) -> None:
    """Raise UserError if a prompt and the tokens to come are more than the model's positions."""
    if prompt + new > positions:
        raise UserError(
            f"the prompt has {prompt} tokens, and {new} new ones are asked for, but the model has "
            f"{positions} positions: give a shorter prompt or fewer new tokens"
        )


def choose_token(
    logits: np.ndarray, text: Sequence[int], rng: np.random.Generator, settings: SamplingSettings
) -> int:
    """The next token after `text`, from its logits, float32 [vocab]. Each call takes one random
    number, but none at temperature 0."""
    scores = logits.astype(np.float64)
    if settings.repetition_penalty != 1:
        seen = np.unique(np.asarray(text, np.int64))
        seen = seen[seen < len(scores)]
        penalty = settings.repetition_penalty
        scores[seen] = np.where(scores[seen] > 0, scores[seen] / penalty, scores[seen] * penalty)
    if settings.temperature == 0:
        return int(scores.argmax())
    scores /= settings.temperature
    kept: np.ndarray = np.arange(len(scores))
    if 0 < settings.top_k < len(scores):
        # All tokens that are as probable as the k-th are kept, as in transformers.
        threshold = np.partition(scores, -settings.top_k)[-settings.top_k]
        kept = np.flatnonzero(scores >= threshold)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    shares = np.exp(scores[kept] - scores[kept[0]])
    shares /= shares.sum()
    cumulative = np.cumsum(shares)
    if settings.top_p < 1:
        count = int(np.searchsorted(cumulative, settings.top_p)) + 1
        kept, cumulative = kept[:count], cumulative[:count]
    place = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
    return int(kept[min(place, len(kept) - 1)])
