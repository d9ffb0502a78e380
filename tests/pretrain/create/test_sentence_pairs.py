import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert_paddle.models.tokenizer import keep_of_pair
from bert_paddle.pretrain.create.sentence_pairs import (
    NEXT,
    RANDOM,
    Labels,
    Text,
    documents_of,
    make_pairs,
    truncate,
)


def text_of(documents, lenders=0):
    """Documents given as lists of sentence lengths."""
    lengths = [length for document in documents for length in document]
    offsets = [0, *np.cumsum(lengths).tolist()]
    found = documents_of(range(len(documents)), [len(d) for d in documents])
    return Text(offsets, found, len(documents) - lenders)


def made(text, length=32, short=0.1, seed=0):
    rng = random.Random(seed)
    return make_pairs(text, length, short, rng, Labels(rng))


def owner(text, place):
    """The number of the document that a piece lies in."""
    return next(n for a, b, n in text.documents if text.offsets[a] <= place < text.offsets[b])


documents = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=2, max_size=8)


@settings(max_examples=150, deadline=None)
@given(documents, st.integers(8, 64), st.integers(0, 10**6))
def test_pairs_are_what_their_labels_say(sizes, length, seed):
    text = text_of(sizes)
    for a0, a1, b0, b1, label in made(text, length, 0.3, seed).tolist():
        assert a0 < a1 and b0 < b1
        assert {a0, a1, b0, b1} <= set(text.offsets)
        assert owner(text, a0) == owner(text, a1 - 1)
        assert owner(text, b0) == owner(text, b1 - 1)
        if label == NEXT:
            assert b0 == a1 and owner(text, a0) == owner(text, b0)
        else:
            assert label == RANDOM and owner(text, a0) != owner(text, b0)


@settings(max_examples=60, deadline=None)
@given(documents, st.integers(0, 10**6))
def test_every_sentence_is_used(sizes, seed):
    text = text_of(sizes)
    seen = set()
    for a0, a1, b0, b1, label in made(text, 32, 0.1, seed).tolist():
        seen |= set(range(a0, a1)) | (set(range(b0, b1)) if label == NEXT else set())
    assert seen == set(range(text.offsets[-1]))


@pytest.mark.parametrize("longest", [6, 25, 200], ids=["short", "middling", "longer than rows"])
def test_half_of_the_pairs_are_random(longest):
    rng = random.Random(1)
    sizes = [[rng.randint(1, longest) for _ in range(rng.randint(2, 9))] for _ in range(2500)]
    labels = made(text_of(sizes))[:, 4]
    assert len(labels) > 4000 and abs(labels.mean() - 0.5) < 0.01


def test_single_sentences_are_random_and_made_up_for():
    rng = random.Random(2)
    sizes = [[5] if i % 3 else [rng.randint(3, 9) for _ in range(30)] for i in range(600)]
    pairs = made(text_of(sizes))
    assert abs(pairs[:, 4].mean() - 0.5) < 0.01
    alone = [row for row in pairs.tolist() if row[1] - row[0] == 5]
    assert alone and sum(row[4] for row in alone) > 300


def test_lenders_are_never_a():
    text = text_of([[4, 4], [5, 5], [6, 6, 6]], lenders=2)
    pairs = made(text)
    behind = text.offsets[2]
    assert (pairs[:, 1] <= behind).all() and (pairs[pairs[:, 4] == RANDOM, 2] >= behind).all()


def test_one_document_is_refused():
    text = text_of([[3, 3], [4, 4]])
    text.documents = [(a, b, 7) for a, b, _ in text.documents]
    with pytest.raises(ValueError):
        made(text)


def test_short_pairs_are_made():
    text = text_of([[3] * 400, [3] * 400])
    sizes = {short: made(text, 128, short)[:, :4] for short in (0.0, 1.0)}
    mean = {k: (v[:, 1] - v[:, 0] + v[:, 3] - v[:, 2]).mean() for k, v in sizes.items()}
    assert mean[0.0] > 115 and 50 < mean[1.0] < 80


def test_duplicates_differ_and_seeds_repeat():
    text = text_of([[3, 4, 5, 6] * 20, [4] * 50])
    rng = random.Random(3)
    labels = Labels(rng)
    first, second = (make_pairs(text, 32, 0.1, rng, labels) for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(made(text, seed=5), made(text, seed=5))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=20),
    st.integers(8, 64),
)
def test_truncation_keeps_what_the_tokenizer_would(sizes, length):
    rows = [[1000 * i, 1000 * i + a, 500, 500 + b, i % 2] for i, (a, b) in enumerate(sizes)]
    pairs = np.array(rows, np.int64)
    out = truncate(pairs, length, np.random.default_rng(0))
    for (a, b), before, row in zip(sizes, pairs.tolist(), out.tolist(), strict=True):
        kept = (row[1] - row[0], row[3] - row[2])
        assert kept == keep_of_pair(a, b, length - 3) and min(kept) > 0
        assert before[0] <= row[0] and row[1] <= before[1]
        assert before[2] <= row[2] and row[3] <= before[3]
        assert row[4] == before[4]


def test_truncation_takes_from_both_ends_alike():
    pairs = np.tile(np.array([0, 200, 300, 500, 0], np.int64), (4000, 1))
    out = truncate(pairs, 103, np.random.default_rng(0))
    assert abs(out[:, 0].mean() - 75) < 1 and abs((out[:, 2] - 300).mean() - 75) < 1
    assert out[:, 0].std() > 4  # a coin for each piece, not half and half
