"""Sentence pairs for next-sentence prediction (NSP), as ranges of word pieces.

Does not import paddle.

The method is BERT's (google-research/bert, create_pretraining_data.py): fill a row with sentences
of one document and end A after a random one of them. B is either the remaining sentences or, for
half of the pairs, text from a different document; then the next row begins with the remaining ones.

    document   s0 s1 s2 s3 s4 s5      NEXT:   A = s0 s1, B = s2 s3         next row begins at s4
               |-A-| |-B-|            RANDOM: A = s0 s1, B from elsewhere  next row begins at s2

More than half of the pairs of BERT's script are random, because a row filled by one sentence always
is. Here such a row takes a second sentence: the one after it or, at the end of the document, the
one before it. A document of a single sentence must yield a random pair; a later pair compensates
for it. B never comes from A's document.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

NEXT, RANDOM = 0, 1
_LABEL_BLOCK = 64  # labels are drawn in shuffled blocks of this size, half of them RANDOM


@dataclass
class TokenizedDocuments:
    """Documents as word pieces: the source of sentence pairs.

    offsets: the index of each sentence's first word piece, then the number of word pieces; strictly
    ascending (no sentence is empty). documents: (first sentence, last sentence + 1, document
    number) of each. Pairs are made from the first `num_primary` documents; the others only supply
    random B texts.
    """

    offsets: list[int]
    documents: list[tuple[int, int, int]]
    num_primary: int


class BalancedLabels:
    """Draws NEXT and RANDOM in equal numbers, although some pairs are forced to be random."""

    def __init__(self, rng: Random):
        self._uniform = rng.random
        self._left = self._left_random = 0  # labels left in the block, and how many are RANDOM
        self._surplus_random = 0  # random pairs that were forced where NEXT was drawn

    def draw(self) -> int:
        """NEXT or RANDOM, for a pair that can be either."""
        label = self._draw_from_block()
        if label == RANDOM and self._surplus_random:
            self._surplus_random -= 1
            return NEXT
        return label

    def force_random(self) -> int:
        """RANDOM, for a pair that can be nothing else."""
        self._surplus_random += self._draw_from_block() == NEXT
        return RANDOM

    def _draw_from_block(self) -> int:
        """A label; any _LABEL_BLOCK draws from a block's start have equal counts of both."""
        if not self._left:
            self._left, self._left_random = _LABEL_BLOCK, _LABEL_BLOCK // 2
        is_random = self._uniform() * self._left < self._left_random
        self._left -= 1
        self._left_random -= is_random
        return RANDOM if is_random else NEXT


def make_sentence_pairs(
    text: TokenizedDocuments,
    max_seq_length: int,
    short_seq_prob: float,
    rng: Random,
    labels: BalancedLabels,
) -> np.ndarray:
    """int64 [n, 5]: a0, a1, b0, b1, label of each pair. A is the word pieces a0 to a1 - 1, B is b0
    to b1 - 1.

    Neither is empty; together they may be too long for a row (see `truncate_pairs`). The target
    length is the maximum, or with probability short_seq_prob a random one of at least 2 word
    pieces. Raises ValueError when all documents have the same number.
    """
    if len({number for _, _, number in text.documents}) < 2:
        raise ValueError("random B texts need at least two documents")
    # - 3: [CLS] and two [SEP].
    max_tokens, offsets, uniform = max_seq_length - 3, text.offsets, rng.random
    pairs: list[int] = []
    for first, stop, number in text.documents[: text.num_primary]:
        start = first
        while start < stop:
            short = short_seq_prob and uniform() < short_seq_prob
            target = 2 + int(uniform() * (max_tokens - 1)) if short else max_tokens
            end = bisect_left(offsets, offsets[start] + target, start + 1, stop)
            reuses_sentence = False
            if end == start + 1:
                if end < stop:
                    end += 1
                elif start > first:
                    start, reuses_sentence = start - 1, True
            if end == start + 1:
                label, middle = labels.force_random(), end
            else:
                # A ends after a random sentence, as in BERT. If the row repeats a sentence and B is
                # random, A takes both sentences, so that none remains.
                label = labels.draw()
                middle = start + 1 + int(uniform() * (end - start - 1))
                if reuses_sentence and label == RANDOM:
                    middle = end
            a0, a1 = offsets[start], offsets[middle]
            if label == NEXT:
                pairs += (a0, a1, a1, offsets[end], NEXT)
                start = end
            else:
                b0, b1 = _random_b(text, number, max(1, target - (a1 - a0)), rng)
                pairs += (a0, a1, b0, b1, RANDOM)
                start = middle
    return np.array(pairs, np.int64).reshape(-1, 5)


def _random_b(text: TokenizedDocuments, number: int, target: int, rng: Random) -> tuple[int, int]:
    """(b0, b1) of complete sentences at a random place in a document with a different number: at
    least `target` word pieces unless the document ends before."""
    documents, offsets = text.documents, text.offsets
    while True:
        first, stop, chosen_number = documents[int(rng.random() * len(documents))]
        if chosen_number != number:
            break
    start = first + int(rng.random() * (stop - first))
    end = bisect_left(offsets, offsets[start] + target, start + 1, stop)
    return offsets[start], offsets[end]


def truncate_pairs(pairs: np.ndarray, max_seq_length: int, rng: np.random.Generator) -> np.ndarray:
    """Copies of the pairs, truncated to fit into max_seq_length with [CLS] and two [SEP].

    As in BERT, one word piece at a time is removed from the longer text (the lengths are those of
    tokenizer.truncate_pair_lengths): its first or its last, with equal probability.
    """
    out = pairs.copy()
    a, b = pairs[:, 1] - pairs[:, 0], pairs[:, 3] - pairs[:, 2]
    max_tokens = max_seq_length - 3
    half = max_tokens // 2
    keep_a = np.where(
        np.minimum(a, b) > half, max_tokens - half, np.where(a < b, a, max_tokens - b)
    )
    keep_b = max_tokens - keep_a
    too_long = np.flatnonzero(a + b > max_tokens)
    for column, lengths, keep in ((0, a, keep_a), (2, b, keep_b)):
        removed_at_start = rng.binomial(lengths[too_long] - keep[too_long], 0.5)
        start = pairs[too_long, column] + removed_at_start
        out[too_long, column], out[too_long, column + 1] = start, start + keep[too_long]
    return out


def document_ranges(
    numbers: Sequence[int], sentence_counts: Sequence[int]
) -> list[tuple[int, int, int]]:
    """TokenizedDocuments.documents, from the number and the sentence count of each document.
    Documents without sentences are omitted."""
    ranges, first = [], 0
    for number, count in zip(numbers, sentence_counts, strict=True):
        if count:
            ranges.append((first, first + count, number))
        first += count
    return ranges
