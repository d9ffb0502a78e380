"""The order and batching of training rows: pure functions, with the same result on every rank.

One step trains on a global batch of `ranks x batch_size x accumulation` rows. Its rows are split
into micro-batches (one per accumulation), and each micro-batch among the ranks:

    rows of a step      0 1 2 3 4 5 6 7 8 9 10 11      (2 ranks, batch 3, accumulation 2)
    micro-batch         |-------0-------| |---1---|
    rank                0 1 0 1 0 1       0 1 0 1 0 1
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
# Global batches per pool of rows sorted by length: enough for little padding, few enough
# for batches to differ from epoch to epoch.
_POOL = 50


def plan_epoch(
    lengths: np.ndarray, rows_per_step: int, seed: int, epoch: int, group_by_length: bool
) -> list[np.ndarray]:
    """The rows of each step of an epoch: every row once; the last step may have fewer.

    lengths: int [n], tokens per row. The order depends on (seed, epoch) alone. With
    `group_by_length` the shuffled rows are sorted by length within pools of several batches, split
    into batches, and the batches shuffled.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    if not group_by_length:
        return chunks(order, rows_per_step)
    batches: list[np.ndarray] = []
    for pool in chunks(order, rows_per_step * _POOL):
        batches += chunks(pool[np.argsort(lengths[pool], kind="stable")], rows_per_step)
    return [batches[i] for i in rng.permutation(len(batches))]


def split_among_ranks(
    rows: np.ndarray, micro_batch_rows: int, rank: int, ranks: int
) -> list[np.ndarray]:
    """This rank's rows of a step: one array per micro-batch, possibly empty.

    micro_batch_rows: rows of a micro-batch over all ranks. Strided rather than in blocks, so that
    rows sorted by length give every rank the same work.
    """
    return [part[rank::ranks] for part in chunks(rows, micro_batch_rows)]


def chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """The rows in order, in parts of `size`; the last may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def pad(rows: Sequence[np.ndarray], pad_id: int, multiple: int = 1) -> np.ndarray:
    """int64 [rows, width], padded with `pad_id`; width: longest row, rounded up to `multiple`."""
    longest = max(len(row) for row in rows)
    width = -(-longest // multiple) * multiple
    padded = np.full((len(rows), width), pad_id, np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


def prefetch(items: Sequence[Item], make: Callable[[Item], Any], workers: int) -> Iterator[Any]:
    """`make(item)` for each item in order, computed ahead by `workers` threads (0: on demand)."""
    if workers == 0:
        yield from map(make, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers)
    futures: list[Future] = []
    try:
        for item in items:
            futures.append(pool.submit(make, item))
            if len(futures) > 2 * workers:
                yield futures.pop(0).result()
        while futures:
            yield futures.pop(0).result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def format_rows(rows: Sequence[Any], limit: int = 64) -> str:
    """Rows for a message: the first `limit`, and how many more."""
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return ", ".join(map(str, rows[:limit])) + more
