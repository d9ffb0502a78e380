"""The order of an epoch's rows over all shards. Pure functions: no files are read, and the order
does not depend on the ranks.

Reading single rows in random order would decompress a chunk for each, and reading complete shards
would need memory for a shard. Therefore blocks of contiguous rows are shuffled, and then the rows
within windows of several consecutive blocks of that order:

    shards    |---- 0 ----|------- 1 -------|- 2 -|
    blocks    | a | b | c | d | e | f | g |h| i |    at most BLOCK_ROWS each
    shuffled  | f | c |h| a | i | e | g | b | d |
    windows   |---- 0 ----|---- 1 ----|--- 2 ---|    rows of each window in random order
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Chunks written by NVIDIA's tool contain about 1000 rows of a few columns: with 1 thread, blocks of
# 2048 are read at 84,000 rows/s, of 1024 at 52,000, of 256 at 16,000 (benchmarks/read_shards.py).
BLOCK_ROWS = 2048
# Rows shuffled together, from blocks drawn from any of the shards: 15 MB at sequence length 128,
# 60 MB at 512.
WINDOW_ROWS = 8 * BLOCK_ROWS


class RowRange(NamedTuple):
    """The rows start to stop - 1 of a shard."""

    shard: int
    start: int
    stop: int


def split_into_blocks(rows_per_shard: Sequence[int], size: int) -> list[RowRange]:
    """Split each shard into blocks of at most `size` rows, in order."""
    return [
        RowRange(shard, start, min(start + size, count))
        for shard, count in enumerate(rows_per_shard)
        for start in range(0, count, size)
    ]


class EpochOrder:
    """Every row once, in an order that depends on (rows_per_shard, seed, epoch) only.

    `epoch_index` is a row's index in this order; the rows of window w have the epoch indices
    bounds[w] to bounds[w + 1] - 1. total: the number of rows.
    """

    def __init__(
        self,
        rows_per_shard: Sequence[int],
        seed: int,
        epoch: int,
        block_rows: int = BLOCK_ROWS,
        window_rows: int = WINDOW_ROWS,
    ):
        if not 0 < block_rows <= window_rows:
            raise ValueError(
                f"blocks of {block_rows} rows do not fit into windows of {window_rows}"
            )
        self.seed, self.epoch = seed, epoch
        blocks = split_into_blocks(rows_per_shard, block_rows)
        order = np.random.default_rng([seed, epoch, 0]).permutation(len(blocks))
        self._blocks = [blocks[i] for i in order]
        ends = np.cumsum([block.stop - block.start for block in self._blocks])
        # A block belongs to the window of its first row: a window is less than one block larger
        # than window_rows, and as large with small blocks as with large ones.
        window = np.concatenate([[0], ends[:-1]]) // window_rows
        first_blocks = np.flatnonzero(np.diff(window, prepend=-1))
        self._first_blocks = [*first_blocks.tolist(), len(blocks)]
        self.bounds = np.concatenate([[0], ends])[self._first_blocks]
        self.total = int(ends[-1])

    @property
    def num_windows(self) -> int:
        """The number of windows."""
        return len(self._first_blocks) - 1

    def blocks(self, window: int) -> list[RowRange]:
        """The blocks of a window, in order, before their rows are shuffled."""
        return self._blocks[self._first_blocks[window] : self._first_blocks[window + 1]]

    def permutation(self, window: int) -> np.ndarray:
        """The row order in a window: int64 indices into the concatenated rows of its blocks."""
        # + 1: [seed, epoch, 0] already seeds the block shuffle.
        rng = np.random.default_rng([self.seed, self.epoch, window + 1])
        return rng.permutation(int(self.bounds[window + 1] - self.bounds[window]))

    def locate(self, epoch_index: int) -> tuple[int, int]:
        """The window that contains the row with this index, and the row's index in that window."""
        window = int(np.searchsorted(self.bounds, epoch_index, side="right")) - 1
        return window, epoch_index - int(self.bounds[window])

    def row(self, epoch_index: int) -> tuple[int, int]:
        """(shard, row): which row of which shard has this index in the epoch."""
        window, window_index = self.locate(epoch_index)
        row = int(self.permutation(window)[window_index])
        for block in self.blocks(window):
            if row < block.stop - block.start:
                return block.shard, block.start + row
            row -= block.stop - block.start
        raise IndexError(epoch_index)
