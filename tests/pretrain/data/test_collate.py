"""Batches for the model, and the slices of an exact evaluation."""

import numpy as np
import pytest
import shard_files

from bert_paddle.pretrain.data.loader import collate, eval_row_ranges, read_batches
from bert_paddle.pretrain.data.shards import ShardSet


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> ShardSet:
    return shard_files.check_shards(
        *shard_files.write_shards(tmp_path_factory.mktemp("data"), (23, 4, 17, 1))
    )


def make_rows(lengths: list[int], positions: list[list[int]]) -> dict[str, np.ndarray]:
    rows = shard_files.make_rows(len(lengths))
    for key in ("input_ids", "input_mask", "segment_ids", "masked_lm_positions", "masked_lm_ids"):
        rows[key][:] = 0
    for i, (length, masked) in enumerate(zip(lengths, positions, strict=True)):
        rows["input_ids"][i, :length] = 50 + i
        rows["input_mask"][i, :length] = 1
        rows["masked_lm_positions"][i, : len(masked)] = masked
        rows["masked_lm_ids"][i, : len(masked)] = [10 * (i + 1) + p for p in masked]
    return rows


def test_collate():
    batch = collate(make_rows([9, 12], [[2, 7], [11]]), 80)
    assert batch["input_ids"].tolist() == [[50] * 9 + [0] * 3, [51] * 12]
    assert batch["input_mask"].tolist() == [[1] * 9 + [0] * 3, [1] * 12]
    assert batch["segment_ids"].shape == (2, 12)
    assert batch["masked_positions"].tolist() == [2, 7, 12 + 11]
    assert batch["masked_lm_ids"].tolist() == [12, 17, 31]
    assert batch["next_sentence_labels"].shape == (2,)
    assert {values.dtype for values in batch.values()} == {np.dtype(np.int64)}


def test_untrimmed_positions_use_the_full_width():
    batch = collate(make_rows([9, 12], [[2, 7], [11]]), 80, trim=False)
    assert batch["input_ids"].shape == (2, shard_files.LENGTH)
    assert batch["masked_positions"].tolist() == [2, 7, shard_files.LENGTH + 11]


def test_a_row_that_uses_all_predictions_keeps_them():
    batch = collate(make_rows([16], [[3, 4, 5, 15]]), shard_files.PREDICTIONS)
    assert batch["masked_positions"].tolist() == [3, 4, 5, 15]
    assert batch["masked_lm_ids"].tolist() == [13, 14, 15, 25]


def test_max_predictions_truncates_each_row():
    batch = collate(make_rows([16, 16, 16], [[3, 4, 5, 15], [9], []]), 2)
    assert batch["masked_positions"].tolist() == [3, 4, 16 + 9]
    assert batch["masked_lm_ids"].tolist() == [13, 14, 29]


def test_input_mask_is_the_stored_one():
    """A random replacement may be [PAD], id 0: at the end of the longest row it determines
    the width, and its mask stays 1."""
    rows = make_rows([8, 12], [[2], [11]])
    rows["input_ids"][1, 11] = 0
    batch = collate(rows, 80)
    assert batch["input_ids"].shape == (2, 12)
    assert batch["input_mask"][1].tolist() == [1] * 12
    assert batch["masked_positions"].tolist() == [2, 12 + 11]


def test_no_rows_and_no_predictions():
    assert collate({key: values[:0] for key, values in shard_files.make_rows(2).items()}, 80) == {}
    batch = collate(make_rows([9], [[]]), 80)
    assert batch["masked_positions"].shape == batch["masked_lm_ids"].shape == (0,)


# Evaluation


@pytest.mark.parametrize("ranks", [1, 3])
def test_evaluation_reads_every_row_once_in_order(shards, ranks):
    slices = eval_row_ranges(shards, 8)
    batches = [list(read_batches(shards, slices[rank::ranks], 80)) for rank in range(ranks)]
    numbers = [
        n
        for i in range(len(slices))
        for n in shard_files.row_numbers(batches[i % ranks][i // ranks])
    ]
    assert numbers == list(range(shards.total))


def test_evaluation_of_some_rows_spreads_them_over_the_shards(shards):
    for rows in (1, 8, 25, 27, 1000):
        batches = read_batches(shards, eval_row_ranges(shards, 8, rows), 80)
        numbers = [n for batch in batches for n in shard_files.row_numbers(batch)]
        assert len(set(numbers)) == len(numbers) and numbers == sorted(numbers)
        assert len(numbers) <= min(rows, shards.total)
        assert len(numbers) > min(rows, shards.total) - 8
    numbers = [
        n
        for batch in read_batches(shards, eval_row_ranges(shards, 2, 8), 80)
        for n in shard_files.row_numbers(batch)
    ]
    quarters = {n * 4 // shards.total for n in numbers}
    assert quarters == {0, 1, 2, 3}


def test_evaluation_reads_a_block_once(tmp_path, monkeypatch):
    """Small slices of a large chunk would decompress it again and again."""
    monkeypatch.setattr("bert_paddle.pretrain.data.loader.BLOCK_ROWS", 32)
    shards = shard_files.check_shards(*shard_files.write_shards(tmp_path, [70, 5]))
    read = []
    original_read = ShardSet.read
    monkeypatch.setattr(
        ShardSet, "read", lambda self, *block: read.append(block) or original_read(self, *block)
    )
    batches = read_batches(shards, eval_row_ranges(shards, 5), 80)
    assert [n for batch in batches for n in shard_files.row_numbers(batch)] == list(range(75))
    assert read == [(0, 0, 32), (0, 32, 64), (0, 64, 70), (1, 0, 5)]
