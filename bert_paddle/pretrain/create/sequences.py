"""Single sequences for training without next-sentence prediction, as ranges of word pieces.

Does not import paddle.

The two forms are RoBERTa's (Liu et al., 2019, 4.2). A row is filled with whole sentences that
follow each other; a sentence that is longer than a row continues in the next one, so that no text
is lost. A row of DOC_SENTENCES ends with its document, one of FULL_SENTENCES goes on with the next
document behind a [SEP]:

    documents        s0 s1 s2 | s3 s4 s5 s6
    FULL_SENTENCES   [CLS] s0 s1 [SEP]   [CLS] s2 [SEP] s3 [SEP]   [CLS] s4 s5 [SEP]   ...
    DOC_SENTENCES    [CLS] s0 s1 [SEP]   [CLS] s2 [SEP]   [CLS] s3 s4 s5 [SEP]   ...
"""

from bisect import bisect_right
from dataclasses import dataclass
from random import Random

import numpy as np

from bert_paddle.pretrain.create.sentence_pairs import TokenizedDocuments

FULL_SENTENCES, DOC_SENTENCES = "full_sentences", "doc_sentences"
SEQUENCES = (FULL_SENTENCES, DOC_SENTENCES)


@dataclass(frozen=True)
class SequenceText:
    """The text of documents in order. stream: int64 [m], the place of each token in the pool of
    word pieces, with that of [SEP] between two documents. parts: (first, last + 1 place in the
    stream, places where sentences end) of what a row may be filled from: of each document, or of
    all of them."""

    stream: np.ndarray
    parts: list[tuple[int, int, list[int]]]


def make_sequence_text(text: TokenizedDocuments, sequences: str, sep_index: int) -> SequenceText:
    """The text of the documents that rows are made from. sequences: one of SEQUENCES. sep_index:
    the place of [SEP] in the pool of word pieces."""
    offsets = text.offsets
    pieces, parts, size = list[np.ndarray](), list[tuple[int, int, list[int]]](), 0
    for first, stop, _ in text.documents[: text.num_primary]:
        if pieces:
            pieces.append(np.array([sep_index]))
            size += 1
        pieces.append(np.arange(offsets[first], offsets[stop]))
        shift = size - offsets[first]
        ends = [end + shift for end in offsets[first + 1 : stop + 1]]
        parts.append((size, ends[-1], ends))
        size = ends[-1]
    if sequences == FULL_SENTENCES:
        parts = [(0, size, [end for _, _, ends in parts for end in ends])]
    return SequenceText(np.concatenate(pieces), parts)


def make_sequences(
    text: SequenceText, max_seq_length: int, short_seq_prob: float, rng: Random, sep_index: int
) -> np.ndarray:
    """int64 [n, 2]: the first and the last + 1 place in the stream of each row, in order.

    A row has as many whole sentences as fit beside [CLS] and [SEP], with probability short_seq_prob
    as many as fit into a random length of at least 2 word pieces.
    """
    max_tokens = max_seq_length - 2
    spans: list[int] = []
    for start, stop, ends in text.parts:
        while start < stop:
            short = short_seq_prob and rng.random() < short_seq_prob
            target = 2 + int(rng.random() * (max_tokens - 1)) if short else max_tokens
            fitting = bisect_right(ends, start + target) - 1
            end = ends[fitting] if fitting >= 0 and ends[fitting] > start else start + target
            spans += (start, end)
            start = end
            if start < stop and text.stream[start] == sep_index:
                start += 1  # no row begins with the [SEP] between two documents
    return np.array(spans, np.int64).reshape(-1, 2)
