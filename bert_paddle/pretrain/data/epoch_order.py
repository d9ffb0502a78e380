"""The order of an epoch's rows over all shards. Pure functions of numbers: no files, no ranks.

Reading single rows in random order would decompress a chunk for each, and reading complete shards
would need memory for a shard. Therefore blocks of contiguous rows are shuffled, and then the rows
within windows of several blocks:

    shards    |---- 0 ----|------- 1 -------|- 2 -|
    blocks    | a | b | c | d | e | f | g |h| i |    at most BLOCK_ROWS each
    shuffled  | f | c |h| a | i | e | g | b | d |
    windows   |---- 0 ----|---- 1 ----|--- 2 ---|    rows of each in random order
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Chunks written by NVIDIA's tool contain about 1000 rows of a few columns: with 1 thread, blocks of
# 2048 are read at 84,000 rows/s, of 1024 at 52,000, of 256 at 16,000 (benchmarks/read_shards.py).
BLOCK_ROWS = 2048
# Rows shuffled together, of eight blocks from all shards: 15 MB at L=128, 60 MB at L=512.
WINDOW_ROWS = 8 * BLOCK_ROWS


class Block(NamedTuple):
    """The rows start..stop of a shard."""

    shard: int
    start: int
    stop: int


def split_into_blocks(rows: Sequence[int], size: int) -> list[Block]:
    """Split shards with `rows` rows each into blocks of at most `size`, in order."""
    return [
        Block(shard, start, min(start + size, count))
        for shard, count in enumerate(rows)
        for start in range(0, count, size)
    ]


class EpochOrder:
    """Every row once, in an order that depends on (rows, seed, epoch) only.

    rows: of each shard. A row's index in the epoch is its `position`: window `w` has the positions
    bounds[w] to bounds[w + 1].
    """

    def __init__(
        self,
        rows: Sequence[int],
        seed: int,
        epoch: int,
        block_rows: int = BLOCK_ROWS,
        window_rows: int = WINDOW_ROWS,
    ):
        if not 0 < block_rows <= window_rows:
            raise ValueError(f"blocks of {block_rows} rows do not fit windows of {window_rows}")
        self.seed, self.epoch = seed, epoch
        blocks = split_into_blocks(rows, block_rows)
        order = np.random.default_rng([seed, epoch, 0]).permutation(len(blocks))
        self._blocks = [blocks[i] for i in order]
        ends = np.cumsum([block.stop - block.start for block in self._blocks])
        # A block belongs to the window of its first row, so that small blocks do not lead to small
        # windows, and a window is at most one block larger than window_rows.
        window = np.concatenate([[0], ends[:-1]]) // window_rows
        first_blocks = np.flatnonzero(np.diff(window, prepend=-1))
        self._first_blocks = [*first_blocks.tolist(), len(blocks)]
        self.bounds = np.concatenate([[0], ends])[self._first_blocks]
        self.total = int(ends[-1])

    @property
    def num_windows(self) -> int:
        """The number of windows."""
        return len(self._first_blocks) - 1

    def blocks(self, window: int) -> list[Block]:
        """The blocks of a window, in order, before their rows are shuffled."""
        return self._blocks[self._first_blocks[window] : self._first_blocks[window + 1]]

    def permutation(self, window: int) -> np.ndarray:
        """int64 [rows of the window]: for each position, its row among those of `blocks`."""
        # From 1: trailing zeros of a seed have no effect, so 0 would repeat the blocks' stream.
        rng = np.random.default_rng([self.seed, self.epoch, window + 1])
        return rng.permutation(int(self.bounds[window + 1] - self.bounds[window]))

    def locate(self, position: int) -> tuple[int, int]:
        """The window of a position, and the offset in it."""
        window = int(np.searchsorted(self.bounds, position, side="right")) - 1
        return window, position - int(self.bounds[window])

    def row(self, position: int) -> tuple[int, int]:
        """The shard of the row at a position, and its number in the shard."""
        window, offset = self.locate(position)
        number = int(self.permutation(window)[offset])
        for block in self.blocks(window):
            if number < block.stop - block.start:
                return block.shard, block.start + number
            number -= block.stop - block.start
        raise IndexError(position)
