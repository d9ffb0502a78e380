"""Pairs of texts for next-sentence prediction, as ranges of word pieces. No paddle.

The recipe is BERT's (google-research/bert, create_pretraining_data.py): fill a row with sentences
of one document, end A at a random sentence, and let B be either the rest or, half of the time, a
text from another document; in that case the rest is used again.

    document   s0 s1 s2 s3 s4 s5      A = s0 s1, B = s2 s3    next: goes on at s4
               |-A-| |-B-|            A = s0 s1, B elsewhere  random: goes on at s2

Where BERT's script departs from half and half, this does not: what it filled with one sentence was
always "random". Here such a piece takes a second sentence, the one after it or, at the document's
end, the one before; a document of a single sentence has to be "random", and a later pair makes up
for it. B never comes from the document of A.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

NEXT, RANDOM = 0, 1
_DECK = 64  # even; labels are dealt from shuffled decks of so many, half of each kind


@dataclass
class Text:
    """Documents as word pieces: what pairs are made of.

    offsets: word pieces before each sentence and in all, ascending without equals (no sentence is
    empty). documents: (first sentence, sentence behind the last, number) of each document; the
    first `own` of them are taken through, the others only lend B texts.
    """

    offsets: list[int]
    documents: list[tuple[int, int, int]]
    own: int


class Labels:
    """Labels in equal numbers, whatever documents force some pairs to be."""

    def __init__(self, rng: Random):
        self._uniform = rng.random
        self._left = self._left_random = 0  # cards of the deck, and those that say RANDOM
        self._debt = 0  # random pairs that had to be made in place of next ones

    def draw(self) -> int:
        """NEXT or RANDOM for a pair that can be both."""
        label = self._deal()
        if label == RANDOM and self._debt:
            self._debt -= 1
            return NEXT
        return label

    def forced(self) -> int:
        """RANDOM, for a pair that can be nothing else."""
        self._debt += self._deal() == NEXT
        return RANDOM

    def _deal(self) -> int:
        """The next card of a shuffled deck."""
        if not self._left:
            self._left, self._left_random = _DECK, _DECK // 2
        label = self._uniform() * self._left < self._left_random
        self._left -= 1
        self._left_random -= label
        return RANDOM if label else NEXT


def make_pairs(
    text: Text, max_seq_length: int, short_seq_prob: float, rng: Random, labels: Labels
) -> np.ndarray:
    """int64 [n, 5]: a0, a1, b0, b1, label of each pair; A is word pieces a0 to a1, B b0 to b1.

    Neither is empty; both together may be longer than a row (see `truncate`). With probability
    short_seq_prob a pair aims at a random length of 2 or more pieces in place of the longest.
    Raises ValueError when all documents have one number.
    """
    if len({number for _, _, number in text.documents}) < 2:
        raise ValueError("a random B needs two documents")
    room, offsets, uniform = max_seq_length - 3, text.offsets, rng.random
    out: list[int] = []
    for first, behind, number in text.documents[: text.own]:
        i = first
        while i < behind:
            short = short_seq_prob and uniform() < short_seq_prob
            target = 2 + int(uniform() * (room - 1)) if short else room
            end = bisect_left(offsets, offsets[i] + target, i + 1, behind)
            again = False
            if end == i + 1:
                if end < behind:
                    end += 1
                elif i > first:
                    i, again = i - 1, True
            if end == i + 1:
                label, middle = labels.forced(), end
            else:
                # Sentence by sentence, as BERT has it; A of both where one is here a second time.
                label, middle = labels.draw(), i + 1 + int(uniform() * (end - i - 1))
                if again and label == RANDOM:
                    middle = end
            a0, a1 = offsets[i], offsets[middle]
            if label == NEXT:
                out += (a0, a1, a1, offsets[end], NEXT)
                i = end
            else:
                b0, b1 = _elsewhere(text, number, max(1, target - (a1 - a0)), rng)
                out += (a0, a1, b0, b1, RANDOM)
                i = middle
    return np.array(out, np.int64).reshape(-1, 5)


def _elsewhere(text: Text, number: int, target: int, rng: Random) -> tuple[int, int]:
    """Whole sentences of `target` pieces or more, if they last, from a random place in a document
    with another number."""
    documents, offsets = text.documents, text.offsets
    while True:
        first, behind, other = documents[int(rng.random() * len(documents))]
        if other != number:
            break
    start = first + int(rng.random() * (behind - first))
    end = bisect_left(offsets, offsets[start] + target, start + 1, behind)
    return offsets[start], offsets[end]


def truncate(pairs: np.ndarray, max_seq_length: int, rng: np.random.Generator) -> np.ndarray:
    """Pairs cut to fit into max_seq_length with [CLS] and two [SEP].

    The longer text loses a piece until both fit (as tokenizer.keep_of_pair has it), each time
    the first or the last one by the toss of a coin, as BERT does.
    """
    out = pairs.copy()
    a, b = pairs[:, 1] - pairs[:, 0], pairs[:, 3] - pairs[:, 2]
    room = max_seq_length - 3
    half = room // 2
    keep_a = np.where(np.minimum(a, b) > half, room - half, np.where(a < b, a, room - b))
    keep_b = room - keep_a
    long = np.flatnonzero(a + b > room)
    for column, have, keep in ((0, a, keep_a), (2, b, keep_b)):
        begin = pairs[long, column] + rng.binomial(have[long] - keep[long], 0.5)
        out[long, column], out[long, column + 1] = begin, begin + keep[long]
    return out


def documents_of(numbers: Sequence[int], sentences: Sequence[int]) -> list[tuple[int, int, int]]:
    """The `documents` of a Text from the number and the count of sentences of each; documents
    without sentences are left out."""
    found, first = [], 0
    for number, count in zip(numbers, sentences, strict=True):
        if count:
            found.append((first, first + count, number))
        first += count
    return found
