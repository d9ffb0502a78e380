"""Pre-training rows: build them from word pieces and apply masked-LM masking. No paddle.

    [CLS] the cat [MASK] [SEP] it did [SEP] [PAD] [PAD]     positions 3, 6; labels sat, did
      0    0   0    0      0    1  1    1     0     0       segment_ids

Of the masked word pieces 80 % become [MASK], 10 % a random word piece, 10 % stay (Devlin et al.,
2019, 3.1). Everything is vectorized over rows; pass a few thousand at most, so that the arrays
stay in the caches.
"""

from dataclasses import dataclass

import numpy as np

RowArrays = dict[str, np.ndarray]
_TO_MASK, _TO_RANDOM = 0.8, 0.9  # a draw below the first: [MASK]; else below the second: random


@dataclass(frozen=True)
class TokenPool:
    """The word pieces that rows are built from. ids: int32 [m]; starts: bool [m], whether a word
    piece begins a word. Each ends with [CLS], [SEP] and [PAD], for which starts is True."""

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def with_special_tokens(
        cls, ids: np.ndarray, starts: np.ndarray, special_ids: tuple[int, int, int]
    ) -> "TokenPool":
        """special_ids: those of [CLS], [SEP] and [PAD]."""
        return cls(
            np.concatenate([ids, np.array(special_ids, np.int32)]),
            np.concatenate([starts, np.ones(3, bool)]),
        )


@dataclass(frozen=True)
class MaskingConfig:
    """How rows are masked. replacement_ids: int32, the ids of random replacements."""

    max_predictions: int
    prob: float
    whole_words: bool
    mask_id: int
    replacement_ids: np.ndarray


def build_rows(pairs: np.ndarray, pool: TokenPool, length: int) -> tuple[RowArrays, np.ndarray]:
    """input_ids, input_mask, segment_ids and next_sentence_labels of rows without masking, and
    intp [N, length], the index in the pool of each word piece.

    pairs: int64 [N, 5] from sentence_pairs.truncate_pairs, each fitting into `length`.
    """
    count = len(pairs)
    a0, a1, b0, b1, labels = (pairs[:, k, None] for k in range(5))
    first_sep = a1 - a0 + 1
    last_sep = first_sep + b1 - b0 + 1
    columns = np.arange(length)
    in_b = columns > first_sep
    pool_index = columns + np.where(in_b, b0 - first_sep - 1, a0 - 1)
    cls = len(pool.ids) - 3
    pool_index[columns > last_sep] = cls + 2
    pool_index[:, 0] = cls
    rows = np.arange(count)
    pool_index[rows, first_sep[:, 0]] = pool_index[rows, last_sep[:, 0]] = cls + 1
    is_token = columns <= last_sep
    return {
        "input_ids": pool.ids[pool_index],
        "input_mask": is_token.view(np.int8),
        "segment_ids": (in_b & is_token).view(np.int8),
        "next_sentence_labels": labels[:, 0].astype(np.int8),
    }, pool_index


def mask_tokens(
    rows: RowArrays,
    pool_index: np.ndarray,
    pool: TokenPool,
    config: MaskingConfig,
    rng: np.random.Generator,
) -> tuple[int, int, int]:
    """Choose word pieces of each row, replace them in rows["input_ids"] in place, and add
    masked_lm_positions and masked_lm_ids, int32 [N, P], padded with zeros.

    The number of predictions is `prob` times the tokens of the row ([CLS] and [SEP] included), at
    least 1 and at most P; fewer with whole_words, where a word that would exceed it is skipped.
    [CLS] and [SEP] are never chosen. Returns how many were masked, replaced at random, and kept.
    """
    ids = rows["input_ids"]
    count, length = ids.shape
    maskable = pool_index < len(pool.ids) - 3
    num_to_predict = np.rint(config.prob * rows["input_mask"].sum(axis=1)).astype(np.int64)
    num_to_predict = np.clip(num_to_predict, 1, config.max_predictions)
    keys = _random_sort_keys(count, length, rng)
    if config.whole_words:
        begins = pool.starts[pool_index] & maskable
        begins[:, 1] = maskable[:, 1]  # a text truncated in front begins a word nonetheless
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
    draw = rng.random(len(row), np.float32)
    ids[row, column] = np.where(draw < _TO_MASK, np.int32(config.mask_id), labels)
    at_random = np.flatnonzero((draw >= _TO_MASK) & (draw < _TO_RANDOM))
    choices = rng.integers(len(config.replacement_ids), size=len(at_random))
    ids[row[at_random], column[at_random]] = config.replacement_ids[choices]
    rows["masked_lm_positions"] = np.where(used, positions, 0)
    masked_lm_ids = np.zeros((count, config.max_predictions), np.int32)
    masked_lm_ids[row, slot] = labels
    rows["masked_lm_ids"] = masked_lm_ids
    masked = int((draw < _TO_MASK).sum())
    return masked, len(at_random), len(row) - masked - len(at_random)


_POSITION_BITS = 12
_LAST = np.int32(2**31 - 1)  # sorts after all keys
MAX_SEQ_LENGTH = 2**_POSITION_BITS - 1


def _random_sort_keys(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """int32 [count, length] keys; sorted, their low bits are the columns in random order.

    19 random bits per key: equal ones in a row sort by column, which at 128 columns affects one
    key in 4,000, too few to shift any share measurably.
    """
    keys = rng.integers(0, 2**31, (count, length), np.int32)
    keys &= np.int32(-(2**_POSITION_BITS))
    keys |= np.arange(length, dtype=np.int32)
    return keys


def _choose_smallest_keys(
    keys: np.ndarray, num_to_predict: np.ndarray, max_predictions: int
) -> np.ndarray:
    """int32 [N, P]: columns of the `num_to_predict` smallest keys of each row, ascending; then
    _LAST."""
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
    """Like `_choose_smallest_keys`, but whole words: in random order, each that still fits.

    A row in which no word fits gets single word pieces, so that every row has a prediction.
    """
    count, length = keys.shape
    columns = np.arange(length)
    word_begin = np.maximum.accumulate(np.where(begins, columns, 0), axis=1)
    word_index = word_begin + length * np.arange(count)[:, None]
    word_sizes = np.bincount(word_index[maskable], minlength=count * length)
    order = np.sort(np.where(begins, keys, _LAST), axis=1)
    is_chosen_word = np.zeros(count * length, bool)
    left = num_to_predict.copy()
    row_offsets = np.arange(count) * length
    for rank in range(int(begins.sum(axis=1).max(initial=0))):
        key = order[:, rank]
        word = row_offsets + (key & np.int32(2**_POSITION_BITS - 1)) % length
        fits = (key != _LAST) & (word_sizes[word] <= left)
        is_chosen_word[word[fits]] = True
        left -= np.where(fits, word_sizes[word], 0)
        if not left.any():
            break
    chosen = is_chosen_word[word_index] & maskable
    without_word = ~chosen.any(axis=1)
    chosen[without_word] = maskable[without_word]
    return _choose_smallest_keys(np.where(chosen, keys, _LAST), num_to_predict, max_predictions)
