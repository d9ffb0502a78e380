"""A GLUE file as word pieces and labels, and its batches."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bert_paddle.distributed import collectives
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data import encoded_cache
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.models.compute_mode import tensor
from bert_paddle.models.kernels import dispatch
from bert_paddle.models.tokenizer import Encoded, Tokenizer
from bert_paddle.training import batching
from bert_paddle.training.step import Batch, Objective


@dataclass
class EncodedDataset:
    """Encoded examples. labels: int64 or float32 [n], None for a test file. examples: as they were
    read, where they are wanted again."""

    encoded: Encoded
    labels: np.ndarray | None
    pad_id: int
    examples: Examples | None = None

    def __len__(self) -> int:
        return len(self.encoded)

    def batch(self, rows: np.ndarray, pad_multiple: int = 1) -> Batch:
        """The batch of the given rows, padded to its longest; {} for no rows.

        input_ids, input_mask, segment_ids: int64 [rows, longest]; labels: [rows], where known.
        """
        if len(rows) == 0:
            return {}
        ids = [self.encoded.input_ids[i] for i in rows]
        input_ids = batching.pad(ids, self.pad_id, pad_multiple)
        position = np.arange(input_ids.shape[1])
        length = np.array([len(row) for row in ids])[:, None]
        input_mask = (position < length).astype(np.int64)
        segment_ids = ((position >= self.encoded.second[rows][:, None]) & (position < length)) * 1
        batch = {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": segment_ids}
        if self.labels is not None:
            batch["labels"] = self.labels[rows]
        return batch

    def fingerprint(self) -> str:
        """A digest of the rows and labels in order: what a resumed run must find again."""
        digest = hashlib.sha256()
        for row in self.encoded.input_ids:
            digest.update(len(row).to_bytes(4, "little") + row.tobytes())
        digest.update(self.encoded.second.tobytes())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()


def encode(examples: Examples, tokenizer: Tokenizer, max_seq_length: int) -> EncodedDataset:
    """The examples as word pieces, at most `max_seq_length` a row."""
    encoded = encoded_cache.encode(examples, tokenizer, max_seq_length)
    return EncodedDataset(encoded, examples.labels, tokenizer.pad_id)


class TrainLoader:
    """This process's part of the training rows, epoch by epoch (training.Batches)."""

    def __init__(self, rows: EncodedDataset, args: GlueArgs, pad_multiple: int = 1):
        world = collectives.get_world()
        self.rows, self.rank, self.ranks = rows, world.rank, world.size
        self.micro_rows = args.batch_size * world.size
        self.rows_per_step = self.micro_rows * args.gradient_accumulation_steps
        self.seed, self.workers = args.seed, args.num_workers
        self.group_by_length, self.pad_multiple = args.group_by_length, pad_multiple
        self.steps_per_epoch = -(-len(rows) // self.rows_per_step)
        self.rows_per_epoch = len(rows)
        self.planned_rows = self.rows_per_step

    def steps(self, epoch: int, start: int) -> Iterator[list[Batch]]:
        """The micro-batches of each update of an epoch, from its row `start` on."""
        updates = batching.chunks(self._order(epoch)[start:], self.rows_per_step)
        return batching.prefetch(updates, self._make, self.workers)

    def rows_of(self, epoch: int, start: int) -> str:
        """The rows of the update that begins at row `start` of an epoch, for a message."""
        rows = self._order(epoch)[start : start + self.rows_per_step]
        return f"rows {batching.listed(rows.tolist())} of the training set, from 0"

    def _order(self, epoch: int) -> np.ndarray:
        plan = batching.plan_epoch(
            self.rows.encoded.lengths, self.planned_rows, self.seed, epoch, self.group_by_length
        )
        return np.concatenate(plan)

    def _make(self, update: np.ndarray) -> list[Batch]:
        parts = batching.split_among_ranks(update, self.micro_rows, self.rank, self.ranks)
        return [self.rows.batch(part, self.pad_multiple) for part in parts]


def objective(regression: bool) -> Objective:
    """Cross-entropy over the classes, or the squared error of a regression."""
    import paddle.nn.functional as F

    def sums(model, batch: Batch) -> dict:
        logits = forward(model, batch)
        labels = tensor(batch["labels"])
        if regression:
            loss = F.mse_loss(logits[:, 0].astype("float32"), labels, reduction="sum")
        else:
            loss = F.cross_entropy(logits.astype("float32"), labels, reduction="sum")
        return {"loss": loss}

    def counts(batch: Batch) -> dict[str, int]:
        return {"loss": len(batch["labels"])} if batch else {}

    return Objective(sums, counts)


def forward(model, batch: Batch):
    """The logits [rows, classes] of a batch, a tensor."""
    if dispatch.uses_kernels(model):
        return dispatch.classify(model, batch)
    return model(
        tensor(batch["input_ids"]),
        token_type_ids=tensor(batch["segment_ids"]),
        attention_mask=tensor(batch["input_mask"]),
    )
