"""Batches of pre-training rows, read ahead in a background thread, block by block. No paddle."""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np

from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.epoch_order import (
    BLOCK_ROWS,
    WINDOW_ROWS,
    Block,
    EpochOrder,
    split_into_blocks,
)
from bert_paddle.pretrain.data.shards import RowArrays, ShardSet, used_predictions
from bert_paddle.training import batching
from bert_paddle.training.step import Batch


def collate(rows: RowArrays, max_predictions: int, trim: bool = True) -> Batch:
    """The model's inputs for n rows of the layout; {} for no rows.

    input_ids, input_mask, segment_ids: int64 [n, width], where width is the longest row's length
    (`trim`) or L. masked_positions: int64 [m], row * width + position, at most the first
    `max_predictions` of each row. masked_lm_ids: int64 [m], the labels at these; m may be 0.
    next_sentence_labels: int64 [n].
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

    Every rank reads every block and keeps its own rows: for any shards and world size, all ranks
    have the same number of steps, and a bad row stops all of them before the same step. Memory
    use is at most this rank's rows of two windows, those of the batch, and one block.
    """

    def __init__(
        self,
        shards: ShardSet,
        seed: int,
        micro_rows: int,
        accumulation: int,
        rank: int,
        ranks: int,
        max_predictions: int,
        trim: bool = True,
        block_rows: int = BLOCK_ROWS,
        window_rows: int = WINDOW_ROWS,
    ):
        """micro_rows: rows of a micro-batch over all ranks, a multiple of `ranks`."""
        if micro_rows % ranks:
            raise ValueError(f"{micro_rows} rows cannot be split evenly among {ranks} ranks")
        self.shards, self.seed, self.rank, self.ranks = shards, seed, rank, ranks
        self.micro_rows, self.max_predictions, self.trim = micro_rows, max_predictions, trim
        self.block_rows, self.window_rows = block_rows, window_rows
        self.rows_per_step = micro_rows * accumulation
        self.steps_per_epoch = -(-shards.total // self.rows_per_step)
        self.rows_per_epoch = shards.total
        self.planned_rows = self.rows_per_step  # the order here does not depend on it

    def steps(self, epoch: int, start: int) -> Iterator[list[Batch]]:
        """Yield the micro-batches of each step of an epoch, starting at its row `start`. Raises
        DataError for a bad row or a damaged file, on all ranks before the same step."""
        order = EpochOrder(self.shards.rows, self.seed, epoch, self.block_rows, self.window_rows)
        if start >= order.total:
            return
        window, _ = order.locate(start)
        rows_read, rest = int(order.bounds[window]), self._allocate(0)
        windows = self._windows(order, start)
        try:
            for begin in range(start, order.total, self.rows_per_step):
                end = min(begin + self.rows_per_step, order.total)
                parts = []
                # By position, even if this rank needs no rows of the window: an error must reach
                # all ranks at the same step.
                while rows_read < end:
                    parts.append({key: values.copy() for key, values in rest.items()})
                    rest = {}  # free this window before the one after next is read
                    rest = next(windows)
                    window += 1
                    rows_read = int(order.bounds[window])
                micro_batches = batching.split_among_ranks(
                    np.arange(begin, end), self.micro_rows, self.rank, self.ranks
                )
                sizes = [len(positions) for positions in micro_batches]
                missing = sum(sizes) - sum(map(_count, parts))
                parts.append(_slice_rows(rest, 0, missing))
                rest = _slice_rows(rest, missing, _count(rest))
                yield [
                    collate(rows, self.max_predictions, self.trim)
                    for rows in _split_rows(_concatenate(parts), sizes)
                ]
        finally:
            windows.close()

    def describe_rows(self, epoch: int, start: int) -> str:
        """The rows of the step that begins at row `start` of an epoch, for a message: shard and
        row number, from 0."""
        order = EpochOrder(self.shards.rows, self.seed, epoch, self.block_rows, self.window_rows)
        names = []
        for position in range(start, min(start + self.rows_per_step, order.total)):
            shard, row = order.row(position)
            names.append(f"{self.shards.paths[shard].name}:{row}")
        return f"rows {batching.format_rows(names)}, from 0"

    def _windows(self, order: EpochOrder, first: int) -> Generator[RowArrays, None, None]:
        """Yield this rank's rows of each window from position `first`, reading one window ahead."""
        window, offset = order.locate(first)
        stop = Event()
        pool = ThreadPoolExecutor(1, thread_name_prefix="shards")
        try:
            future = pool.submit(self._read_window, order, first, window, offset, stop)
            for next_window in range(window + 1, order.num_windows + 1):
                rows = future.result()
                if next_window < order.num_windows:
                    future = pool.submit(self._read_window, order, first, next_window, 0, stop)
                yield rows
                del rows
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _read_window(
        self, order: EpochOrder, first: int, window: int, offset: int, stop: Event
    ) -> RowArrays:
        """This rank's rows of a window from `offset`, in order. Ends early once `stop` is set.

        batching.split_among_ranks assigns positions to ranks in turn, and steps begin at a multiple
        of `ranks` after `first`: this rank has the positions p with (p - first) % ranks == rank.
        """
        begin = int(order.bounds[window]) + offset - first
        sources = order.permutation(window)[offset + (self.rank - begin) % self.ranks :: self.ranks]
        rows = self._allocate(len(sources))
        rows_before = 0
        for block in order.blocks(window):
            if stop.is_set():
                break
            size = block.stop - block.start
            in_block = (rows_before <= sources) & (sources < rows_before + size)
            targets = np.flatnonzero(in_block)
            for key, values in self.shards.read(*block).items():
                rows[key][targets] = values[sources[targets] - rows_before]
            rows_before += size
        return rows

    def _allocate(self, count: int) -> RowArrays:
        """Uninitialized arrays for `count` rows."""
        length, predictions = self.shards.length, self.shards.predictions
        return {
            key: np.empty((count, *schema.row_shape(key, length, predictions)), dtype)
            for key, dtype in schema.DTYPES.items()
        }


def eval_slices(shards: ShardSet, batch_size: int, max_rows: int = -1) -> list[Block]:
    """All rows once, or `max_rows` of them spread over the shards, as slices of at most
    `batch_size`, to be sharded among the ranks and passed to read_batches. No slice crosses a
    block."""
    slices = [
        Block(shard, start, min(start + batch_size, stop))
        for shard, begin, stop in split_into_blocks(shards.rows, BLOCK_ROWS)
        for start in range(begin, stop, batch_size)
    ]
    if not 0 <= max_rows < shards.total:
        return slices
    # The first slices would all be of one shard, perhaps of one source of text.
    num_slices = min(len(slices), -(-max_rows // batch_size))
    chosen, left = [], max_rows
    for block in (slices[i * len(slices) // num_slices] for i in range(num_slices)):
        if left > 0:
            chosen.append(block._replace(stop=min(block.stop, block.start + left)))
        left -= block.stop - block.start
    return chosen


def read_batches(
    shards: ShardSet, slices: Sequence[Block], max_predictions: int, trim: bool = True
) -> Iterator[Batch]:
    """Yield the batch of each slice of eval_slices; slices in order read a block only once. Raises
    DataError as ShardSet.read does.
    """
    loaded_block: tuple[int, int] | None = None
    rows: RowArrays = {}
    for shard, start, stop in slices:
        begin = start - start % BLOCK_ROWS
        if loaded_block != (shard, begin):
            rows = shards.read(shard, begin, min(begin + BLOCK_ROWS, shards.rows[shard]))
            loaded_block = shard, begin
        yield collate(_slice_rows(rows, start - begin, stop - begin), max_predictions, trim)


def _count(rows: RowArrays) -> int:
    return len(rows["next_sentence_labels"])


def _slice_rows(rows: RowArrays, start: int, stop: int) -> RowArrays:
    return {key: values[start:stop] for key, values in rows.items()}


def _split_rows(rows: RowArrays, sizes: Sequence[int]) -> list[RowArrays]:
    ends = np.cumsum(sizes).tolist()
    return [_slice_rows(rows, end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _concatenate(parts: Sequence[RowArrays]) -> RowArrays:
    return {key: np.concatenate([part[key] for part in parts]) for key in schema.DTYPES}
