"""Pre-training rows as batches: read ahead in the background, one block at a time. No paddle."""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np

from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data import shards as data_shards
from bert_paddle.pretrain.data.epoch_order import BLOCK_ROWS, WINDOW_ROWS, Block, EpochOrder, cut
from bert_paddle.pretrain.data.shards import RowArrays, Shards
from bert_paddle.training import batching
from bert_paddle.training.step import Batch


def collate(rows: RowArrays, max_predictions: int, trim: bool = True) -> Batch:
    """What the model is given, from n rows of the layout; {} when there are none.

    input_ids, input_mask, segment_ids: int64 [n, width], the width the last column that any row's
    mask needs (`trim`) or L. masked_positions: int64 [m], row * width + position, for each row in
    turn its first `max_predictions` at most. masked_lm_ids: int64 [m], the labels at these;
    m may be 0. next_sentence_labels: int64 [n].
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
    used = data_shards.used(positions)
    flat = positions.astype(np.int64) + width * np.arange(count)[:, None]
    batch["masked_positions"] = flat[used]
    batch["masked_lm_ids"] = rows["masked_lm_ids"][:, :max_predictions][used].astype(np.int64)
    batch["next_sentence_labels"] = rows["next_sentence_labels"].astype(np.int64)
    return batch


class PretrainLoader:
    """This rank's part of the training rows, epoch by epoch (training.Batches).

    Every rank reads every block and keeps its own rows: whatever the shards and ranks, all make
    the same number of steps, and a bad row stops all of them before the same step. Held are at
    most this rank's rows of two windows, those of the batch, and one block.
    """

    def __init__(
        self,
        shards: Shards,
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
            raise ValueError(f"{micro_rows} rows cannot be dealt evenly to {ranks} ranks")
        self.shards, self.seed, self.rank, self.ranks = shards, seed, rank, ranks
        self.micro_rows, self.max_predictions, self.trim = micro_rows, max_predictions, trim
        self.block_rows, self.window_rows = block_rows, window_rows
        self.rows_per_step = micro_rows * accumulation
        self.steps_per_epoch = -(-shards.total // self.rows_per_step)
        self.rows_per_epoch = shards.total
        self.planned_rows = self.rows_per_step  # the order here does not depend on it

    def steps(self, epoch: int, start: int) -> Iterator[list[Batch]]:
        """The micro-batches of each update of an epoch, from its row `start` on. Raises DataError
        where a bad row or a damaged file is met, on all ranks before the same update."""
        order = EpochOrder(self.shards.rows, self.seed, epoch, self.block_rows, self.window_rows)
        if start >= order.total:
            return
        window, _ = order.locate(start)
        ready, rest = int(order.bounds[window]), self._space(0)
        windows = self._windows(order, start)
        try:
            for begin in range(start, order.total, self.rows_per_step):
                end = min(begin + self.rows_per_step, order.total)
                pieces = []
                # By position, not by need: an error has to reach all ranks at this update, those
                # too whose own rows of it lie in the windows before.
                while ready < end:
                    pieces.append({key: values.copy() for key, values in rest.items()})
                    rest = {}  # lets go of the window before the next but one is read
                    rest = next(windows)
                    window += 1
                    ready = int(order.bounds[window])
                parts = batching.split_among_ranks(
                    np.arange(begin, end), self.micro_rows, self.rank, self.ranks
                )
                sizes = [len(part) for part in parts]
                missing = sum(sizes) - sum(map(_count, pieces))
                pieces.append(_part(rest, 0, missing))
                rest = _part(rest, missing, _count(rest))
                yield [
                    collate(rows, self.max_predictions, self.trim)
                    for rows in _parts(_joined(pieces), sizes)
                ]
        finally:
            windows.close()

    def rows_of(self, epoch: int, start: int) -> str:
        """The rows of the update that begins at row `start` of an epoch, for a message: shard and
        number, from 0."""
        order = EpochOrder(self.shards.rows, self.seed, epoch, self.block_rows, self.window_rows)
        places = range(start, min(start + self.rows_per_step, order.total))
        names = []
        for place in places:
            shard, row = order.row(place)
            names.append(f"{self.shards.paths[shard].name}:{row}")
        return f"rows {batching.listed(names)}, from 0"

    def _windows(self, order: EpochOrder, first: int) -> Generator[RowArrays, None, None]:
        """This rank's rows of each window from position `first` on, while the next one is read."""
        window, offset = order.locate(first)
        stop = Event()
        pool = ThreadPoolExecutor(1, thread_name_prefix="shards")
        try:
            ahead = pool.submit(self._read, order, first, window, offset, stop)
            for after in range(window + 1, order.windows + 1):
                rows = ahead.result()
                if after < order.windows:
                    ahead = pool.submit(self._read, order, first, after, 0, stop)
                yield rows
                del rows
        finally:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _read(
        self, order: EpochOrder, first: int, window: int, offset: int, stop: Event
    ) -> RowArrays:
        """This rank's rows of a window, from `offset` on, in order. Ends early once `stop` is set.

        batching.split deals positions out in turn, and updates begin at a multiple of `ranks` from
        `first` on: the positions p with (p - first) % ranks == rank are this rank's.
        """
        begin = int(order.bounds[window]) + offset - first
        sources = order.mixed(window)[offset + (self.rank - begin) % self.ranks :: self.ranks]
        rows = self._space(len(sources))
        done = 0
        for block in order.blocks(window):
            if stop.is_set():
                break
            size = block.stop - block.start
            places = np.flatnonzero((done <= sources) & (sources < done + size))
            for key, values in self.shards.read(*block).items():
                rows[key][places] = values[sources[places] - done]
            done += size
        return rows

    def _space(self, count: int) -> RowArrays:
        """Room for `count` rows."""
        length, predictions = self.shards.length, self.shards.predictions
        return {
            key: np.empty((count, *schema.row_shape(key, length, predictions)), dtype)
            for key, dtype in schema.DTYPES.items()
        }


def eval_slices(shards: Shards, batch_size: int, max_rows: int = -1) -> list[Block]:
    """All rows once, or `max_rows` of them from all over the shards, as slices of at most
    `batch_size`: to be dealt out among the ranks and given to read_batches. No slice crosses a
    block."""
    slices = [
        Block(shard, start, min(start + batch_size, stop))
        for shard, begin, stop in cut(shards.rows, BLOCK_ROWS)
        for start in range(begin, stop, batch_size)
    ]
    if not 0 <= max_rows < shards.total:
        return slices
    # The first slices would all be of one shard, perhaps of one kind of text.
    wanted = min(len(slices), -(-max_rows // batch_size))
    chosen = [slices[i * len(slices) // wanted] for i in range(wanted)]
    kept, left = [], max_rows
    for one in chosen:
        if left > 0:
            kept.append(one._replace(stop=min(one.stop, one.start + left)))
        left -= one.stop - one.start
    return kept


def read_batches(
    shards: Shards, slices: Sequence[Block], max_predictions: int, trim: bool = True
) -> Iterator[Batch]:
    """The batch of each slice of eval_slices; slices in order read a block once. Raises
    DataError as Shards.read does.
    """
    held: tuple[int, int] | None = None
    rows: RowArrays = {}
    for shard, start, stop in slices:
        begin = start - start % BLOCK_ROWS
        if held != (shard, begin):
            rows = shards.read(shard, begin, min(begin + BLOCK_ROWS, shards.rows[shard]))
            held = shard, begin
        yield collate(_part(rows, start - begin, stop - begin), max_predictions, trim)


def _count(rows: RowArrays) -> int:
    return len(rows["next_sentence_labels"])


def _part(rows: RowArrays, start: int, stop: int) -> RowArrays:
    return {key: values[start:stop] for key, values in rows.items()}


def _parts(rows: RowArrays, sizes: Sequence[int]) -> list[RowArrays]:
    ends = np.cumsum(sizes).tolist()
    return [_part(rows, end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _joined(pieces: Sequence[RowArrays]) -> RowArrays:
    return {key: np.concatenate([piece[key] for piece in pieces]) for key in schema.DTYPES}
