import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_paddle.pretrain.create.rows import TokenPool, build_rows
from bert_paddle.pretrain.data.masking import MaskingConfig, SequentialDraws, mask_tokens

CLS, SEP, PAD, MASK = 1, 2, 0, 3
ORDINARY = np.arange(10, 60, dtype=np.int32)


def make_pool(size, seed=0, starts=0.6):
    rng = np.random.default_rng(seed)
    begins = rng.random(size) < starts
    return TokenPool.with_special_tokens(
        rng.integers(100, 9000, size).astype(np.int32), begins, (CLS, SEP, PAD)
    )


def make_config(predictions=20, prob=0.15, whole=False):
    return MaskingConfig(predictions, prob, whole, MASK, ORDINARY)


def make_pairs(count, length, size, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(1, length - 3, count)
    b = np.maximum(1, rng.integers(0, length - 2 - a))
    a0, b0 = rng.integers(0, size - a), rng.integers(0, size - b)
    return np.stack([a0, a0 + a, b0, b0 + b, rng.integers(0, 2, count)], 1)


def mask(rows, pool_index, pool, config, seed):
    draws = SequentialDraws(np.random.default_rng(seed))
    maskable = pool.is_word_piece(pool_index)
    return mask_tokens(rows, maskable, pool.starts[pool_index], config, draws)


def make_masked_rows(count=300, length=32, settings=None, seed=0, starts=0.6):
    pool = make_pool(500, seed, starts)
    pairs = make_pairs(count, length, 500, seed)
    rows, pool_index = build_rows(pairs, pool, length)
    unmasked = rows["input_ids"].copy()
    counts = mask(rows, pool_index, pool, settings or make_config(), seed)
    return pool, pairs, unmasked, rows, counts


def predictions_of(rows, row):
    """Positions and labels of a row, without the zero tail."""
    positions = rows["masked_lm_positions"][row]
    end = int((positions > 0).sum())
    assert (positions[end:] == 0).all() and (rows["masked_lm_ids"][row, end:] == 0).all()
    return positions[:end].tolist(), rows["masked_lm_ids"][row, :end].tolist()


def test_arrays_of_a_row():
    pool = TokenPool.with_special_tokens(
        np.arange(50, 60, dtype=np.int32), np.ones(10, bool), (CLS, SEP, PAD)
    )
    rows, _ = build_rows(np.array([[2, 5, 7, 9, 1], [0, 1, 1, 7, 0]]), pool, 10)
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
def test_restoring_the_labels_gives_the_text(length, predictions, prob, whole, seed):
    settings = make_config(predictions, prob, whole)
    _, pairs, unmasked, rows, _ = make_masked_rows(20, length, settings, seed)
    for row, (a0, a1, b0, b1, _) in enumerate(pairs.tolist()):
        positions, labels = predictions_of(rows, row)
        tokens = a1 - a0 + b1 - b0 + 3
        num_to_predict = min(predictions, max(1, round(prob * tokens)))
        assert positions == sorted(set(positions)) and 1 <= len(positions) <= num_to_predict
        if not whole:
            assert len(positions) == min(num_to_predict, tokens - 3)
        assert not {0, a1 - a0 + 1, tokens - 1} & set(positions) and max(positions) < tokens
        restored = rows["input_ids"][row].copy()
        restored[positions] = labels
        assert np.array_equal(restored, unmasked[row])


def test_80_percent_masked_10_random_10_kept():
    _, _, unmasked, rows, counts = make_masked_rows(4000, 64, make_config(10, 0.15))
    ids, total = rows["input_ids"], sum(counts)
    changed = ids != unmasked
    masked, random = (ids == MASK).sum(), (changed & (ids != MASK)).sum()
    assert (masked, random) == counts[:2] and total == (rows["masked_lm_ids"] > 0).sum()
    for count, share in zip(counts, (0.8, 0.1, 0.1), strict=True):
        assert abs(count / total - share) < 0.015
    assert set(ids[changed & (ids != MASK)]) == set(ORDINARY)


def test_positions_are_chosen_uniformly():
    pool = make_pool(500)
    pairs = np.tile(np.array([0, 9, 20, 30, 0]), (20_000, 1))
    rows, pool_index = build_rows(pairs, pool, 24)
    mask(rows, pool_index, pool, make_config(5, 0.2), 1)
    hits = np.bincount(rows["masked_lm_positions"].ravel(), minlength=24)[1:]
    free = np.array([i for i in range(22) if i not in (0, 10, 21)]) - 1
    expected = 20_000 * 4 / len(free)
    assert np.abs(hits[free] / expected - 1).max() < 0.06
    assert hits.sum() == hits[free].sum() == 80_000


def test_all_predictions_of_a_row_may_be_used():
    _, _, _, rows, _ = make_masked_rows(200, 64, make_config(4, 0.5))
    assert (rows["masked_lm_positions"] > 0).all(axis=1).sum() > 100


@pytest.mark.parametrize("prob", [0.15, 0.5])
def test_whole_words_are_masked_together(prob):
    settings = make_config(12, prob, whole=True)
    pool, pairs, _, rows, _ = make_masked_rows(500, 48, settings, starts=0.5)
    longer_words = 0
    for row, (a0, a1, b0, b1, _) in enumerate(pairs.tolist()):
        begins = [True, *pool.starts[a0 + 1 : a1], True, True, *pool.starts[b0 + 1 : b1], True]
        begins = [True, *begins]  # [CLS]
        word = np.cumsum(begins) - 1
        positions, _ = predictions_of(rows, row)
        words = {int(word[p]) for p in positions}
        covered = [i for i in range(len(word)) if word[i] in words]
        if len(positions) == 1:  # perhaps a single piece, where no word fits
            assert 1 <= len(covered)
            continue
        assert covered == positions
        longer_words += len(positions) > len(words)
    assert longer_words > 50


def test_whole_words_fill_up_with_words_that_fit():
    """A word that is too long is skipped; the search continues."""
    starts = np.array([True, *[False] * 9, *[True] * 10])
    pool = TokenPool.with_special_tokens(
        np.arange(100, 120, dtype=np.int32), starts, (CLS, SEP, PAD)
    )
    pairs = np.tile(np.array([0, 10, 10, 20, 0]), (200, 1))
    rows, pool_index = build_rows(pairs, pool, 23)
    mask(rows, pool_index, pool, make_config(20, 0.15, whole=True), 0)
    assert ((rows["masked_lm_positions"] > 0).sum(axis=1) == 3).all()
    assert (rows["masked_lm_positions"][:, :3] > 11).all()


def test_a_row_of_one_long_word_has_predictions_nonetheless():
    pool = TokenPool.with_special_tokens(
        np.arange(100, 140, dtype=np.int32), np.zeros(40, bool), (CLS, SEP, PAD)
    )
    rows, pool_index = build_rows(np.array([[0, 20, 20, 40, 0]]), pool, 43)
    mask(rows, pool_index, pool, make_config(3, 0.15, whole=True), 0)
    assert (rows["masked_lm_positions"] > 0).sum() == 3


def test_the_arrays_have_the_layouts_shapes():
    _, _, _, rows, _ = make_masked_rows(7, 32, make_config(40, 0.2))
    assert rows["masked_lm_positions"].shape == rows["masked_lm_ids"].shape == (7, 40)
    assert rows["input_ids"].dtype == rows["masked_lm_ids"].dtype == np.int32
    assert rows["input_mask"].dtype == rows["segment_ids"].dtype == np.int8
