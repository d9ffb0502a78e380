"""The order and batching of training rows: pure functions, with the same result on every rank.

One step trains on a global batch of world_size x batch_size x gradient_accumulation_steps rows.
Its rows are split into micro-batches (one per forward and backward pass), and the rows of each
micro-batch among the ranks:

    rows of a step      0 1 2 3 4 5 6 7 8 9 10 11      (2 ranks, batch size 3, 2 accumulation steps)
    micro-batch         |-------0-------| |---1---|
    rank                0 1 0 1 0 1       0 1 0 1 0 1
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
# Rows are sorted by length within pools of this many global batches: enough for little padding, few
# enough that batches differ from epoch to epoch.
_POOL_BATCHES = 50
_SPLIT_SEED = 0x5B117  # makes the split's random numbers independent of the row order's


def plan_epoch(
    lengths: np.ndarray, rows_per_step: int, seed: int, epoch: int, group_by_length: bool
) -> list[np.ndarray]:
    """The rows of each step of an epoch. Every row occurs once; the last step may have fewer rows.

    lengths: int [n], tokens per row. The order depends only on the arguments. With
    `group_by_length` the shuffled rows are sorted by length within pools of several batches and
    split into batches, which are shuffled.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    if not group_by_length:
        return chunks(order, rows_per_step)
    batches: list[np.ndarray] = []
    for pool in chunks(order, rows_per_step * _POOL_BATCHES):
        batches += chunks(pool[np.argsort(lengths[pool], kind="stable")], rows_per_step)
    return [batches[i] for i in rng.permutation(len(batches))]


def split_among_ranks(
    rows: np.ndarray, micro_batch_rows: int, rank: int, world_size: int
) -> list[np.ndarray]:
    """This rank's rows of a step: one array per micro-batch, possibly empty.

    micro_batch_rows: rows of a micro-batch over all ranks. A rank gets every `world_size`-th row,
    not a block of rows, so that rows sorted by length are the same amount of work for all ranks.
    """
    return [micro_batch[rank::world_size] for micro_batch in chunks(rows, micro_batch_rows)]


def chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Split the rows, in order, into arrays of `size` rows; the last may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def pad(rows: Sequence[np.ndarray], pad_id: int, multiple: int = 1) -> np.ndarray:
    """int64 [rows, width], padded on the right with `pad_id`. width: that of the longest row,
    rounded up to a multiple of `multiple`."""
    longest = max(len(row) for row in rows)
    width = -(-longest // multiple) * multiple
    padded = np.full((len(rows), width), pad_id, np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


def prefetch(items: Sequence[Item], function: Callable[[Item], Any], workers: int) -> Iterator[Any]:
    """Yield `function(item)` for each item, in order. `workers` threads compute results in advance;
    with 0 they are computed on demand."""
    if workers == 0:
        yield from map(function, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers)
    futures: list[Future] = []
    try:
        for item in items:
            futures.append(pool.submit(function, item))
            if len(futures) > 2 * workers:
                yield futures.pop(0).result()
        while futures:
            yield futures.pop(0).result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def hold_out_rows(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """A random share of `count` rows, at least one, for evaluation: returns the indices of the
    (training rows, dev rows), both ascending; (all rows, None) for share 0 or a single row."""
    # 1e-9: a product such as 0.07 * 100 = 7.000000000000001 is not rounded up to 8.
    held_out = min(math.ceil(share * count - 1e-9), count - 1)
    if held_out < 1:
        return np.arange(count), None
    order = np.random.default_rng([_SPLIT_SEED, seed]).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def format_rows(rows: Sequence[Any], limit: int = 64) -> str:
    """Row numbers for a message: the first `limit`, and how many more there are."""
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return ", ".join(map(str, rows[:limit])) + more
