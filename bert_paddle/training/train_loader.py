"""The loader of training batches from rows in memory."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from bert_paddle.common.args import CommonArgs
from bert_paddle.distributed import collectives
from bert_paddle.models.forward_pass import Batch
from bert_paddle.training import batching


class RowDataset(Protocol):
    """Encoded rows in memory."""

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens in each row, int32 [n]."""
        ...

    def __len__(self) -> int: ...

    def batch(self, rows: np.ndarray, pad_multiple: int = 1) -> Batch:
        """The batch of the given rows; {} for no rows. Widths are multiples of `pad_multiple`."""
        ...


class TrainLoader:
    """This rank's micro-batches of the training rows (a training.loop.TrainData)."""

    def __init__(
        self,
        dataset: RowDataset,
        args: CommonArgs,
        group_by_length: bool = False,
        pad_multiple: int = 1,
    ):
        world = collectives.get_world()
        self.dataset, self.rank, self.world_size = dataset, world.rank, world.size
        self.global_micro_batch_size = args.batch_size * world.size
        self.rows_per_step = self.global_micro_batch_size * args.gradient_accumulation_steps
        self.seed, self.num_workers = args.seed, args.num_workers
        self.group_by_length, self.pad_multiple = group_by_length, pad_multiple
        self.steps_per_epoch = -(-len(dataset) // self.rows_per_step)  # rounded up
        self.rows_per_epoch = len(dataset)

    def steps(self, epoch: int, start: int, planned_rows: int) -> Iterator[list[Batch]]:
        """For each step of an epoch, from its row `start` on, this rank's micro-batches."""
        steps = batching.chunks(self._order(epoch, planned_rows)[start:], self.rows_per_step)
        return batching.prefetch(steps, self._micro_batches, self.num_workers)

    def describe_rows(self, epoch: int, start: int, planned_rows: int) -> str:
        """The rows of the step that begins at row `start` of an epoch, for a message."""
        rows = self._order(epoch, planned_rows)[start : start + self.rows_per_step]
        return f"rows {batching.format_rows(rows.tolist())} of the training set (0-based)"

    def _order(self, epoch: int, planned_rows: int) -> np.ndarray:
        """The indices of all rows in the order of the epoch, int [n]."""
        plan = batching.plan_epoch(
            self.dataset.lengths,
            planned_rows,
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
