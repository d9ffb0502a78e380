"""The HDF5 layout of NVIDIA's pre-training data, shared by writer and reader. Does not import
paddle.

N rows of sequence length L with up to P predictions; gzip level 4, chunked, no attributes:

    input_ids             int32 [N, L]  word-piece ids, padded with 0
    input_mask            int8  [N, L]  1 = token, 0 = padding (id 0 alone does not mean padding)
    segment_ids           int8  [N, L]  0 for [CLS] A [SEP], 1 for B [SEP]
    masked_lm_positions   int32 [N, P]  ascending, padded with 0: position 0 is [CLS], never masked
    masked_lm_ids         int32 [N, P]  the original ids at those positions
    next_sentence_labels  int8  [N]     1 = B is random text, 0 = B follows A

Shards of rows whose masks are drawn when they are read (create-data --dynamic_masking) lack the two
masked_lm datasets, those of single sequences (--nsp 0) lack next_sentence_labels.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

SUFFIX, METADATA_SUFFIX = ".hdf5", "_metadata.json"
TRAINING, TEST = "training", "test"
GZIP_LEVEL = 4
DTYPES: dict[str, np.dtype] = {
    "input_ids": np.dtype(np.int32),
    "input_mask": np.dtype(np.int8),
    "segment_ids": np.dtype(np.int8),
    "masked_lm_positions": np.dtype(np.int32),
    "masked_lm_ids": np.dtype(np.int32),
    "next_sentence_labels": np.dtype(np.int8),
}
NSP_KEY = "next_sentence_labels"
MASK_KEYS = ("masked_lm_positions", "masked_lm_ids")
BASE_KEYS = frozenset(DTYPES) - {NSP_KEY, *MASK_KEYS}  # those of all shards


def row_shape(key: str, length: int, predictions: int) -> tuple[int, ...]:
    """The shape of one row of dataset `key`: `length` is L, `predictions` is P."""
    if key == "next_sentence_labels":
        return ()
    return (predictions,) if key.startswith("masked_lm") else (length,)


def shard_name(corpus: str, split: str, index: int) -> str:
    """The file name of a shard; split is TRAINING or TEST, the held-out rows (shard_roles.py)."""
    return f"{corpus}_{split}_{index}{SUFFIX}"


def vocabulary_sha256(vocab: Sequence[str]) -> str:
    """The digest of a vocabulary (word pieces in the order of their ids), as in the metadata."""
    return hashlib.sha256("".join(token + "\n" for token in vocab).encode()).hexdigest()
