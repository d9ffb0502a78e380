"""The order of an epoch's rows over all shards. Pure functions of numbers: no files, no ranks.

Single rows drawn from all over the shards would decompress a chunk for each, and shards read whole
would need memory for a shard. So blocks of contiguous rows are shuffled, and then the rows of
some blocks among themselves:

    shards    |---- 0 ----|------- 1 -------|- 2 -|
    blocks    | a | b | c | d | e | f | g |h| i |    at most BLOCK_ROWS each
    shuffled  | f | c |h| a | i | e | g | b | d |
    windows   |---- 0 ----|---- 1 ----|--- 2 ---|    each one's rows in random order
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Chunks as NVIDIA's tool leaves them hold about 1000 rows of a few columns: blocks of 2048 read
# 84,000 rows/s (1 thread), of 1024 52,000, of 256 16,000. benchmarks/read_shards.py measures.
BLOCK_ROWS = 2048
# Rows mixed with each other, of eight blocks from anywhere: 15 MB at L=128, 60 MB at L=512.
WINDOW_ROWS = 8 * BLOCK_ROWS


class Block(NamedTuple):
    """The rows start..stop of a shard."""

    shard: int
    start: int
    stop: int


def cut(rows: Sequence[int], size: int) -> list[Block]:
    """All rows of shards with `rows` rows each, in order, as blocks of at most `size`."""
    return [
        Block(shard, start, min(start + size, count))
        for shard, count in enumerate(rows)
        for start in range(0, count, size)
    ]


class EpochOrder:
    """Every row once, in an order that (rows, seed, epoch) alone decide.

    rows: of each shard. A row's place in the epoch is its `position`: window `w` has the positions
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
        blocks = cut(rows, block_rows)
        order = np.random.default_rng([seed, epoch, 0]).permutation(len(blocks))
        self._blocks = [blocks[i] for i in order]
        ends = np.cumsum([block.stop - block.start for block in self._blocks])
        # A block belongs to the window that its first row falls into, so that small blocks make
        # no small windows, and a window is at most one block larger than window_rows.
        window = np.concatenate([[0], ends[:-1]]) // window_rows
        first = np.flatnonzero(np.diff(window, prepend=-1))
        self._first = [*first.tolist(), len(blocks)]
        self.bounds = np.concatenate([[0], ends])[self._first]
        self.total = int(ends[-1])

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self._first) - 1

    def blocks(self, window: int) -> list[Block]:
        """The blocks of a window, one after the other before their rows are mixed."""
        return self._blocks[self._first[window] : self._first[window + 1]]

    def mixed(self, window: int) -> np.ndarray:
        """int64 [rows of the window]: for each position, the row among those of `blocks`."""
        # From 1 on: a seed's trailing zeros count for nothing, and the blocks have that stream.
        rng = np.random.default_rng([self.seed, self.epoch, window + 1])
        return rng.permutation(int(self.bounds[window + 1] - self.bounds[window]))

    def locate(self, position: int) -> tuple[int, int]:
        """The window of a position of the epoch, and the offset in it."""
        window = int(np.searchsorted(self.bounds, position, side="right")) - 1
        return window, position - int(self.bounds[window])

    def row(self, position: int) -> tuple[int, int]:
        """The shard of the row at a position of the epoch, and its number there."""
        window, offset = self.locate(position)
        number = int(self.mixed(window)[offset])
        for block in self.blocks(window):
            if number < block.stop - block.start:
                return block.shard, block.start + number
            number -= block.stop - block.start
        raise IndexError(position)
