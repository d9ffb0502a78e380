"""The loader: every row once over all ranks, equal steps, resuming, errors in bad rows."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import shard_files

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data.loader import PretrainLoader, collate
from bert_paddle.pretrain.data.shard_roles import find_shards
from bert_paddle.pretrain.data.shards import ShardSet

# Small blocks and windows, so that a few rows yield several of each.
SMALL = {"block_rows": 5, "window_rows": 12}
COUNTS = (23, 4, 17, 1, 30, 9, 6)


@pytest.fixture(scope="module")
def seven_shards(tmp_path_factory) -> ShardSet:
    return shard_files.check_shards(
        *shard_files.write_shards(tmp_path_factory.mktemp("seven"), COUNTS)
    )


def first_shards(seven_shards: ShardSet, count: int) -> ShardSet:
    return shard_files.check_shards(*seven_shards.paths[:count])


def make_loader(
    shards, rank=0, ranks=1, global_micro=8, accumulation=1, seed=3, predictions=80
) -> PretrainLoader:
    return PretrainLoader(
        shards, seed, global_micro, accumulation, rank, ranks, predictions, **SMALL
    )


def row_numbers_of_epoch(loader: PretrainLoader, epoch=0, start=0) -> list[list[list[int]]]:
    """The row numbers by step and micro-batch."""
    return [
        [shard_files.row_numbers(batch) for batch in step]
        for step in loader.steps(epoch, start * loader.rows_per_step)
    ]


def merge_ranks(parts: list[list[list[list[int]]]]) -> list[int]:
    """The global order: row i of a micro-batch belongs to rank i % ranks."""
    order = []
    for steps in zip(*parts, strict=True):
        for micro in zip(*steps, strict=True):
            longest = max(map(len, micro))
            order += [part[i] for i in range(longest) for part in micro if i < len(part)]
    return order


# Coverage


@pytest.fixture
def cached_shards(monkeypatch):
    """Keeps complete shards in memory, for tests that read them hundreds of times."""
    original_read, cache = ShardSet.read, {}

    def read(self, shard, start, stop):
        if shard not in cache:
            cache[shard] = original_read(self, shard, 0, self.rows[shard])
        return {key: values[start:stop] for key, values in cache[shard].items()}

    monkeypatch.setattr(ShardSet, "read", read)


@pytest.mark.parametrize("count", range(1, 8))
def test_every_row_once_in_one_order_for_any_number_of_ranks(seven_shards, cached_shards, count):
    data = first_shards(seven_shards, count)
    orders = []
    for ranks in range(1, 9):
        micro = 840  # a multiple of 1 to 8, so that the global batch is the same for all
        for micro_rows in (ranks * 2, micro):
            parts = [
                row_numbers_of_epoch(make_loader(data, r, ranks, micro_rows)) for r in range(ranks)
            ]
            order = merge_ranks(parts)
            assert sorted(order) == list(range(data.total))
            steps = -(-data.total // micro_rows)
            assert [len(part) for part in parts] == [steps] * ranks
            sizes = [sum(len(part[s][0]) for part in parts) for s in range(steps)]
            assert sizes == [micro_rows] * (steps - 1) + [data.total - (steps - 1) * micro_rows]
            orders.append(order)
    assert all(order == orders[0] for order in orders)


def test_the_same_step_has_the_same_rows_for_any_number_of_ranks(seven_shards, cached_shards):
    def rows_of_steps(ranks, micro, accumulation):
        parts = [
            row_numbers_of_epoch(make_loader(seven_shards, r, ranks, micro, accumulation))
            for r in range(ranks)
        ]
        return [
            sorted(number for part in parts for batch in part[s] for number in batch)
            for s in range(len(parts[0]))
        ]

    expected = rows_of_steps(1, 24, 1)
    for ranks, micro, accumulation in ((1, 8, 3), (2, 24, 1), (3, 6, 4), (8, 8, 3)):
        assert rows_of_steps(ranks, micro, accumulation) == expected


def test_the_last_partial_batch_is_trained_with_empty_batches_on_idle_ranks(seven_shards):
    data = first_shards(seven_shards, 1)  # 23 rows: 10 + 10 + 3
    last = [list(make_loader(data, rank, 5, 10).steps(0, 0))[-1] for rank in range(5)]
    assert [len(shard_files.row_numbers(step[0])) for step in last] == [1, 1, 1, 0, 0]
    assert last[4] == [{}]


def test_a_partial_last_step_has_the_same_micro_batches_on_all_ranks(seven_shards):
    data = first_shards(seven_shards, 1)  # 23 rows: 16 + 7, in micro-batches of 4
    last = [list(make_loader(data, rank, 4, 4, 4).steps(0, 0))[-1] for rank in range(4)]
    assert [[len(shard_files.row_numbers(b)) for b in step] for step in last] == [[1, 1]] * 3 + [
        [1, 0]
    ]


def test_fewer_rows_than_one_batch(tmp_path):
    data = shard_files.check_shards(*shard_files.write_shards(tmp_path, [2]))
    loader = make_loader(data, global_micro=64, accumulation=4)
    assert loader.steps_per_epoch == 1
    assert sorted(row_numbers_of_epoch(loader)[0][0]) == [0, 1]


def test_epochs_and_seeds_differ(seven_shards):
    def flat(seed, epoch):
        return merge_ranks([row_numbers_of_epoch(make_loader(seven_shards, seed=seed), epoch)])

    assert flat(1, 0) == flat(1, 0)
    assert flat(1, 0) != flat(1, 1)
    assert flat(1, 0) != flat(2, 0)


def test_rows_are_complete(seven_shards):
    """Every key of a row belongs to the same stored row."""
    stored = shard_files.make_rows(COUNTS[0], 0)
    for step in make_loader(first_shards(seven_shards, 1), 1, 2).steps(0, 0):
        for batch in step:
            rows = {key: values[shard_files.row_numbers(batch)] for key, values in stored.items()}
            expected = collate(rows, 80)
            assert all(np.array_equal(batch[key], expected[key]) for key in expected)


def test_micro_batches_that_cannot_be_split_evenly_are_rejected(seven_shards):
    with pytest.raises(ValueError, match="evenly"):
        make_loader(seven_shards, 0, 3, 8)


# Resuming


@pytest.mark.parametrize("ranks, rank, micro, accumulation", [(1, 0, 7, 1), (3, 2, 6, 2)])
def test_a_resumed_epoch_is_the_rest_of_an_uninterrupted_one(
    seven_shards, ranks, rank, micro, accumulation
):
    loader = make_loader(seven_shards, rank, ranks, micro, accumulation)
    complete = row_numbers_of_epoch(loader, epoch=1)
    for start in range(loader.steps_per_epoch + 1):
        assert row_numbers_of_epoch(loader, 1, start) == complete[start:]


@pytest.mark.parametrize(("ranks", "micro"), [(1, 5), (3, 6), (2, 10)])
def test_another_batch_size_and_world_size_resume_with_the_unseen_rows(seven_shards, ranks, micro):
    order = [
        n
        for step in row_numbers_of_epoch(make_loader(seven_shards), 1)
        for batch in step
        for n in batch
    ]
    for start in (0, 1, 7, 16, 50, len(order) - 1, len(order)):
        parts = [
            list(make_loader(seven_shards, rank, ranks, micro).steps(1, start))
            for rank in range(ranks)
        ]
        seen = []
        for steps in zip(*parts, strict=True):
            for batches in zip(*steps, strict=True):
                numbers = [shard_files.row_numbers(batch) for batch in batches]
                longest = max(map(len, numbers))
                seen += [n[i] for i in range(longest) for n in numbers if i < len(n)]
        assert seen == order[start:], start


def test_resuming_does_not_read_earlier_windows(seven_shards, monkeypatch):
    blocks_read = []
    original_read = ShardSet.read

    def record_read(self, *block):
        blocks_read.append(block)
        return original_read(self, *block)

    monkeypatch.setattr(ShardSet, "read", record_read)
    loader = make_loader(seven_shards)
    row_numbers_of_epoch(loader)
    num_blocks = len(blocks_read)
    blocks_read.clear()
    row_numbers_of_epoch(loader, start=loader.steps_per_epoch - 1)
    assert len(blocks_read) <= 4 < num_blocks / 2


# The reading thread and its errors


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("shards")]


def test_no_thread_remains(seven_shards):
    steps = make_loader(seven_shards).steps(0, 0)
    next(steps)
    assert len(reading_threads()) == 1
    steps.close()
    assert reading_threads() == []
    row_numbers_of_epoch(make_loader(seven_shards))
    assert reading_threads() == []


def write_invalid_row(folder: Path, shard: int, row: int) -> ShardSet:
    """Shards with one row that has an id outside the vocabulary."""
    paths = shard_files.write_shards(folder, COUNTS)
    rows = shard_files.make_rows(COUNTS[shard], sum(COUNTS[:shard]))
    rows["input_ids"][row, 4] = 1000
    shard_files.write_shard(paths[shard], rows)
    return shard_files.check_shards(*paths)


@pytest.mark.parametrize("row", range(0, 30, 3))
def test_a_bad_row_stops_all_ranks_before_the_same_step(tmp_path, row):
    data = write_invalid_row(tmp_path, 4, row)
    steps_done, messages = set(), set()
    for rank in range(3):
        done = 0
        with pytest.raises(DataError) as caught:
            for _ in make_loader(data, rank, 3, 3).steps(0, 0):
                done += 1
        steps_done.add(done)
        messages.add(str(caught.value))
    assert len(steps_done) == 1
    assert len(messages) == 1
    assert f"invented_training_4.hdf5: row {row} (counted from 0): input_ids[4]" in messages.pop()
    assert reading_threads() == []


def test_steps_before_a_bad_row_are_not_lost(tmp_path):
    """The error is raised when the row is needed, not when it is read ahead."""
    data = write_invalid_row(tmp_path, 4, 0)
    expected = row_numbers_of_epoch(
        make_loader(
            shard_files.check_shards(*shard_files.write_shards(tmp_path / "sound", COUNTS)), seed=4
        )
    )
    got = []
    with pytest.raises(DataError):
        for step in make_loader(data, seed=4).steps(0, 0):
            got.append([shard_files.row_numbers(batch) for batch in step])
    assert got and got == expected[: len(got)]


# Real shards


@pytest.mark.real_data
def test_batches_of_real_shards():
    folder = os.environ.get("BERT_PADDLE_HDF5_DIR", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BERT_PADDLE_HDF5_DIR is not set to a folder of shards by NVIDIA's tool")
    training = find_shards(Path(folder)).training
    data = shard_files.check_shards(*training, vocab_size=30522)
    batches = PretrainLoader(data, 42, 32, 1, 1, 2, 5)
    assert batches.steps_per_epoch == -(-data.total // 32)
    for _, (batch,) in zip(range(20), batches.steps(0, 0), strict=False):
        assert len(batch["input_ids"]) == 16
        assert (batch["input_ids"][:, 0] == 101).all()
        rows = batch["masked_positions"] // batch["input_ids"].shape[1]
        assert np.bincount(rows).max() <= 5
        assert (batch["input_mask"].reshape(-1)[batch["masked_positions"]] == 1).all()
