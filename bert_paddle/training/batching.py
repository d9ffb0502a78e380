"""Which rows make which batch: pure functions of numbers, the same on every process.

One update trains on a global batch of `cards x batch_size x accumulation` rows. Its rows are cut
into micro-batches (one for each accumulation), and each micro-batch among the ranks:

    rows of an update   0 1 2 3 4 5 6 7 8 9 10 11      (2 ranks, batch 3, accumulation 2)
    micro-batch         |-------0-------| |---1---|
    rank                0 1 0 1 0 1       0 1 0 1 0 1
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")
# Rows of this many global batches are sorted together: enough for even lengths, few enough for
# batches to differ from epoch to epoch.
_POOL = 50


def plan_epoch(
    lengths: np.ndarray, rows_per_step: int, seed: int, epoch: int, group_by_length: bool
) -> list[np.ndarray]:
    """The rows of each update of one epoch; every row once, the last update maybe smaller.

    lengths: int [n], word pieces per row. The order depends on (seed, epoch) alone. With
    `group_by_length` the shuffled rows are sorted by length within pools of many batches, cut
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
    """This rank's part of an update: one array of rows for each micro-batch, maybe empty.

    micro_batch_rows: rows of a micro-batch over all ranks. Strides rather than blocks, so that
    rows sorted by length leave every rank the same work.
    """
    return [part[rank::ranks] for part in chunks(rows, micro_batch_rows)]


def chunks(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """The rows in order in parts of `size`, the last maybe smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def pad(rows: Sequence[np.ndarray], pad_id: int, multiple: int = 1) -> np.ndarray:
    """int64 [rows, longest], filled up with `pad_id`; the width a multiple of `multiple`."""
    longest = max(len(row) for row in rows)
    width = -(-longest // multiple) * multiple
    out = np.full((len(rows), width), pad_id, np.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def prefetch(items: Sequence[Item], make: Callable[[Item], Any], workers: int) -> Iterator[Any]:
    """`make(item)` for each item in order, made ahead by `workers` threads (0: when asked for)."""
    if workers == 0:
        yield from map(make, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers)
    ahead: list[Future] = []
    try:
        for item in items:
            ahead.append(pool.submit(make, item))
            if len(ahead) > 2 * workers:
                yield ahead.pop(0).result()
        while ahead:
            yield ahead.pop(0).result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def listed(rows: Sequence[Any], most: int = 64) -> str:
    """Rows for a message: the first `most`, and how many more."""
    more = f" and {len(rows) - most} more" if len(rows) > most else ""
    return ", ".join(map(str, rows[:most])) + more
