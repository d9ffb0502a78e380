"""Batches of pre-training rows, read ahead in a background thread. Does not import paddle."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import MappingProxyType

import numpy as np

from bert_paddle.models.forward_pass import Batch
from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.epoch_order import (
    BLOCK_ROWS,
    WINDOW_ROWS,
    EpochOrder,
    RowRange,
    split_into_blocks,
)
from bert_paddle.pretrain.data.read_masking import RowMasker
from bert_paddle.pretrain.data.row_checks import RowArrays, used_predictions
from bert_paddle.pretrain.data.shards import ShardSet
from bert_paddle.training import batching

# A sample of the held-out rows has at least 16 parts, of at most 32 rows each.
_SAMPLE_ROWS, _MIN_RANGES = 32, 16


def collate(rows: RowArrays, max_predictions: int, trim: bool = True) -> Batch:
    """The model's inputs for n rows as stored in a shard; {} for no rows.

    input_ids, input_mask, segment_ids: int64 [n, width]; with `trim`, width is the length of the
    longest row without padding, else the shard's sequence length. masked_positions: int64 [m], row
    * width + position of the first `max_predictions` predictions of each row. masked_lm_ids: int64
    [m], the labels at masked_positions; m may be 0. next_sentence_labels: int64 [n].
    """
    count, width = rows["input_ids"].shape
    if count == 0:
        return {}
    if trim:
        width = int(np.flatnonzero(rows["input_mask"].any(axis=0))[-1]) + 1
    batch = {
        key: rows[key][:, :width].astype(np.int64)
        for key in ("input_ids", "input_mask", "segment_ids")
    }
    positions = rows["masked_lm_positions"][:, :max_predictions]
    used = used_predictions(positions)
    flat = positions.astype(np.int64) + width * np.arange(count)[:, None]
    batch["masked_positions"] = flat[used]
    batch["masked_lm_ids"] = rows["masked_lm_ids"][:, :max_predictions][used].astype(np.int64)
    batch["next_sentence_labels"] = rows["next_sentence_labels"].astype(np.int64)
    return batch


class PretrainLoader:
    """This rank's share of the training rows, epoch by epoch (a training.loop.TrainData).

    Every rank reads all blocks and keeps its own rows, so that all ranks have the same number of
    steps for any shards and world size, and an invalid row stops all of them before the same step.
    Memory use is at most this rank's rows of two windows and of one step, and one block.
    """

    def __init__(
        self,
        shards: ShardSet,
        seed: int,
        global_micro_batch_size: int,
        accumulation: int,
        rank: int,
        world_size: int,
        max_predictions: int,
        trim: bool = True,
        block_rows: int = BLOCK_ROWS,
        window_rows: int = WINDOW_ROWS,
        masker: RowMasker | None = None,
    ):
        """global_micro_batch_size: rows of a micro-batch over all ranks, a multiple of world_size.
        accumulation: micro-batches per step. trim: see collate(). masker: draws the masks of each
        epoch in place of those in the shards."""
        if global_micro_batch_size % world_size:
            raise ValueError(
                f"{global_micro_batch_size} rows cannot be split evenly among {world_size} ranks"
            )
        self.shards, self.seed, self.rank, self.world_size = shards, seed, rank, world_size
        self.global_micro_batch_size = global_micro_batch_size
        self.max_predictions, self.trim, self.masker = max_predictions, trim, masker
        self.block_rows, self.window_rows = block_rows, window_rows
        self.rows_per_step = global_micro_batch_size * accumulation
        self.steps_per_epoch = -(-shards.total // self.rows_per_step)  # rounded up
        self.rows_per_epoch = shards.total

    def steps(self, epoch: int, start: int, planned_rows: int = 0) -> Iterator[list[Batch]]:
        """Yield the micro-batches of each step, from the row with epoch index `start` on. The order
        of the rows does not depend on `planned_rows`. Raises DataError for an invalid row or a
        damaged file, on all ranks before the same step."""
        order = EpochOrder(self.shards.rows, self.seed, epoch, self.block_rows, self.window_rows)
        if start >= order.total:
            return
        window, _ = order.locate(start)
        next_window_start, unused = int(order.bounds[window]), self._allocate(0)
        windows = self._windows(order, start)
        try:
            for step_start in range(start, order.total, self.rows_per_step):
                step_stop = min(step_start + self.rows_per_step, order.total)
                parts = []
                # Windows are read even if this rank needs none of their rows: an error must be
                # raised at the same step on all ranks.
                while next_window_start < step_stop:
                    # Copies, so that no view keeps the window's arrays: they are freed before
                    # next() starts to read the window after the next one.
                    parts.append({key: values.copy() for key, values in unused.items()})
                    unused = {}
                    unused = next(windows)
                    window += 1
                    next_window_start = int(order.bounds[window])
                micro_batches = batching.split_among_ranks(
                    np.arange(step_start, step_stop),
                    self.global_micro_batch_size,
                    self.rank,
                    self.world_size,
                )
                sizes = [len(epoch_indices) for epoch_indices in micro_batches]
                missing = sum(sizes) - sum(map(_count, parts))
                parts.append(_slice_rows(unused, 0, missing))
                unused = _slice_rows(unused, missing, _count(unused))
                yield [
                    collate(rows, self.max_predictions, self.trim)
                    for rows in _split_rows(_concatenate(parts), sizes)
                ]
        finally:
            windows.close()

    def describe_rows(self, epoch: int, start: int, planned_rows: int = 0) -> str:
        """For a message: shard file and row of each row of the step that begins at epoch index
        `start`."""
        order = EpochOrder(self.shards.rows, self.seed, epoch, self.block_rows, self.window_rows)
        names = []
        for epoch_index in range(start, min(start + self.rows_per_step, order.total)):
            shard, row = order.row(epoch_index)
            names.append(f"{self.shards.paths[shard].name}:{row}")
        return f"rows (counted from 0) {batching.format_rows(names)}"

    def _windows(self, order: EpochOrder, start: int) -> Generator[RowArrays, None, None]:
        """Yield this rank's rows of each window from epoch index `start` on, reading one window
        ahead."""
        window, window_index = order.locate(start)
        stop_event = Event()
        pool = ThreadPoolExecutor(1, thread_name_prefix="shards")
        try:
            future = pool.submit(self._read_window, order, start, window, window_index, stop_event)
            for next_window in range(window + 1, order.num_windows + 1):
                rows = future.result()
                if next_window < order.num_windows:
                    future = pool.submit(
                        self._read_window, order, start, next_window, 0, stop_event
                    )
                yield rows
                del rows  # so that the consumer can free them
        finally:
            stop_event.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _read_window(
        self, order: EpochOrder, start: int, window: int, window_index: int, stop_event: Event
    ) -> RowArrays:
        """This rank's rows of a window from index `window_index` on, in order. Incomplete if
        `stop_event` is set meanwhile.

        batching.split_among_ranks assigns rows to ranks in turn, and steps begin at a multiple of
        world_size after `start`: this rank has the epoch indices i with (i - start) % world_size ==
        rank.
        """
        rows_since_start = int(order.bounds[window]) + window_index - start
        first = window_index + (self.rank - rows_since_start) % self.world_size
        indices = order.permutation(window)[first :: self.world_size]
        rows = self._allocate(len(indices))
        sources = np.empty((len(indices), 2), np.int64)  # shard, and row in it
        rows_before = 0  # in earlier blocks of the window
        for block in order.blocks(window):
            if stop_event.is_set():
                return rows
            size = block.stop - block.start
            in_block = (rows_before <= indices) & (indices < rows_before + size)
            targets = np.flatnonzero(in_block)
            for key, values in _read(self.shards, *block, self.masker).items():
                rows[key][targets] = values[indices[targets] - rows_before]
            sources[targets, 0] = block.shard
            sources[targets, 1] = indices[targets] - rows_before + block.start
            rows_before += size
        if self.masker is not None:
            return self.masker.mask(rows, sources[:, 0], sources[:, 1], order.epoch)
        return rows

    def _allocate(self, count: int) -> RowArrays:
        """Uninitialized arrays for `count` rows."""
        masker, length = self.masker, self.shards.length
        predictions = masker.config.max_predictions if masker else self.shards.predictions
        return {
            key: np.empty((count, *schema.row_shape(key, length, predictions)), dtype)
            for key, dtype in schema.DTYPES.items()
        }


def _read(
    shards: ShardSet, shard: int, start: int, stop: int, masker: RowMasker | None
) -> RowArrays:
    """ShardSet.read; where the masker is to draw the masks, the text without any."""
    if masker is None:
        return shards.read(shard, start, stop)
    rows = shards.read(shard, start, stop, own_masks=False)
    return masker.unmask(rows, str(shards.paths[shard]), start)


def eval_row_ranges(shards: ShardSet, batch_size: int, max_rows: int = -1) -> list[RowRange]:
    """All rows, or `max_rows` of them spread evenly over the shards, as ranges of at most
    `batch_size` rows, each within one block: to be distributed among the ranks and passed to
    read_batches. Which rows they are does not depend on `batch_size`."""
    if not 0 <= max_rows < shards.total:
        return _split_blocks(shards, batch_size)
    # Evenly spaced: the first ranges would all be from one shard, perhaps from one source of text.
    size = max(1, min(_SAMPLE_ROWS, max_rows // _MIN_RANGES))
    ranges, chosen = _split_blocks(shards, size), list[RowRange]()
    num_ranges = -(-max_rows // size)  # rounded up
    while sum(r.stop - r.start for r in chosen) < max_rows:  # ranges at a shard's end are shorter
        num_ranges = min(len(ranges), num_ranges)
        chosen = [ranges[i * len(ranges) // num_ranges] for i in range(num_ranges)]
        num_ranges += 1
    remaining, batches = max_rows, list[RowRange]()
    for shard, start, stop in chosen:
        stop = min(stop, start + remaining)
        remaining -= stop - start
        batches += [
            RowRange(shard, first, min(first + batch_size, stop))
            for first in range(start, stop, batch_size)
        ]
    return batches


def _split_blocks(shards: ShardSet, size: int) -> list[RowRange]:
    """All rows, as ranges of at most `size` rows, each within one block."""
    return [
        RowRange(shard, start, min(start + size, stop))
        for shard, block_start, stop in split_into_blocks(shards.rows, BLOCK_ROWS)
        for start in range(block_start, stop, size)
    ]


def read_batches(
    shards: ShardSet,
    row_ranges: Iterable[RowRange],
    max_predictions: int,
    trim: bool = True,
    maskers: Mapping[int, RowMasker] = MappingProxyType({}),
) -> Iterator[Batch]:
    """Yield the batch of each of the eval_row_ranges(); if they are in order, a block is read only
    once. maskers: by the number of the shard, draw its masks, which max_predictions does not limit.
    Raises DataError as ShardSet.read does."""
    loaded_block: tuple[int, int] | None = None
    rows: RowArrays = {}
    for shard, start, stop in row_ranges:
        block_start, masker = start - start % BLOCK_ROWS, maskers.get(shard)
        if loaded_block != (shard, block_start):
            block_stop = min(block_start + BLOCK_ROWS, shards.rows[shard])
            rows = _read(shards, shard, block_start, block_stop, masker)
            loaded_block = shard, block_start
        batch_rows = _slice_rows(rows, start - block_start, stop - block_start)
        if masker is not None:
            numbers = np.arange(start, stop)
            batch_rows = masker.mask(batch_rows, np.full_like(numbers, shard), numbers, epoch=0)
        limit = masker.config.max_predictions if masker else max_predictions
        yield collate(batch_rows, limit, trim)


def _count(rows: RowArrays) -> int:
    return len(rows["next_sentence_labels"])


def _slice_rows(rows: RowArrays, start: int, stop: int) -> RowArrays:
    return {key: values[start:stop] for key, values in rows.items()}


def _split_rows(rows: RowArrays, sizes: Sequence[int]) -> list[RowArrays]:
    """Split rows into consecutive parts of these sizes."""
    ends = np.cumsum(sizes).tolist()
    return [_slice_rows(rows, end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _concatenate(parts: Sequence[RowArrays]) -> RowArrays:
    return {key: np.concatenate([part[key] for part in parts]) for key in schema.DTYPES}
