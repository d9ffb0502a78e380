"""Batches: every row once over all ranks, in step; resumed, bounded, and stopped by bad rows."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
import shards

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data import shards as data_shards
from bert_paddle.pretrain.data.loader import PretrainLoader, collate

# Small blocks and windows, so that a few rows already make several of each.
SMALL = {"block_rows": 5, "window_rows": 12}
COUNTS = (23, 4, 17, 1, 30, 9, 6)


@pytest.fixture(scope="module")
def seven(tmp_path_factory) -> data_shards.Shards:
    return shards.check(*shards.write_folder(tmp_path_factory.mktemp("seven"), COUNTS))


def first_shards(seven: data_shards.Shards, count: int) -> data_shards.Shards:
    return shards.check(*seven.paths[:count])


def reader(
    data, rank=0, ranks=1, global_micro=8, accumulation=1, seed=3, predictions=80
) -> PretrainLoader:
    return PretrainLoader(data, seed, global_micro, accumulation, rank, ranks, predictions, **SMALL)


def epoch_of(batches: PretrainLoader, epoch=0, start=0) -> list[list[list[int]]]:
    """The row numbers by update and micro-batch."""
    return [
        [shards.numbers(batch) for batch in update]
        for update in batches.steps(epoch, start * batches.rows_per_step)
    ]


def dealt_together(parts: list[list[list[list[int]]]]) -> list[int]:
    """The global order: position i of a micro-batch was dealt to rank i % ranks."""
    order = []
    for updates in zip(*parts, strict=True):
        for micro in zip(*updates, strict=True):
            longest = max(map(len, micro))
            order += [part[i] for i in range(longest) for part in micro if i < len(part)]
    return order


# Coverage


@pytest.fixture
def files_read_once(monkeypatch):
    """Keeps whole shards in memory, for tests that go over them hundreds of times."""
    real, kept = data_shards.Shards.read, {}

    def read(self, shard, start, stop):
        if shard not in kept:
            kept[shard] = real(self, shard, 0, self.rows[shard])
        return {key: values[start:stop] for key, values in kept[shard].items()}

    monkeypatch.setattr(data_shards.Shards, "read", read)


@pytest.mark.parametrize("count", range(1, 8))
def test_every_row_once_in_one_order_for_any_number_of_ranks(seven, files_read_once, count):
    data = first_shards(seven, count)
    orders = []
    for ranks in range(1, 9):
        micro = 840  # a multiple of 1 to 8, so that the global batch is the same for all
        for micro_rows in (ranks * 2, micro):
            parts = [epoch_of(reader(data, r, ranks, micro_rows)) for r in range(ranks)]
            order = dealt_together(parts)
            assert sorted(order) == list(range(data.total))
            updates = -(-data.total // micro_rows)
            assert [len(part) for part in parts] == [updates] * ranks
            sizes = [sum(len(part[u][0]) for part in parts) for u in range(updates)]
            assert sizes == [micro_rows] * (updates - 1) + [data.total - (updates - 1) * micro_rows]
            orders.append(order)
    assert all(order == orders[0] for order in orders)


def test_the_same_update_has_the_same_rows_for_any_number_of_ranks(seven, files_read_once):
    def rows_of_updates(ranks, micro, accumulation):
        parts = [epoch_of(reader(seven, r, ranks, micro, accumulation)) for r in range(ranks)]
        return [
            sorted(number for part in parts for batch in part[u] for number in batch)
            for u in range(len(parts[0]))
        ]

    one = rows_of_updates(1, 24, 1)
    for ranks, micro, accumulation in ((1, 8, 3), (2, 24, 1), (3, 6, 4), (8, 8, 3)):
        assert rows_of_updates(ranks, micro, accumulation) == one


def test_the_last_batch_is_trained_and_idle_ranks_step_with_it(seven):
    data = first_shards(seven, 1)  # 23 rows: 10 + 10 + 3
    last = [list(reader(data, rank, 5, 10).steps(0, 0))[-1] for rank in range(5)]
    assert [len(shards.numbers(update[0])) for update in last] == [1, 1, 1, 0, 0]
    assert last[4] == [{}]


def test_a_short_last_update_has_the_same_micro_batches_on_all_ranks(seven):
    data = first_shards(seven, 1)  # 23 rows: 16 + 7, in micro-batches of 4
    last = [list(reader(data, rank, 4, 4, 4).steps(0, 0))[-1] for rank in range(4)]
    assert [[len(shards.numbers(b)) for b in update] for update in last] == [[1, 1]] * 3 + [[1, 0]]


def test_fewer_rows_than_one_batch(tmp_path):
    data = shards.check(*shards.write_folder(tmp_path, [2]))
    batches = reader(data, global_micro=64, accumulation=4)
    assert batches.steps_per_epoch == 1
    assert sorted(epoch_of(batches)[0][0]) == [0, 1]


def test_epochs_and_seeds_differ(seven):
    def flat(seed, epoch):
        return dealt_together([epoch_of(reader(seven, seed=seed), epoch)])

    assert flat(1, 0) == flat(1, 0)
    assert flat(1, 0) != flat(1, 1)
    assert flat(1, 0) != flat(2, 0)


def test_rows_are_whole(seven):
    """What belongs together stays together: every key of a row is that of its number."""
    stored = shards.make(COUNTS[0], 0)
    for update in reader(first_shards(seven, 1), 1, 2).steps(0, 0):
        for batch in update:
            rows = {key: values[shards.numbers(batch)] for key, values in stored.items()}
            expected = collate(rows, 80)
            assert all(np.array_equal(batch[key], expected[key]) for key in expected)


def test_micro_rows_that_cannot_be_dealt_evenly_are_refused(seven):
    with pytest.raises(ValueError, match="evenly"):
        reader(seven, 0, 3, 8)


# Resuming


@pytest.mark.parametrize("ranks, rank, micro, accumulation", [(1, 0, 7, 1), (3, 2, 6, 2)])
def test_a_resumed_epoch_is_the_tail(seven, ranks, rank, micro, accumulation):
    batches = reader(seven, rank, ranks, micro, accumulation)
    whole = epoch_of(batches, epoch=1)
    for start in range(batches.steps_per_epoch + 1):
        assert epoch_of(batches, 1, start) == whole[start:]


@pytest.mark.parametrize(("ranks", "micro"), [(1, 5), (3, 6), (2, 10)])
def test_another_batch_and_other_ranks_go_on_with_the_rows_not_seen(seven, ranks, micro):
    order = [n for update in epoch_of(reader(seven), 1) for batch in update for n in batch]
    for start in (0, 1, 7, 16, 50, len(order) - 1, len(order)):
        parts = [list(reader(seven, rank, ranks, micro).steps(1, start)) for rank in range(ranks)]
        seen = []
        for update in zip(*parts, strict=True):
            for batches in zip(*update, strict=True):
                dealt = [shards.numbers(batch) for batch in batches]
                longest = max(map(len, dealt))
                seen += [d[i] for i in range(longest) for d in dealt if i < len(d)]
        assert seen == order[start:], start


def test_a_resume_does_not_read_what_lies_before(seven, monkeypatch):
    read = []
    real = data_shards.Shards.read

    def watched(self, *block):
        read.append(block)
        return real(self, *block)

    monkeypatch.setattr(data_shards.Shards, "read", watched)
    batches = reader(seven)
    epoch_of(batches)
    everything = len(read)
    read.clear()
    epoch_of(batches, start=batches.steps_per_epoch - 1)
    assert len(read) <= 4 < everything / 2


# The reading thread and its errors


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("shards")]


def test_no_thread_is_left_behind(seven):
    updates = reader(seven).steps(0, 0)
    next(updates)
    assert len(reading_threads()) == 1
    updates.close()
    assert reading_threads() == []
    epoch_of(reader(seven))
    assert reading_threads() == []


def spoil(folder: Path, shard: int, row: int) -> data_shards.Shards:
    """Shards of which one row has an id outside the vocabulary."""
    paths = shards.write_folder(folder, COUNTS)
    rows = shards.make(COUNTS[shard], sum(COUNTS[:shard]))
    rows["input_ids"][row, 4] = 1000
    shards.write(paths[shard], rows)
    return shards.check(*paths)


@pytest.mark.parametrize("row", range(0, 30, 3))
def test_a_bad_row_stops_all_ranks_before_the_same_update(tmp_path, row):
    data = spoil(tmp_path, 4, row)
    reached, said = set(), set()
    for rank in range(3):
        done = 0
        with pytest.raises(DataError) as caught:
            for _ in reader(data, rank, 3, 3).steps(0, 0):
                done += 1
        reached.add(done)
        said.add(str(caught.value))
    assert len(reached) == 1
    assert len(said) == 1
    assert f"made_up_training_4.hdf5: row {row} (counted from 0): input_ids[4]" in said.pop()
    assert reading_threads() == []


def test_updates_before_a_bad_row_are_not_lost(tmp_path):
    """The error comes where the row is needed, not when it is read ahead."""
    data = spoil(tmp_path, 4, 0)
    whole = epoch_of(reader(shards.check(*shards.write_folder(tmp_path / "sound", COUNTS)), seed=4))
    got = []
    with pytest.raises(DataError):
        for update in reader(data, seed=4).steps(0, 0):
            got.append([shards.numbers(batch) for batch in update])
    assert got and got == whole[: len(got)]


# Real shards


@pytest.mark.real_data
def test_batches_of_real_shards():
    folder = os.environ.get("BERT_PADDLE_HDF5_DIR", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("BERT_PADDLE_HDF5_DIR is not set to a folder of shards by NVIDIA's tool")
    training, _ = data_shards.find_shards(Path(folder))
    data = shards.check(*training, vocab_size=30522)
    batches = PretrainLoader(data, 42, 32, 1, 1, 2, 5)
    assert batches.steps_per_epoch == -(-data.total // 32)
    for _, (batch,) in zip(range(20), batches.steps(0, 0), strict=False):
        assert len(batch["input_ids"]) == 16
        assert (batch["input_ids"][:, 0] == 101).all()
        rows = batch["masked_positions"] // batch["input_ids"].shape[1]
        assert np.bincount(rows).max() <= 5
        assert (batch["input_mask"].reshape(-1)[batch["masked_positions"]] == 1).all()
