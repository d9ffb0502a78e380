import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_paddle.pretrain.create.masking import Masking, Pool, lay_out, mask

CLS, SEP, PAD, MASK = 1, 2, 0, 3
ORDINARY = np.arange(10, 60, dtype=np.int32)


def pool_of(size, seed=0, starts=0.6):
    rng = np.random.default_rng(seed)
    begins = rng.random(size) < starts
    return Pool.of(rng.integers(100, 9000, size).astype(np.int32), begins, (CLS, SEP, PAD))


def how(predictions=20, prob=0.15, whole=False):
    return Masking(predictions, prob, whole, MASK, ORDINARY)


def some_pairs(count, length, size, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(1, length - 3, count)
    b = np.maximum(1, rng.integers(0, length - 2 - a))
    a0, b0 = rng.integers(0, size - a), rng.integers(0, size - b)
    return np.stack([a0, a0 + a, b0, b0 + b, rng.integers(0, 2, count)], 1)


def made(count=300, length=32, settings=None, seed=0, starts=0.6):
    pool = pool_of(500, seed, starts)
    pairs = some_pairs(count, length, 500, seed)
    rows, where = lay_out(pairs, pool, length)
    plain = rows["input_ids"].copy()
    numbers = mask(rows, where, pool, settings or how(), np.random.default_rng(seed))
    return pool, pairs, plain, rows, numbers


def listed(rows, row):
    """Positions and labels of a row, without the zero tail."""
    positions = rows["masked_lm_positions"][row]
    end = int((positions > 0).sum())
    assert (positions[end:] == 0).all() and (rows["masked_lm_ids"][row, end:] == 0).all()
    return positions[:end].tolist(), rows["masked_lm_ids"][row, :end].tolist()


def test_layout_of_a_row():
    pool = Pool.of(np.arange(50, 60, dtype=np.int32), np.ones(10, bool), (CLS, SEP, PAD))
    rows, _ = lay_out(np.array([[2, 5, 7, 9, 1], [0, 1, 1, 7, 0]]), pool, 10)
    assert rows["input_ids"].tolist() == [
        [CLS, 52, 53, 54, SEP, 57, 58, SEP, PAD, PAD],
        [CLS, 50, SEP, 51, 52, 53, 54, 55, 56, SEP],
    ]
    assert rows["segment_ids"][0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 0, 0]
    assert rows["input_mask"][0].tolist() == [1] * 8 + [0, 0]
    assert rows["next_sentence_labels"].tolist() == [1, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(8, 80), st.integers(1, 30), st.floats(0.01, 0.9), st.booleans(), st.integers(0, 999)
)
def test_labels_put_back_give_the_text(length, predictions, prob, whole, seed):
    settings = how(predictions, prob, whole)
    _, pairs, plain, rows, _ = made(20, length, settings, seed)
    for row, (a0, a1, b0, b1, _) in enumerate(pairs.tolist()):
        positions, labels = listed(rows, row)
        tokens = a1 - a0 + b1 - b0 + 3
        wanted = min(predictions, max(1, round(prob * tokens)))
        assert positions == sorted(set(positions)) and 1 <= len(positions) <= wanted
        if not whole:
            assert len(positions) == min(wanted, tokens - 3)
        assert not {0, a1 - a0 + 1, tokens - 1} & set(positions) and max(positions) < tokens
        restored = rows["input_ids"][row].copy()
        restored[positions] = labels
        assert np.array_equal(restored, plain[row])


def test_four_fifths_masked_a_tenth_random_a_tenth_kept():
    _, _, plain, rows, numbers = made(4000, 64, how(10, 0.15))
    ids, total = rows["input_ids"], sum(numbers)
    changed = ids != plain
    masked, random = (ids == MASK).sum(), (changed & (ids != MASK)).sum()
    assert (masked, random) == numbers[:2] and total == (rows["masked_lm_ids"] > 0).sum()
    for number, share in zip(numbers, (0.8, 0.1, 0.1), strict=True):
        assert abs(number / total - share) < 0.015
    assert set(ids[changed & (ids != MASK)]) == set(ORDINARY)


def test_every_position_is_as_likely():
    pool = pool_of(500)
    pairs = np.tile(np.array([0, 9, 20, 30, 0]), (20_000, 1))
    rows, where = lay_out(pairs, pool, 24)
    mask(rows, where, pool, how(5, 0.2), np.random.default_rng(1))
    hits = np.bincount(rows["masked_lm_positions"].ravel(), minlength=24)[1:]
    free = np.array([i for i in range(22) if i not in (0, 10, 21)]) - 1
    expected = 20_000 * 4 / len(free)
    assert np.abs(hits[free] / expected - 1).max() < 0.06
    assert hits.sum() == hits[free].sum() == 80_000


def test_all_predictions_of_a_row_may_be_used():
    _, _, _, rows, _ = made(200, 64, how(4, 0.5))
    assert (rows["masked_lm_positions"] > 0).all(axis=1).sum() > 100


@pytest.mark.parametrize("prob", [0.15, 0.5])
def test_whole_words_are_masked_whole(prob):
    settings = how(12, prob, whole=True)
    pool, pairs, _, rows, _ = made(500, 48, settings, starts=0.5)
    whole = 0
    for row, (a0, a1, b0, b1, _) in enumerate(pairs.tolist()):
        begins = [True, *pool.starts[a0 + 1 : a1], True, True, *pool.starts[b0 + 1 : b1], True]
        begins = [True, *begins]  # [CLS]
        word = np.cumsum(begins) - 1
        positions, _ = listed(rows, row)
        words = {int(word[p]) for p in positions}
        covered = [i for i in range(len(word)) if word[i] in words]
        if len(positions) == 1:  # perhaps a single piece, where no word fits
            assert 1 <= len(covered)
            continue
        assert covered == positions
        whole += len(positions) > len(words)
    assert whole > 50


def test_whole_words_fill_up_with_words_that_fit():
    """A word that is too long is left out, not the end of the search."""
    starts = np.array([True, *[False] * 9, *[True] * 10])
    pool = Pool.of(np.arange(100, 120, dtype=np.int32), starts, (CLS, SEP, PAD))
    pairs = np.tile(np.array([0, 10, 10, 20, 0]), (200, 1))
    rows, where = lay_out(pairs, pool, 23)
    mask(rows, where, pool, how(20, 0.15, whole=True), np.random.default_rng(0))
    assert ((rows["masked_lm_positions"] > 0).sum(axis=1) == 3).all()
    assert (rows["masked_lm_positions"][:, :3] > 11).all()


def test_a_row_of_one_long_word_has_labels_all_the_same():
    pool = Pool.of(np.arange(100, 140, dtype=np.int32), np.zeros(40, bool), (CLS, SEP, PAD))
    rows, where = lay_out(np.array([[0, 20, 20, 40, 0]]), pool, 43)
    mask(rows, where, pool, how(3, 0.15, whole=True), np.random.default_rng(0))
    assert (rows["masked_lm_positions"] > 0).sum() == 3


def test_the_arrays_have_the_layouts_shapes():
    _, _, _, rows, _ = made(7, 32, how(40, 0.2))
    assert rows["masked_lm_positions"].shape == rows["masked_lm_ids"].shape == (7, 40)
    assert rows["input_ids"].dtype == rows["masked_lm_ids"].dtype == np.int32
    assert rows["input_mask"].dtype == rows["segment_ids"].dtype == np.int8
