"""Build pre-training rows from word pieces and apply masked-LM masking. Does not import paddle.

    [CLS] the cat [MASK] [SEP] it did [SEP] [PAD] [PAD]     masked positions: 3 (sat), 6 (did)
      0    0   0    0      0    1  1    1     0     0       segment_ids

Of the masked word pieces 80 % become [MASK], 10 % a random word piece, 10 % stay (Devlin et al.,
2019, 3.1). Everything is vectorized over rows; pass a few thousand at most, so that the arrays
fit in the CPU cache.
"""

from dataclasses import dataclass

import numpy as np

RowArrays = dict[str, np.ndarray]
# Of a uniform draw: below the first [MASK], else below the second a random word piece, else kept.
_MASK_BELOW, _RANDOM_BELOW = 0.8, 0.9


@dataclass(frozen=True)
class TokenPool:
    """The word pieces that rows are built from. ids: int32 [m]. starts: bool [m], whether a word
    piece begins a word. The last three are [CLS], [SEP] and [PAD], for which starts is True."""

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def with_special_tokens(
        cls, ids: np.ndarray, starts: np.ndarray, special_ids: tuple[int, int, int]
    ) -> "TokenPool":
        """ids, starts: without special tokens. special_ids: the ids of [CLS], [SEP] and [PAD]."""
        return cls(
            np.concatenate([ids, np.array(special_ids, np.int32)]),
            np.concatenate([starts, np.ones(3, bool)]),
        )


@dataclass(frozen=True)
class MaskingConfig:
    """How rows are masked. prob: share of a row's tokens to predict. replacement_ids: int32, the
    ids that random replacements are drawn from."""

    max_predictions: int
    prob: float
    whole_words: bool
    mask_id: int
    replacement_ids: np.ndarray


def build_rows(pairs: np.ndarray, pool: TokenPool, length: int) -> tuple[RowArrays, np.ndarray]:
    """Build rows without masking. Returns their input_ids, input_mask, segment_ids and
    next_sentence_labels, and intp [N, length], each token's index in the pool.

    pairs: int64 [N, 5] from sentence_pairs.truncate_pairs, each fitting into `length`.
    """
    count = len(pairs)
    a0, a1, b0, b1, labels = (pairs[:, k, None] for k in range(5))
    first_sep = a1 - a0 + 1
    last_sep = first_sep + b1 - b0 + 1
    columns = np.arange(length)
    in_b = columns > first_sep
    # Column 1 has the token a0, the column after the first [SEP] the token b0.
    pool_index = columns + np.where(in_b, b0 - first_sep - 1, a0 - 1)
    cls_index, sep_index, pad_index = range(len(pool.ids) - 3, len(pool.ids))
    pool_index[columns > last_sep] = pad_index
    pool_index[:, 0] = cls_index
    rows = np.arange(count)
    pool_index[rows, first_sep[:, 0]] = pool_index[rows, last_sep[:, 0]] = sep_index
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
    masked_lm_positions and masked_lm_ids, int32 [N, P] with P = max_predictions, padded with zeros.

    The number of predictions is `prob` times the tokens of the row ([CLS] and [SEP] included), at
    least 1 and at most P; fewer with whole_words, where a word that would exceed it is skipped.
    [CLS] and [SEP] are never chosen. Returns how many word pieces were replaced by [MASK], replaced
    at random, and kept.
    """
    ids = rows["input_ids"]
    count, length = ids.shape
    maskable = pool_index < len(pool.ids) - 3  # no special tokens
    num_to_predict = np.rint(config.prob * rows["input_mask"].sum(axis=1)).astype(np.int64)
    num_to_predict = np.clip(num_to_predict, 1, config.max_predictions)
    keys = _random_sort_keys(count, length, rng)
    if config.whole_words:
        begins = pool.starts[pool_index] & maskable
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
    draw = rng.random(len(row), np.float32)
    ids[row, column] = np.where(draw < _MASK_BELOW, np.int32(config.mask_id), labels)
    replaced = np.flatnonzero((draw >= _MASK_BELOW) & (draw < _RANDOM_BELOW))
    choices = rng.integers(len(config.replacement_ids), size=len(replaced))
    ids[row[replaced], column[replaced]] = config.replacement_ids[choices]
    rows["masked_lm_positions"] = np.where(used, positions, 0)
    masked_lm_ids = np.zeros((count, config.max_predictions), np.int32)
    masked_lm_ids[row, slot] = labels
    rows["masked_lm_ids"] = masked_lm_ids
    masked = int((draw < _MASK_BELOW).sum())
    return masked, len(replaced), len(row) - masked - len(replaced)


_POSITION_BITS = 12  # low bits of a sort key, which hold the column
_LAST = np.int32(2**31 - 1)  # sorts after all keys
MAX_SEQ_LENGTH = 2**_POSITION_BITS - 1


def _random_sort_keys(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """int32 [count, length]: 19 random bits, then the column. The low bits of a sorted row are
    therefore its columns in random order.

    Keys with the same random bits sort by column. At 128 columns this is one key in 4,000, too few
    to change the distribution measurably.
    """
    keys = rng.integers(0, 2**31, (count, length), np.int32)
    keys &= np.int32(-(2**_POSITION_BITS))  # clears the low bits
    keys |= np.arange(length, dtype=np.int32)
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
