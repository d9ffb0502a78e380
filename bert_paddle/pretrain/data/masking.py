"""BERT's masking rule, for rows as they are created and as they are read. Does not import paddle.

    [CLS] the cat [MASK] [SEP] it did [SEP] [PAD] [PAD]     masked positions: 3 (sat), 6 (did)

Of the masked word pieces 80 % become [MASK], 10 % a random word piece, 10 % stay (Devlin et al.,
2019, 3.1). Everything is vectorized over rows; pass a few thousand at most, so that the arrays
fit in the CPU cache.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.tokenizer import SPECIAL_TOKENS
from bert_paddle.pretrain.data.row_checks import RowArrays

# Of a uniform draw: below the first [MASK], else below the second a random word piece, else kept.
_MASK_BELOW, _RANDOM_BELOW = 0.8, 0.9
_UNUSED = re.compile(r"\[unused\d+\]")
_POSITION_BITS = 12  # low bits of a sort key, which hold the column
_LAST = np.int32(2**31 - 1)  # sorts after all keys
MAX_SEQ_LENGTH = 2**_POSITION_BITS - 1


@dataclass(frozen=True)
class MaskingConfig:
    """How rows are masked. prob: share of a row's tokens to predict. replacement_ids: int32, the
    ids that random replacements are drawn from."""

    max_predictions: int
    prob: float
    whole_words: bool
    mask_id: int
    replacement_ids: np.ndarray


class Draws(Protocol):
    """The random numbers for the rows of one call of `mask_tokens`."""

    def sort_bits(self, count: int, length: int) -> np.ndarray:
        """int32 [count, length], uniform in [0, 2^31)."""

    def outcomes(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """float32 [n], uniform in [0, 1), for n tokens by their row and column."""

    def choices(self, row: np.ndarray, column: np.ndarray, size: int) -> np.ndarray:
        """Integers [n], uniform in [0, size), for n tokens by their row and column."""


class SequentialDraws:
    """The next numbers of a generator, as shards are created: they depend on all earlier rows."""

    def __init__(self, rng: np.random.Generator):
        self._rng = rng

    def sort_bits(self, count: int, length: int) -> np.ndarray:  # noqa: D102
        return self._rng.integers(0, 2**31, (count, length), np.int32)

    def outcomes(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:  # noqa: D102
        return self._rng.random(len(row), np.float32)

    def choices(self, row: np.ndarray, column: np.ndarray, size: int) -> np.ndarray:  # noqa: D102
        return self._rng.integers(size, size=len(row))


def replacement_ids(vocab: Sequence[str]) -> np.ndarray:
    """int32: the ids that may replace masked tokens: all but special tokens and [unusedN].

    Raises WeightsError when the vocabulary has none.
    """
    ids = [
        i
        for i, token in enumerate(vocab)
        if token not in SPECIAL_TOKENS and not _UNUSED.fullmatch(token)
    ]
    if not ids:
        raise WeightsError(
            f"the vocabulary of {len(vocab)} entries has special tokens only: give one with words"
        )
    return np.array(ids, np.int32)


def mask_tokens(
    rows: RowArrays,
    maskable: np.ndarray,
    starts: np.ndarray,
    config: MaskingConfig,
    draws: Draws,
) -> tuple[int, int, int]:
    """Choose word pieces of each row, replace them in rows["input_ids"] in place, and add
    masked_lm_positions and masked_lm_ids, int32 [N, P] with P = max_predictions, padded with zeros.

    maskable, starts: bool [N, length], whether a token may be chosen (no special tokens), and
    whether it begins a word; starts is used with whole_words only. The number of predictions is
    `prob` times the tokens of the row ([CLS] and [SEP] included), at least 1 and at most P; fewer
    with whole_words, where a word that would exceed it is skipped. Returns how many word pieces
    were replaced by [MASK], replaced at random, and kept.
    """
    ids = rows["input_ids"]
    count, length = ids.shape
    num_to_predict = np.rint(config.prob * rows["input_mask"].sum(axis=1)).astype(np.int64)
    num_to_predict = np.clip(num_to_predict, 1, config.max_predictions)
    keys = _sort_keys(draws.sort_bits(count, length))
    if config.whole_words:
        begins = starts & maskable
        # The first word piece of A, and of B (after [SEP]), begins a word even if truncation has
        # removed the beginning of that word.
        begins[:, 1] = maskable[:, 1]
        begins[:, 1:] |= maskable[:, 1:] & ~maskable[:, :-1]
        positions = _choose_whole_words(
            begins, maskable, num_to_predict, keys, config.max_predictions
        )
    else:
        positions = _choose_smallest_keys(
            np.where(maskable, keys, _LAST), num_to_predict, config.max_predictions
        )
    used = positions < length
    row, slot = np.nonzero(used)
    column = positions[row, slot]
    labels = ids[row, column]
    draw = draws.outcomes(row, column)
    ids[row, column] = np.where(draw < _MASK_BELOW, np.int32(config.mask_id), labels)
    replaced = np.flatnonzero((draw >= _MASK_BELOW) & (draw < _RANDOM_BELOW))
    row_of, column_of = row[replaced], column[replaced]
    choices = draws.choices(row_of, column_of, len(config.replacement_ids))
    ids[row_of, column_of] = config.replacement_ids[choices]
    rows["masked_lm_positions"] = np.where(used, positions, 0)
    masked_lm_ids = np.zeros((count, config.max_predictions), np.int32)
    masked_lm_ids[row, slot] = labels
    rows["masked_lm_ids"] = masked_lm_ids
    masked = int((draw < _MASK_BELOW).sum())
    return masked, len(replaced), len(row) - masked - len(replaced)


def _sort_keys(keys: np.ndarray) -> np.ndarray:
    """Random bits, int32 [count, length] below 2^31, as sort keys: 19 random bits, then the column.
    The low bits of a sorted row are therefore its columns in random order. Changes `keys`.

    Keys with the same random bits sort by column. At 128 columns this is one key in 4,000, too few
    to change the distribution measurably.
    """
    keys &= np.int32(-(2**_POSITION_BITS))  # clears the low bits
    keys |= np.arange(keys.shape[1], dtype=np.int32)
    return keys


def _choose_smallest_keys(
    keys: np.ndarray, num_to_predict: np.ndarray, max_predictions: int
) -> np.ndarray:
    """int32 [N, P]: the columns of the `num_to_predict` smallest keys of each row, ascending,
    padded with _LAST. A key of _LAST is never chosen."""
    width = min(max_predictions, keys.shape[1])
    chosen = np.sort(keys, axis=1)[:, :width]
    unused = (np.arange(width) >= num_to_predict[:, None]) | (chosen == _LAST)
    chosen &= np.int32(2**_POSITION_BITS - 1)
    chosen[unused] = _LAST
    chosen.sort(axis=1)
    out = np.full((len(keys), max_predictions), _LAST, np.int32)
    out[:, :width] = chosen
    return out


def _choose_whole_words(
    begins: np.ndarray,
    maskable: np.ndarray,
    num_to_predict: np.ndarray,
    keys: np.ndarray,
    max_predictions: int,
) -> np.ndarray:
    """Like `_choose_smallest_keys`, but chooses whole words: in random order, every word that does
    not exceed the number of predictions left.

    begins: bool [N, length], where words begin. In a row in which no word fits, single word pieces
    are chosen, so that every row has a prediction.
    """
    count, length = keys.shape
    columns = np.arange(length)
    # A word is identified by the flat index (row * length + column) of its first word piece.
    word_begin = np.maximum.accumulate(np.where(begins, columns, 0), axis=1)
    word_index = word_begin + length * np.arange(count)[:, None]
    word_sizes = np.bincount(word_index[maskable], minlength=count * length)
    order = np.sort(np.where(begins, keys, _LAST), axis=1)
    is_chosen_word = np.zeros(count * length, bool)
    remaining = num_to_predict.copy()
    row_offsets = np.arange(count) * length
    for k in range(int(begins.sum(axis=1).max(initial=0))):  # the k-th word of every row
        key = order[:, k]
        # % length: the low bits of _LAST are not a column; such a key is not used.
        word = row_offsets + (key & np.int32(2**_POSITION_BITS - 1)) % length
        fits = (key != _LAST) & (word_sizes[word] <= remaining)
        is_chosen_word[word[fits]] = True
        remaining -= np.where(fits, word_sizes[word], 0)
        if not remaining.any():
            break
    chosen = is_chosen_word[word_index] & maskable
    without_word = ~chosen.any(axis=1)
    chosen[without_word] = maskable[without_word]
    return _choose_smallest_keys(np.where(chosen, keys, _LAST), num_to_predict, max_predictions)
