"""Epoch plans: every row once, the same rows for any number of ranks, grouping by length."""

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
def test_an_epoch_has_every_row_once(rows, size, epoch, group):
    plan = batching.plan_epoch(LENGTHS[:rows], size, seed=7, epoch=epoch, group_by_length=group)
    assert sorted(np.concatenate(plan).tolist()) == list(range(rows))
    assert len(plan) == -(-rows // size)
    assert sorted(len(step_rows) for step_rows in plan)[1:] == [size] * (len(plan) - 1)


@pytest.mark.parametrize("group", [False, True])
def test_order_depends_on_seed_and_epoch_alone(group):
    def order(seed, epoch):
        return np.concatenate(batching.plan_epoch(LENGTHS, 32, seed, epoch, group)).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_grouping_saves_padding():
    def padded_tokens(group):
        plan = batching.plan_epoch(LENGTHS, 32, 1, 0, group)
        return sum(LENGTHS[step_rows].max() * len(step_rows) for step_rows in plan)

    assert padded_tokens(True) < 1.1 * LENGTHS.sum() < padded_tokens(False)


@given(rows=st.integers(1, 50), micro=st.integers(1, 20), ranks=st.integers(1, 5))
def test_ranks_split_a_step_without_loss(rows, micro, ranks):
    step_rows = np.arange(100, 100 + rows)
    parts = [
        batching.split_among_ranks(step_rows, micro * ranks, rank, ranks) for rank in range(ranks)
    ]
    assert len({len(part) for part in parts}) == 1  # the same number of micro-batches everywhere
    all_rows = np.concatenate([batch for part in parts for batch in part])
    assert sorted(all_rows.tolist()) == step_rows.tolist()
    assert max(len(batch) for part in parts for batch in part) <= micro


def test_padding():
    rows = [np.array([1, 2, 3]), np.array([4])]
    assert batching.pad(rows, 9).tolist() == [[1, 2, 3], [4, 9, 9]]
    assert batching.pad(rows, 0, multiple=8).shape == (2, 8)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_prefetch_keeps_the_order(workers):
    assert list(batching.prefetch(range(50), lambda i: i * i, workers)) == [
        i * i for i in range(50)
    ]


def test_prefetch_raises_errors_of_workers():
    with pytest.raises(ZeroDivisionError):
        list(batching.prefetch([1, 0], lambda i: 1 / i, 2))
