"""The global order: every row once, from (rows, seed, epoch) only, in windows of bounded size."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_paddle.pretrain.data.epoch_order import EpochOrder, RowRange, split_into_blocks


def rows_in_order(order: EpochOrder) -> list[tuple[int, int]]:
    """(shard, row) at each epoch_index of the epoch."""
    rows = []
    for window in range(order.num_windows):
        in_blocks = [(b.shard, row) for b in order.blocks(window) for row in range(b.start, b.stop)]
        rows += [in_blocks[i] for i in order.permutation(window)]
    return rows


@given(
    rows=st.lists(st.integers(1, 60), min_size=1, max_size=7),
    block=st.integers(1, 9),
    more=st.integers(0, 20),
    epoch=st.integers(0, 2),
)
def test_an_epoch_is_every_row_once_in_bounded_windows(rows, block, more, epoch):
    order = EpochOrder(rows, 3, epoch, block, block + more)
    all_rows = [(shard, row) for shard, count in enumerate(rows) for row in range(count)]
    assert sorted(rows_in_order(order)) == all_rows
    assert order.total == sum(rows) == order.bounds[-1]
    sizes = np.diff(order.bounds)
    assert sizes.min() > 0
    assert sizes.max() < block + more + block
    for window in range(order.num_windows):
        blocks = order.blocks(window)
        assert (
            sum(b.stop - b.start for b in blocks) == sizes[window] == len(order.permutation(window))
        )


def test_the_order_depends_on_seed_and_epoch():
    def order(seed, epoch):
        return rows_in_order(EpochOrder([50, 3, 20], seed, epoch, 4, 16))

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_rows_are_shuffled_within_blocks_and_over_shards():
    order = EpochOrder([1000, 1000], 1, 0, 50, 400)
    rows = rows_in_order(order)
    ascending = sum(a[0] == b[0] and a[1] + 1 == b[1] for a, b in pairwise(rows))
    assert ascending < 40  # of 1999 neighbours, about 10 stay adjacent by chance
    first_window = rows[:400]
    assert {shard for shard, _ in first_window} == {0, 1}
    assert max(row for _, row in first_window) > 500


def test_each_window_has_its_own_permutation():
    order = EpochOrder([800], 1, 0, 50, 200)
    assert order.permutation(0).tolist() != order.permutation(1).tolist()


def test_the_order_of_blocks_differs_between_epochs():
    first, second = (EpochOrder([800], 1, epoch, 50, 200) for epoch in (0, 1))
    assert [first.blocks(w) for w in range(4)] != [second.blocks(w) for w in range(4)]


def test_many_small_shards_fill_a_window():
    order = EpochOrder([10] * 100, 1, 0, 200, 400)
    assert order.num_windows == 3


@pytest.mark.parametrize("epoch_index", [0, 1, 19, 20, 57, 84])
def test_locate(epoch_index):
    order = EpochOrder([50, 35], 5, 1, 8, 16)
    window, offset = order.locate(epoch_index)
    assert order.bounds[window] + offset == epoch_index
    assert 0 <= offset < order.bounds[window + 1] - order.bounds[window]


def test_the_order_of_a_seed_does_not_change():
    """Runs resume in this order: a change breaks existing checkpoints."""
    order = EpochOrder([5, 4], 42, 3, 2, 4)
    assert rows_in_order(order) == [
        (0, 4),
        (0, 1),
        (0, 0),
        (1, 0),
        (1, 1),
        (0, 2),
        (1, 3),
        (1, 2),
        (0, 3),
    ]


def test_split_into_blocks():
    assert split_into_blocks([5, 2], 3) == [RowRange(0, 0, 3), RowRange(0, 3, 5), RowRange(1, 0, 2)]


def test_blocks_larger_than_windows_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        EpochOrder([5], 1, 0, 8, 4)


def test_row_returns_the_row_that_is_read_at_a_position():
    rows = [7, 30, 1, 12]
    order = EpochOrder(rows, 3, 1, block_rows=4, window_rows=12)
    located = [order.row(epoch_index) for epoch_index in range(order.total)]
    assert sorted(located) == [(s, r) for s, count in enumerate(rows) for r in range(count)]
    first_window = [(b.shard, r) for b in order.blocks(0) for r in range(b.start, b.stop)]
    assert located[: len(first_window)] == [first_window[i] for i in order.permutation(0)]
