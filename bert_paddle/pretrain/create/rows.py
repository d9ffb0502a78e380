"""Build pre-training rows from word pieces, without masks. Does not import paddle.

    [CLS] the cat sat [SEP] it did [SEP] [PAD] [PAD]     a sentence pair
      0    0   0   0    0   1   1    1     0     0       segment_ids
    [CLS] the cat sat it did [SEP] a new text [SEP]      a single sequence, of two documents
      0    0   0   0   0  0    0   0  0   0     0        segment_ids

Everything is vectorized over rows; pass a few thousand at most, so that the arrays fit in the CPU
cache.
"""

from dataclasses import dataclass

import numpy as np

from bert_paddle.pretrain.data.row_checks import RowArrays


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

    def is_word_piece(self, pool_index: np.ndarray) -> np.ndarray:
        """Which indices are not those of the special tokens, of the shape of `pool_index`."""
        return pool_index < len(self.ids) - 3


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


def build_single_rows(
    spans: np.ndarray, stream: np.ndarray, pool: TokenPool, length: int
) -> tuple[RowArrays, np.ndarray]:
    """Build rows of single sequences without masking: as `build_rows`, without
    next_sentence_labels and with one segment.

    spans: int64 [N, 2], first and last + 1 place in `stream` of each row, which fits into `length`.
    stream: of sequences.SequenceText.
    """
    start, stop = spans[:, 0, None], spans[:, 1, None]
    columns = np.arange(length)
    last_sep = stop - start + 1
    cls_index, sep_index, pad_index = range(len(pool.ids) - 3, len(pool.ids))
    # Places behind the row's end are replaced below.
    pool_index = stream[np.minimum(start + np.maximum(columns - 1, 0), len(stream) - 1)]
    pool_index[columns > last_sep] = pad_index
    pool_index[:, 0] = cls_index
    pool_index[np.arange(len(spans)), last_sep[:, 0]] = sep_index
    return {
        "input_ids": pool.ids[pool_index],
        "input_mask": (columns <= last_sep).view(np.int8),
        "segment_ids": np.zeros(pool_index.shape, np.int8),
    }, pool_index
