"""Encoded examples and the loader of training batches."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from bert_paddle.distributed import collectives
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data import encoded_cache
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.models.forward_pass import Batch
from bert_paddle.models.tokenizer import EncodedTexts, Tokenizer
from bert_paddle.training import batching


@dataclass
class EncodedDataset:
    """Encoded examples. labels: int64 or float32 [n]; None without labels. examples: the texts, for
    prediction files that contain them; None if not needed."""

    encoded: EncodedTexts
    labels: np.ndarray | None
    pad_id: int
    examples: Examples | None = None
    # The fingerprint, once it is computed.
    _digest: str = field(default="", init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.encoded)

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


class TrainLoader:
    """This rank's micro-batches of the training rows (a training.loop.TrainData)."""

    def __init__(self, dataset: EncodedDataset, args: GlueArgs, pad_multiple: int = 1):
        world = collectives.get_world()
        self.dataset, self.rank, self.world_size = dataset, world.rank, world.size
        self.global_micro_batch_size = args.batch_size * world.size
        self.rows_per_step = self.global_micro_batch_size * args.gradient_accumulation_steps
        self.seed, self.num_workers = args.seed, args.num_workers
        self.group_by_length, self.pad_multiple = args.group_by_length, pad_multiple
        self.steps_per_epoch = -(-len(dataset) // self.rows_per_step)  # rounded up
        self.rows_per_epoch = len(dataset)
        self.order_batch_size = self.rows_per_step  # a resume sets it: see training.loop.TrainData

    def steps(self, epoch: int, start: int) -> Iterator[list[Batch]]:
        """For each step of an epoch, from its row `start` on, this rank's micro-batches."""
        steps = batching.chunks(self._order(epoch)[start:], self.rows_per_step)
        return batching.prefetch(steps, self._micro_batches, self.num_workers)

    def describe_rows(self, epoch: int, start: int) -> str:
        """The rows of the step that begins at row `start` of an epoch, for a message."""
        rows = self._order(epoch)[start : start + self.rows_per_step]
        return f"rows {batching.format_rows(rows.tolist())} of the training set (0-based)"

    def _order(self, epoch: int) -> np.ndarray:
        """The indices of all rows in the order of the epoch, int [n]."""
        plan = batching.plan_epoch(
            self.dataset.encoded.lengths,
            self.order_batch_size,
            self.seed,
            epoch,
            self.group_by_length,
        )
        return np.concatenate(plan)

    def _micro_batches(self, rows: np.ndarray) -> list[Batch]:
        """This rank's micro-batches of a step, whose global batch is `rows`."""
        parts = batching.split_among_ranks(
            rows, self.global_micro_batch_size, self.rank, self.world_size
        )
        return [self.dataset.batch(part, self.pad_multiple) for part in parts]


def unknown_share(dataset: EncodedDataset, tokenizer: Tokenizer) -> float:
    """The share of [UNK] among the word pieces, without [CLS] and [SEP]."""
    if len(dataset) == 0:
        return 0.0
    ids = np.concatenate(dataset.encoded.input_ids)
    pieces = np.count_nonzero((ids != tokenizer.cls_id) & (ids != tokenizer.sep_id))
    return int(np.count_nonzero(ids == tokenizer.unk_id)) / max(1, int(pieces))
