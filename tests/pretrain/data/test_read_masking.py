"""Masks drawn when rows are read: BERT's rule, the same for any batches, ranks and resumes."""

from collections import Counter

import numpy as np
import pytest
import shard_files
import tiny

from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.loader import PretrainLoader, eval_row_ranges, read_batches
from bert_paddle.pretrain.data.read_masking import held_out_masker, row_keys, training_masker
from bert_paddle.pretrain.data.shards import check_shards

TOKENIZER = Tokenizer(tiny.VOCAB)
SIZE, LENGTH = len(tiny.VOCAB), 32
CONTINUES = np.array([piece.startswith("##") for piece in tiny.VOCAB])


def make_text(count, length=LENGTH, seed=0):
    """Unmasked rows [CLS] A [SEP] B [SEP], with words of several pieces; no two are alike."""
    rng = np.random.default_rng(seed)
    ordinary = np.arange(5, SIZE)
    rows = {
        key: np.zeros((count, *schema.row_shape(key, length, 1)), dtype)
        for key, dtype in schema.DTYPES.items()
        if key not in schema.MASK_KEYS
    }
    for i in range(count):
        tokens = int(rng.integers(length // 2, length + 1))
        ids = rng.choice(ordinary, tokens)
        ids[[0, tokens // 2, tokens - 1]] = TOKENIZER.cls_id, TOKENIZER.sep_id, TOKENIZER.sep_id
        rows["input_ids"][i, :tokens] = ids
        rows["input_mask"][i, :tokens] = 1
        rows["segment_ids"][i, tokens // 2 + 1 : tokens] = 1
        rows["next_sentence_labels"][i] = i % 2
    return rows


def with_masks(text, predictions=5, seed=9):
    """The rows as a shard with static masks has them."""
    masker = training_masker(TOKENIZER, SIZE, LENGTH, seed, 0.15, predictions, False)
    numbers = np.arange(len(text["input_ids"]))
    return masker.mask(text, 0 * numbers, numbers, 0)


def masker(prob=0.15, most=80, whole=False, seed=1):
    return training_masker(TOKENIZER, SIZE, LENGTH, seed, prob, most, whole)


def open_shards(*paths):
    return check_shards(paths, SIZE, 64, 2, own_masks=False)


@pytest.fixture
def shards(tmp_path):
    """70 rows without masks and 30 rows with static ones."""
    text = make_text(100)
    one = {key: values[:70] for key, values in text.items()}
    two = with_masks({key: values[70:] for key, values in text.items()})
    paths = [
        shard_files.write_shard(tmp_path / f"t_training_{i}.hdf5", rows)
        for i, rows in enumerate((one, two))
    ]
    return open_shards(*paths), text


def restore(batch):
    """The batch's ids with the labels put back."""
    ids = batch["input_ids"].copy().reshape(-1)
    ids[batch["masked_positions"]] = batch["masked_lm_ids"]
    return ids.reshape(batch["input_ids"].shape)


def rows_of(batches):
    """{text of a row without padding: (its masked ids, labels)} of batches."""
    found = {}
    for batch in batches:
        width = batch["input_ids"].shape[1]
        for i, (text, ids) in enumerate(zip(restore(batch), batch["input_ids"], strict=True)):
            tokens = int(batch["input_mask"][i].sum())
            own = batch["masked_positions"] // width == i
            positions = batch["masked_positions"][own] % width
            labels = batch["masked_lm_ids"][own]
            row = tuple(ids[:tokens]), tuple(positions), tuple(labels)
            assert found.setdefault(tuple(text[:tokens]), row) == row
    return found


def epoch(shards, number=0, start=0, rank=0, world=1, batch=8, accumulation=1, **kw):
    kw = {"masker": masker(), "max_predictions": 80, "seed": 3, **kw}
    loader = PretrainLoader(
        shards,
        global_micro_batch_size=batch,
        accumulation=accumulation,
        rank=rank,
        world_size=world,
        **kw,
    )
    return [micro for step in loader.steps(number, start) for micro in step if micro]


def test_the_text_is_unchanged_and_static_masks_are_taken_off(shards):
    shard_set, text = shards
    rows = rows_of(epoch(shard_set))
    expected = {
        tuple(ids[mask == 1])
        for ids, mask in zip(text["input_ids"], text["input_mask"], strict=True)
    }
    assert rows.keys() == expected and len(rows) == 100


def test_the_same_masks_for_any_batches_ranks_windows_and_resumes(shards):
    shard_set, _ = shards
    whole = rows_of(epoch(shard_set))
    ranks = [b for rank in range(4) for b in epoch(shard_set, rank=rank, world=4, batch=12)]
    assert rows_of(ranks) == whole
    small_windows = epoch(shard_set, batch=5, accumulation=3, block_rows=16, window_rows=16)
    assert rows_of(small_windows) == whole
    assert rows_of(epoch(shard_set, trim=False)) == whole
    resumed = rows_of(epoch(shard_set, start=40))
    assert len(resumed) == 60 and all(whole[row] == masks for row, masks in resumed.items())


def test_epochs_seeds_and_rows_have_other_masks(shards):
    shard_set, _ = shards
    first = rows_of(epoch(shard_set))
    for other in (
        rows_of(epoch(shard_set, number=1)),
        rows_of(epoch(shard_set, masker=masker(seed=2))),
    ):
        same = sum(first[row][1] == other[row][1] for row in first)
        assert same < 10
    twice = make_text(1)
    rows = {key: np.repeat(values, 50, axis=0) for key, values in twice.items()}
    numbers = np.arange(50)
    positions = masker().mask(rows, 0 * numbers, numbers, 0)["masked_lm_positions"]
    assert len({tuple(row) for row in positions.tolist()}) > 40


def test_berts_rule():
    """15 % of the tokens, 80 % [MASK], 10 % random, 10 % kept, never a special token."""
    text = make_text(3000)
    numbers = np.arange(3000)
    rows = masker().mask(text, 0 * numbers, numbers, 5)
    positions, ids = rows["masked_lm_positions"], rows["input_ids"]
    counts = (positions > 0).sum(axis=1)
    assert (counts == np.rint(0.15 * text["input_mask"].sum(axis=1))).all()
    row, slot = np.nonzero(positions)
    column, labels = positions[row, slot], rows["masked_lm_ids"][row, slot]
    assert (labels == text["input_ids"][row, column]).all() and labels.min() >= 5
    masked = (ids[row, column] == TOKENIZER.mask_id).mean()
    kept = (ids[row, column] == labels).mean()
    assert masked == pytest.approx(0.8, abs=0.015) and kept == pytest.approx(0.1, abs=0.015)
    others = ids[row, column][(ids[row, column] != TOKENIZER.mask_id)]
    assert others.min() >= 5 and len(set(others.tolist())) == SIZE - 5
    hits = Counter(column.tolist())  # uniform where all rows have a token: 1 to 7
    assert max(hits[c] for c in range(1, 8)) < 1.2 * min(hits[c] for c in range(1, 8))
    unchanged = ids.copy()
    unchanged[row, column] = labels
    assert np.array_equal(unchanged, text["input_ids"])


def test_whole_words_and_the_limit():
    text = make_text(400)
    numbers = np.arange(400)
    rows = masker(0.3, 6, whole=True).mask(text, 0 * numbers, numbers, 0)
    longer = 0
    for ids, mask, positions in zip(
        text["input_ids"], text["input_mask"], rows["masked_lm_positions"], strict=True
    ):
        begins = ~CONTINUES[ids]
        specials = np.isin(ids, [TOKENIZER.cls_id, TOKENIZER.sep_id])
        begins |= np.concatenate([[True], specials[:-1]])
        word = np.cumsum(begins)
        chosen = positions[positions > 0]
        assert 1 <= len(chosen) <= 6
        if len(chosen) > 1:
            covered = np.flatnonzero(np.isin(word, word[chosen]) & (mask == 1))
            assert covered.tolist() == chosen.tolist()
            longer += len(set(word[chosen].tolist())) < len(chosen)
    assert longer > 50


def test_held_out_masks_are_fixed_and_15_percent(shards):
    shard_set, text = shards
    fixed = held_out_masker(TOKENIZER, SIZE, LENGTH)
    batches = [
        list(read_batches(shard_set, eval_row_ranges(shard_set, size), 2, maskers=maskers))
        for size in (7, 50)
        for maskers in ({0: fixed, 1: fixed},)
    ]
    assert rows_of(batches[0]) == rows_of(batches[1])
    rows = rows_of(batches[0])
    assert len(rows) == 100
    assert all(len(r[1]) == max(1, round(0.15 * len(t))) for t, r in rows.items())
    own = list(read_batches(shard_set, eval_row_ranges(shard_set, 50), 80, maskers={0: fixed}))
    static = rows_of(own).items() - rows.items()  # the second shard keeps its masks
    assert len(static) == 30


def test_another_vocabulary_is_named_with_the_row(tmp_path):
    rows = make_text(20)
    rows["input_ids"][13, 0] = 7
    path = shard_files.write_shard(tmp_path / "t.hdf5", rows)
    text = shard_files.error_message(epoch, open_shards(path))
    assert text.startswith(f"{path}: row 13 (counted from 0) begins with id 7")
    assert "--vocab_file" in text


def test_keys_differ():
    keys = [
        row_keys(seed, use, number, np.arange(3), np.arange(3)).tolist()
        for seed in range(3)
        for use in range(2)
        for number in range(3)
    ]
    assert len({key for part in keys for key in part}) == 3 * 2 * 3 * 3


def test_shards_that_lack_what_a_run_needs(tmp_path):
    text = make_text(8)
    without_masks = shard_files.write_shard(tmp_path / "m.hdf5", text)
    del text["next_sentence_labels"]
    single = shard_files.write_shard(tmp_path / "s.hdf5", text)
    static = shard_files.write_shard(tmp_path / "p.hdf5", with_masks(make_text(8)))

    def check(*paths, **kw):
        return check_shards(paths, SIZE, 64, 2, **kw)

    message = shard_files.error_message(check, without_masks)
    assert message.startswith(f"{without_masks}: no masked_lm_positions")
    assert "--dynamic_masking 1" in message and "--nsp" not in message
    message = shard_files.error_message(check, static, single, own_masks=False)
    assert message.startswith(f"{single}: no next_sentence_labels") and "--nsp 0" in message
    shard_set = check(static, single, without_masks, nsp=False, own_masks=False)
    assert [shard_set.has_masks(i) for i in range(3)] == [True, False, False]
    assert shard_set.read(1, 2, 5)["next_sentence_labels"].tolist() == [0, 0, 0]
    partial = with_masks(make_text(8))
    del partial["masked_lm_ids"]
    broken = shard_files.write_shard(tmp_path / "b.hdf5", partial)
    message = shard_files.error_message(check, broken, own_masks=False)
    assert message == f"{broken}: no masked_lm_ids"
