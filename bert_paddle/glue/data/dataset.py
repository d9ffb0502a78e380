"""Encoded examples, and batches of them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bert_paddle.glue.data import encoded_cache
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.models.forward_pass import Batch
from bert_paddle.models.tokenizer import EncodedTexts, Tokenizer
from bert_paddle.training import batching


@dataclass
class EncodedDataset:
    """Encoded examples. labels: as of Examples; None without labels. examples: the texts, for
    prediction files that contain them; None if not needed."""

    encoded: EncodedTexts
    labels: np.ndarray | None
    pad_id: int
    examples: Examples | None = None
    # The fingerprint, once it is computed.
    _digest: str = field(default="", init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.encoded)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens in each row, int32 [n]."""
        return self.encoded.lengths

    def batch(self, rows: np.ndarray, pad_multiple: int = 1) -> Batch:
        """The batch of the given rows; {} for no rows.

        input_ids, input_mask, segment_ids: int64 [rows, width], padded to the longest row, rounded
        up to a multiple of `pad_multiple`; labels: [rows], if there are any.
        """
        if len(rows) == 0:
            return {}
        ids = [self.encoded.input_ids[i] for i in rows]
        input_ids = batching.pad(ids, self.pad_id, pad_multiple)
        position = np.arange(input_ids.shape[1])
        length = np.array([len(row) for row in ids])[:, None]
        input_mask = (position < length).astype(np.int64)
        segment_b_start = self.encoded.segment_b_start[rows][:, None]
        segment_ids = ((position >= segment_b_start) & (position < length)).astype(np.int64)
        batch = {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": segment_ids}
        if self.labels is not None:
            batch["labels"] = self.labels[rows]
        return batch

    def fingerprint(self) -> str:
        """A digest of the rows and labels in order; a run resumes only with the same digest."""
        if not self._digest:
            digest = hashlib.sha256()
            for row in self.encoded.input_ids:
                digest.update(len(row).to_bytes(4, "little") + row.tobytes())
            digest.update(self.encoded.segment_b_start.tobytes())
            if self.labels is not None:
                digest.update(self.labels.tobytes())
            self._digest = digest.hexdigest()
        return self._digest


def encode_examples(
    examples: Examples,
    tokenizer: Tokenizer,
    max_seq_length: int,
    show_rows: Callable[[int], None] = lambda rows_done: None,
) -> EncodedDataset:
    """Tokenize the examples, each truncated to `max_seq_length` tokens. show_rows: as in
    `encoded_cache.encode`."""
    encoded = encoded_cache.encode(examples, tokenizer, max_seq_length, show_rows)
    return EncodedDataset(encoded, examples.labels, tokenizer.pad_id)


def unknown_share(dataset: EncodedDataset, tokenizer: Tokenizer) -> float:
    """The share of [UNK] among the word pieces, without [CLS] and [SEP]."""
    if len(dataset) == 0:
        return 0.0
    ids = np.concatenate(dataset.encoded.input_ids)
    pieces = np.count_nonzero((ids != tokenizer.cls_id) & (ids != tokenizer.sep_id))
    return int(np.count_nonzero(ids == tokenizer.unk_id)) / max(1, int(pieces))
