"""Plans: every row once, the same for any number of ranks, grouped by length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert_paddle.training import batching

LENGTHS = np.random.default_rng(0).integers(3, 128, 1000)


@given(
    rows=st.integers(1, 300),
    size=st.integers(1, 40),
    epoch=st.integers(0, 3),
    group=st.booleans(),
)
def test_an_epoch_is_every_row_once(rows, size, epoch, group):
    plan = batching.plan_epoch(LENGTHS[:rows], size, seed=7, epoch=epoch, group_by_length=group)
    assert sorted(np.concatenate(plan).tolist()) == list(range(rows))
    assert len(plan) == -(-rows // size)
    assert sorted(len(update) for update in plan)[1:] == [size] * (len(plan) - 1)


@pytest.mark.parametrize("group", [False, True])
def test_order_depends_on_seed_and_epoch_alone(group):
    def order(seed, epoch):
        return np.concatenate(batching.plan_epoch(LENGTHS, 32, seed, epoch, group)).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_grouping_saves_padding():
    def padded(group):
        plan = batching.plan_epoch(LENGTHS, 32, 1, 0, group)
        return sum(LENGTHS[update].max() * len(update) for update in plan)

    assert padded(True) < 1.1 * LENGTHS.sum() < padded(False)


@given(rows=st.integers(1, 50), micro=st.integers(1, 20), ranks=st.integers(1, 5))
def test_ranks_share_an_update_without_loss(rows, micro, ranks):
    update = np.arange(100, 100 + rows)
    parts = [
        batching.split_among_ranks(update, micro * ranks, rank, ranks) for rank in range(ranks)
    ]
    assert len({len(part) for part in parts}) == 1  # the same number of micro-batches everywhere
    everything = np.concatenate([batch for part in parts for batch in part])
    assert sorted(everything.tolist()) == update.tolist()
    assert max(len(batch) for part in parts for batch in part) <= micro


def test_padding():
    rows = [np.array([1, 2, 3]), np.array([4])]
    assert batching.pad(rows, 9).tolist() == [[1, 2, 3], [4, 9, 9]]
    assert batching.pad(rows, 0, multiple=8).shape == (2, 8)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_prepared_keeps_the_order(workers):
    assert list(batching.prefetch(range(50), lambda i: i * i, workers)) == [
        i * i for i in range(50)
    ]


def test_prepared_passes_errors_on():
    with pytest.raises(ZeroDivisionError):
        list(batching.prefetch([1, 0], lambda i: 1 / i, 2))
