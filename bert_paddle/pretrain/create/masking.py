"""Rows of pre-training: word pieces put together, and some of them masked. No paddle.

    [CLS] the cat [MASK] [SEP] it did [SEP] [PAD] [PAD]     positions 3, 6; labels sat, did
      0    0   0    0      0    1  1    1     0     0       segment_ids

Of the masked pieces 80 % become [MASK], 10 % a random ordinary piece, 10 % stay (Devlin et al.,
2019, 3.1). All is done on many rows at once; give a few thousand at most, for the arrays to stay in
the caches.
"""

from dataclasses import dataclass

import numpy as np

RowArrays = dict[str, np.ndarray]
_TO_MASK, _TO_RANDOM = 0.8, 0.9  # a draw below the first: [MASK]; else below the second: random


@dataclass(frozen=True)
class Pool:
    """Word pieces that rows are taken from. ids: int32 [m] and starts: bool [m], whether a piece
    begins a word, each followed by [CLS], [SEP] and [PAD]; starts is True there."""

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, ids: np.ndarray, starts: np.ndarray, special: tuple[int, int, int]) -> "Pool":
        """special: the ids of [CLS], [SEP] and [PAD]."""
        return cls(
            np.concatenate([ids, np.array(special, np.int32)]),
            np.concatenate([starts, np.ones(3, bool)]),
        )


@dataclass(frozen=True)
class Masking:
    """How rows are masked. ordinary: int32, the ids that may replace a piece at random."""

    max_predictions: int
    prob: float
    whole_words: bool
    mask_id: int
    ordinary: np.ndarray


def lay_out(pairs: np.ndarray, pool: Pool, length: int) -> tuple[RowArrays, np.ndarray]:
    """input_ids, input_mask, segment_ids and next_sentence_labels of rows that are not masked yet,
    and intp [N, length], where in the pool each piece of them lies.

    pairs: int64 [N, 5] as pairs.make_pairs has them, each fitting into `length`.
    """
    count = len(pairs)
    a0, a1, b0, b1, labels = (pairs[:, k, None] for k in range(5))
    first_sep = a1 - a0 + 1
    last_sep = first_sep + b1 - b0 + 1
    columns = np.arange(length)
    in_b = columns > first_sep
    where = columns + np.where(in_b, b0 - first_sep - 1, a0 - 1)
    cls = len(pool.ids) - 3
    where[columns > last_sep] = cls + 2
    where[:, 0] = cls
    rows = np.arange(count)
    where[rows, first_sep[:, 0]] = where[rows, last_sep[:, 0]] = cls + 1
    real = columns <= last_sep
    return {
        "input_ids": pool.ids[where],
        "input_mask": real.view(np.int8),
        "segment_ids": (in_b & real).view(np.int8),
        "next_sentence_labels": labels[:, 0].astype(np.int8),
    }, where


def mask(
    rows: RowArrays, where: np.ndarray, pool: Pool, how: Masking, rng: np.random.Generator
) -> tuple[int, int, int]:
    """Choose pieces of each row, replace them in rows["input_ids"] in place, and add
    masked_lm_positions and masked_lm_ids, int32 [N, P] with a zero tail.

    As many as `prob` of all pieces of the row, [CLS] and [SEP] among them, but 1 at least and P at
    most; fewer with whole_words, where a word that would be one too many is left out. [CLS] and
    [SEP] are never chosen. Returns how many pieces were masked, replaced at random, and kept.
    """
    ids = rows["input_ids"]
    count, length = ids.shape
    free = where < len(pool.ids) - 3
    wanted = np.rint(how.prob * rows["input_mask"].sum(axis=1)).astype(np.int64)
    wanted = np.clip(wanted, 1, how.max_predictions)
    keys = _random_order(count, length, rng)
    if how.whole_words:
        begins = pool.starts[where] & free
        begins[:, 1] = free[:, 1]  # a text whose front was cut off begins a word all the same
        begins[:, 1:] |= free[:, 1:] & ~free[:, :-1]
        positions = _whole_words(begins, free, wanted, keys, how.max_predictions)
    else:
        positions = _first(np.where(free, keys, _LAST), wanted, how.max_predictions)
    used = positions < length
    row, slot = np.nonzero(used)
    place = positions[row, slot]
    labels = ids[row, place]
    draw = rng.random(len(row), np.float32)
    ids[row, place] = np.where(draw < _TO_MASK, np.int32(how.mask_id), labels)
    swap = np.flatnonzero((draw >= _TO_MASK) & (draw < _TO_RANDOM))
    ids[row[swap], place[swap]] = how.ordinary[rng.integers(len(how.ordinary), size=len(swap))]
    rows["masked_lm_positions"] = np.where(used, positions, 0)
    filled = np.zeros((count, how.max_predictions), np.int32)
    filled[row, slot] = labels
    rows["masked_lm_ids"] = filled
    masked = int((draw < _TO_MASK).sum())
    return masked, len(swap), len(row) - masked - len(swap)


_POSITION_BITS = 12
_LAST = np.int32(2**31 - 1)  # behind all keys
MOST_LENGTH = 2**_POSITION_BITS - 1


def _random_order(count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """int32 [count, length] keys; sorted, their low bits are the columns in random order.

    19 random bits a key: two equal ones in a row are put in the order of their columns, which at
    128 columns concerns one key in 4,000 and shifts no share by what could be measured.
    """
    bits = rng.integers(0, 2**31, (count, length), np.int32)
    bits &= np.int32(-(2**_POSITION_BITS))
    bits |= np.arange(length, dtype=np.int32)
    return bits


def _first(keys: np.ndarray, wanted: np.ndarray, predictions: int) -> np.ndarray:
    """int32 [N, P]: columns of the `wanted` smallest keys of each row, ascending; _LAST behind."""
    width = min(predictions, keys.shape[1])
    chosen = np.sort(keys, axis=1)[:, :width]
    over = (np.arange(width) >= wanted[:, None]) | (chosen == _LAST)
    chosen &= np.int32(2**_POSITION_BITS - 1)
    chosen[over] = _LAST
    chosen.sort(axis=1)
    out = np.full((len(keys), predictions), _LAST, np.int32)
    out[:, :width] = chosen
    return out


def _whole_words(
    begins: np.ndarray, free: np.ndarray, wanted: np.ndarray, keys: np.ndarray, predictions: int
) -> np.ndarray:
    """As `_first`, of whole words: in random order each that still fits is taken.

    A row of which no word fits gets single pieces, so that none is without a label.
    """
    count, length = keys.shape
    columns = np.arange(length)
    own_begin = np.maximum.accumulate(np.where(begins, columns, 0), axis=1)
    flat = own_begin + length * np.arange(count)[:, None]
    sizes = np.bincount(flat[free], minlength=count * length)
    order = np.sort(np.where(begins, keys, _LAST), axis=1)
    taken = np.zeros(count * length, bool)
    left = wanted.copy()
    rows = np.arange(count) * length
    for rank in range(int(begins.sum(axis=1).max(initial=0))):
        key = order[:, rank]
        spot = rows + (key & np.int32(2**_POSITION_BITS - 1)) % length
        fits = (key != _LAST) & (sizes[spot] <= left)
        taken[spot[fits]] = True
        left -= np.where(fits, sizes[spot], 0)
        if not left.any():
            break
    chosen = taken[flat] & free
    none = ~chosen.any(axis=1)
    chosen[none] = free[none]
    return _first(np.where(chosen, keys, _LAST), wanted, predictions)
