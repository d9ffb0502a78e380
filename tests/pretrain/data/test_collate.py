"""Rows as the model is given them, and the slices of an exact evaluation."""

import numpy as np
import pytest
import shards

from bert_paddle.pretrain.data import shards as data_shards
from bert_paddle.pretrain.data.loader import collate, eval_slices, read_batches


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> data_shards.Shards:
    return shards.check(*shards.write_folder(tmp_path_factory.mktemp("data"), (23, 4, 17, 1)))


def rows_of(lengths: list[int], positions: list[list[int]]) -> dict[str, np.ndarray]:
    rows = shards.make(len(lengths))
    for key in ("input_ids", "input_mask", "segment_ids", "masked_lm_positions", "masked_lm_ids"):
        rows[key][:] = 0
    for i, (length, masked) in enumerate(zip(lengths, positions, strict=True)):
        rows["input_ids"][i, :length] = 50 + i
        rows["input_mask"][i, :length] = 1
        rows["masked_lm_positions"][i, : len(masked)] = masked
        rows["masked_lm_ids"][i, : len(masked)] = [10 * (i + 1) + p for p in masked]
    return rows


def test_collate():
    batch = collate(rows_of([9, 12], [[2, 7], [11]]), 80)
    assert batch["input_ids"].tolist() == [[50] * 9 + [0] * 3, [51] * 12]
    assert batch["input_mask"].tolist() == [[1] * 9 + [0] * 3, [1] * 12]
    assert batch["segment_ids"].shape == (2, 12)
    assert batch["masked_positions"].tolist() == [2, 7, 12 + 11]
    assert batch["masked_lm_ids"].tolist() == [12, 17, 31]
    assert batch["next_sentence_labels"].shape == (2,)
    assert {values.dtype for values in batch.values()} == {np.dtype(np.int64)}


def test_untrimmed_positions_count_in_the_full_width():
    batch = collate(rows_of([9, 12], [[2, 7], [11]]), 80, trim=False)
    assert batch["input_ids"].shape == (2, shards.LENGTH)
    assert batch["masked_positions"].tolist() == [2, 7, shards.LENGTH + 11]


def test_a_row_that_uses_all_predictions_keeps_them():
    batch = collate(rows_of([16], [[3, 4, 5, 15]]), shards.PREDICTIONS)
    assert batch["masked_positions"].tolist() == [3, 4, 5, 15]
    assert batch["masked_lm_ids"].tolist() == [13, 14, 15, 25]


def test_max_predictions_truncates_each_row():
    batch = collate(rows_of([16, 16, 16], [[3, 4, 5, 15], [9], []]), 2)
    assert batch["masked_positions"].tolist() == [3, 4, 16 + 9]
    assert batch["masked_lm_ids"].tolist() == [13, 14, 29]


def test_the_mask_is_the_stored_one():
    """A random replacement may be [PAD], id 0: at the end of the longest row it decides the
    width, and its mask stays 1."""
    rows = rows_of([8, 12], [[2], [11]])
    rows["input_ids"][1, 11] = 0
    batch = collate(rows, 80)
    assert batch["input_ids"].shape == (2, 12)
    assert batch["input_mask"][1].tolist() == [1] * 12
    assert batch["masked_positions"].tolist() == [2, 12 + 11]


def test_no_rows_no_predictions():
    assert collate({key: values[:0] for key, values in shards.make(2).items()}, 80) == {}
    batch = collate(rows_of([9], [[]]), 80)
    assert batch["masked_positions"].shape == batch["masked_lm_ids"].shape == (0,)


# Evaluation


@pytest.mark.parametrize("ranks", [1, 3])
def test_evaluation_reads_every_row_once_in_order(data, ranks):
    slices = eval_slices(data, 8)
    dealt = [list(read_batches(data, slices[rank::ranks], 80)) for rank in range(ranks)]
    numbers = [n for i in range(len(slices)) for n in shards.numbers(dealt[i % ranks][i // ranks])]
    assert numbers == list(range(data.total))


def test_evaluation_of_some_rows_takes_them_from_all_over(data):
    for rows in (1, 8, 25, 27, 1000):
        batches = read_batches(data, eval_slices(data, 8, rows), 80)
        numbers = [n for batch in batches for n in shards.numbers(batch)]
        assert len(set(numbers)) == len(numbers) and numbers == sorted(numbers)
        assert len(numbers) <= min(rows, data.total)
        assert len(numbers) > min(rows, data.total) - 8
    numbers = [
        n
        for batch in read_batches(data, eval_slices(data, 2, 8), 80)
        for n in shards.numbers(batch)
    ]
    quarters = {n * 4 // data.total for n in numbers}
    assert quarters == {0, 1, 2, 3}


def test_evaluation_reads_a_block_once(tmp_path, monkeypatch):
    """Small slices of a large chunk would decompress it again and again."""
    monkeypatch.setattr("bert_paddle.pretrain.data.loader.BLOCK_ROWS", 32)
    data = shards.check(*shards.write_folder(tmp_path, [70, 5]))
    read = []
    real = data_shards.Shards.read
    monkeypatch.setattr(
        data_shards.Shards, "read", lambda self, *block: read.append(block) or real(self, *block)
    )
    batches = read_batches(data, eval_slices(data, 5), 80)
    assert [n for batch in batches for n in shards.numbers(batch)] == list(range(75))
    assert read == [(0, 0, 32), (0, 32, 64), (0, 64, 70), (1, 0, 5)]
