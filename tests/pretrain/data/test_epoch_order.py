"""The global order: every row once, from (rows, seed, epoch) alone, in windows of bounded size."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_paddle.pretrain.data.epoch_order import Block, EpochOrder, cut


def positions(order: EpochOrder) -> list[tuple[int, int]]:
    """(shard, row) at each position of the epoch."""
    places = []
    for window in range(order.windows):
        inside = [(b.shard, row) for b in order.blocks(window) for row in range(b.start, b.stop)]
        places += [inside[i] for i in order.mixed(window)]
    return places


@given(
    rows=st.lists(st.integers(1, 60), min_size=1, max_size=7),
    block=st.integers(1, 9),
    more=st.integers(0, 20),
    epoch=st.integers(0, 2),
)
def test_an_epoch_is_every_row_once_in_bounded_windows(rows, block, more, epoch):
    order = EpochOrder(rows, 3, epoch, block, block + more)
    everything = [(shard, row) for shard, count in enumerate(rows) for row in range(count)]
    assert sorted(positions(order)) == everything
    assert order.total == sum(rows) == order.bounds[-1]
    sizes = np.diff(order.bounds)
    assert sizes.min() > 0
    assert sizes.max() < block + more + block
    for window in range(order.windows):
        inside = order.blocks(window)
        assert sum(b.stop - b.start for b in inside) == sizes[window] == len(order.mixed(window))


def test_seed_and_epoch_decide():
    def order(seed, epoch):
        return positions(EpochOrder([50, 3, 20], seed, epoch, 4, 16))

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_rows_are_mixed_within_blocks_and_over_shards():
    order = EpochOrder([1000, 1000], 1, 0, 50, 400)
    places = positions(order)
    ascending = sum(a[0] == b[0] and a[1] + 1 == b[1] for a, b in pairwise(places))
    assert ascending < 40  # of 1999 neighbours, some 10 stay together by chance
    first_window = places[:400]
    assert {shard for shard, _ in first_window} == {0, 1}
    assert max(row for _, row in first_window) > 500


def test_windows_are_mixed_each_in_its_own_way():
    order = EpochOrder([800], 1, 0, 50, 200)
    assert order.mixed(0).tolist() != order.mixed(1).tolist()


def test_blocks_come_in_another_order_each_epoch():
    one, two = (EpochOrder([800], 1, epoch, 50, 200) for epoch in (0, 1))
    assert [one.blocks(w) for w in range(4)] != [two.blocks(w) for w in range(4)]


def test_many_small_shards_fill_a_window_all_the_same():
    order = EpochOrder([10] * 100, 1, 0, 200, 400)
    assert order.windows == 3


@pytest.mark.parametrize("position", [0, 1, 19, 20, 57, 84])
def test_locate(position):
    order = EpochOrder([50, 35], 5, 1, 8, 16)
    window, offset = order.locate(position)
    assert order.bounds[window] + offset == position
    assert 0 <= offset < order.bounds[window + 1] - order.bounds[window]


def test_the_order_of_a_seed_does_not_change():
    """Checkpoints resume into this order: a change breaks the runs of everybody."""
    order = EpochOrder([5, 4], 42, 3, 2, 4)
    assert positions(order) == [
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


def test_cut():
    assert cut([5, 2], 3) == [Block(0, 0, 3), Block(0, 3, 5), Block(1, 0, 2)]


def test_blocks_larger_than_windows_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        EpochOrder([5], 1, 0, 8, 4)


def test_the_row_at_a_position_is_the_one_that_is_read_there():
    rows = [7, 30, 1, 12]
    order = EpochOrder(rows, 3, 1, block_rows=4, window_rows=12)
    found = [order.row(position) for position in range(order.total)]
    assert sorted(found) == [(s, r) for s, count in enumerate(rows) for r in range(count)]
    first = [(b.shard, r) for b in order.blocks(0) for r in range(b.start, b.stop)]
    assert found[: len(first)] == [first[i] for i in order.mixed(0)]
