"""Sentence pairs for next-sentence prediction (NSP), as ranges of word pieces. No paddle.

The recipe is BERT's (google-research/bert, create_pretraining_data.py): fill a row with sentences
of one document, end A at a random sentence, and let B be either the rest or, half of the time,
text from another document; in that case the rest is used again.

    document   s0 s1 s2 s3 s4 s5      A = s0 s1, B = s2 s3          next: continues at s4
               |-A-| |-B-|            A = s0 s1, B from elsewhere   random: continues at s2

BERT's script yields more than half random pairs, because a row filled by one sentence is always
"random". Here such a row takes a second sentence, the one after it or, at the document's end, the
one before; a document of a single sentence has to be "random", and a later pair compensates for
it. B never comes from the document of A.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

NEXT, RANDOM = 0, 1
_LABEL_BLOCK = 64  # even; labels are drawn in shuffled blocks with equal counts of both


@dataclass
class TokenizedDocuments:
    """Documents as word pieces: the source of sentence pairs.

    offsets: where each sentence begins in the word pieces, and their total; strictly ascending (no
    sentence is empty). documents: (first sentence, one past the last, number) of each document.
    Pairs are made from the first `num_primary` documents; all others only supply random B texts.
    """

    offsets: list[int]
    documents: list[tuple[int, int, int]]
    num_primary: int


class BalancedLabels:
    """Draws labels in equal numbers, even where documents force some pairs to be random."""

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
    """int64 [n, 5]: a0, a1, b0, b1, label of each pair; A is word pieces a0 to a1, B b0 to b1.

    Neither is empty; together they may exceed a row (see `truncate_pairs`). With probability
    short_seq_prob the target length is drawn at random, 2 or more, instead of the maximum.
    Raises ValueError when all documents have the same number.
    """
    if len({number for _, _, number in text.documents}) < 2:
        raise ValueError("a random B needs two documents")
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
                # A ends at a sentence, as in BERT; at `end` if A would otherwise repeat a sentence.
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
    """Complete sentences from a random place in a document with another number, `target` word
    pieces or more unless the document ends before."""
    documents, offsets = text.documents, text.offsets
    while True:
        first, stop, other = documents[int(rng.random() * len(documents))]
        if other != number:
            break
    start = first + int(rng.random() * (stop - first))
    end = bisect_left(offsets, offsets[start] + target, start + 1, stop)
    return offsets[start], offsets[end]


def truncate_pairs(pairs: np.ndarray, max_seq_length: int, rng: np.random.Generator) -> np.ndarray:
    """Truncate pairs to fit into max_seq_length with [CLS] and two [SEP].

    The longer text loses a word piece until both fit (as in tokenizer.truncate_pair_lengths), each
    time the first or the last with equal probability, as in BERT.
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
        removed_in_front = rng.binomial(lengths[too_long] - keep[too_long], 0.5)
        begin = pairs[too_long, column] + removed_in_front
        out[too_long, column], out[too_long, column + 1] = begin, begin + keep[too_long]
    return out


def document_ranges(
    numbers: Sequence[int], sentence_counts: Sequence[int]
) -> list[tuple[int, int, int]]:
    """The `documents` of TokenizedDocuments from the number and sentence count of each; documents
    without sentences are left out."""
    ranges, first = [], 0
    for number, count in zip(numbers, sentence_counts, strict=True):
        if count:
            ranges.append((first, first + count, number))
        first += count
    return ranges
