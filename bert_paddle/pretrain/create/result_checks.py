"""Checks that shards are worth training on: few [UNK], and half of the pairs with a next sentence.

What is certain or nearly so is refused before a shard is made; the exact shares are checked at the
end. Does not import paddle.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bert_paddle.common.errors import DataError
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.models.vocabulary import UNKNOWN_WARNING_SHARE
from bert_paddle.pretrain.create import unknown_words
from bert_paddle.pretrain.create.args import CreateArgs
from bert_paddle.pretrain.create.documents import LINES, Document
from bert_paddle.pretrain.create.file_layouts import PLAIN
from bert_paddle.pretrain.create.partition import SplitCounts
from bert_paddle.pretrain.create.wordpiece import WordPieceEncoder

WARNING_RANDOM_SHARE = (
    0.6  # of the pairs with a random next sentence; BERT's own tool makes 54-58 %
)
_MIN_PIECES, _SHOWN_FILES = 20, 4  # of a file in the sample that is judged, and in a message
_MIN_ROWS = 100  # the share of fewer rows is chance
_SAMPLE_SENTENCES, _SAMPLE_CHARS = 4_000, 1_000
_SENTENCE_END = re.compile(r"[.!?]['\")\u2019\u201d]?(?=\s|$)|[\u3002\uff01\uff1f]")
_MANY_SENTENCES = 3  # in one line, which is then no sentence
_KEPT = "; the shards are kept: the same command with another {flag} completes them"


class SentenceSample:
    """Sentences from all over a text: at most _SAMPLE_SENTENCES of at most _SAMPLE_CHARS."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.sources: list[str] = []  # the file of each
        self._stride, self._parts = 1, 0

    def taken_from(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, and take a sentence from every part, later from every nth."""
        for document in documents:
            if self._parts % self._stride == 0:
                sentence = document.sentences[len(document.sentences) // 2]
                self.sentences.append(sentence[:_SAMPLE_CHARS])
                self.sources.append(document.source)
                if len(self.sentences) > _SAMPLE_SENTENCES:
                    del self.sentences[1::2], self.sources[1::2]
                    self._stride *= 2
            self._parts += 1
            yield document


def check_vocabulary_fits(
    sample: SentenceSample, tokenizer: Tokenizer, max_unknown_share: float
) -> str | None:
    """Raise DataError when too many word pieces of a sample of the text are [UNK].

    Returns a warning when that is so in single files only, in another language perhaps.
    """
    encoder = WordPieceEncoder(tokenizer)
    encoded = encoder.encode(sample.sentences)
    is_unknown = encoded.ids == tokenizer.unk_id
    share = float(is_unknown.mean()) if len(is_unknown) else 0.0
    if share > max_unknown_share:
        raise DataError(
            f"{share:.0%} of the word pieces in a sample of the text are [UNK]: "
            f"{unknown_words.describe(encoder.unknown, tokenizer)} (--max_unknown_share "
            f"{max_unknown_share:g})"
        )
    pieces, unknown = Counter[str](), Counter[str]()
    ends = encoded.offsets[1:]
    for source, start, end in zip(sample.sources, encoded.offsets[:-1], ends, strict=True):
        pieces[source] += int(end - start)
        unknown[source] += int(is_unknown[start:end].sum())
    files = [
        f"{source} ({unknown[source] / count:.0%})"
        for source, count in pieces.items()
        if count >= _MIN_PIECES and unknown[source] > max_unknown_share * count
    ]
    if not files:
        return None
    more = f" and {len(files) - _SHOWN_FILES:,} more" if len(files) > _SHOWN_FILES else ""
    return (
        f"mostly [UNK], by a sample, in {len(files):,} file(s): "
        f"{', '.join(files[:_SHOWN_FILES])}{more}: give their text a vocabulary of its language, "
        "or leave them out"
    )


def find_long_lines(sample: SentenceSample) -> str | None:
    """A warning when the lines of a sample, taken for sentences, have several sentences each."""
    ends = sorted(len(_SENTENCE_END.findall(sentence)) for sentence in sample.sentences)
    median = ends[len(ends) // 2] if ends else 0
    if median < _MANY_SENTENCES:
        return None
    return (
        f"half of the lines have {median} sentences or more, and each line is taken for one: give "
        "--form prose for running text, or --document_format line if a line is a document"
    )


def check_documents(counts: Mapping[str, SplitCounts], args: CreateArgs) -> None:
    """Raise DataError when so many documents have a single sentence that too many pairs must be
    random."""
    single = sum(split.single_sentence_documents for split in counts.values())
    others = sum(split.sentences for split in counts.values()) - single
    # A pair that is not random needs a sentence of another document, at least.
    maximum = args.max_random_next_share
    if single and single / (single + others) > maximum:
        raise DataError(
            f"{_describe_single(counts, args)} (more than {maximum:.0%} of the pairs would have a "
            "random next sentence: --max_random_next_share)"
        )


def _describe_single(counts: Mapping[str, SplitCounts], args: CreateArgs) -> str:
    """Why pairs are random: documents of one sentence have no next one; and what to do."""
    single = sum(split.single_sentence_documents for split in counts.values())
    documents = sum(split.documents for split in counts.values())
    if single < documents / 2:  # e.g. lines of control characters
        return "most documents have a single sentence with word pieces; give longer documents"
    text = f"{single:,} of {documents:,} documents have a single sentence; give "
    if args.text_format.form_of(PLAIN) == LINES:
        return (
            text
            + "--document_format line if a line is a document, or --form prose for running text"
        )
    return text + "longer documents, or another --document_format"


def check_result(
    metadata: Mapping[str, Any],
    counts: Mapping[str, SplitCounts],
    tokenizer: Tokenizer,
    args: CreateArgs,
) -> list[str]:
    """Warnings about the shards. Raises DataError when a share exceeds its maximum in `args`."""
    warnings = []
    share = metadata["unknown_share"]  # None: shards of an earlier version
    if share is not None and share >= min(UNKNOWN_WARNING_SHARE, args.max_unknown_share):
        recorded = unknown_words.merge(s["unknown_words"] for s in metadata["shards"])
        message = (
            f"{share:.1%} of the text's word pieces are [UNK]: "
            f"{unknown_words.describe(recorded, tokenizer)}"
        )
        if share > args.max_unknown_share:
            raise DataError(message + _KEPT.format(flag="--max_unknown_share"))
        warnings.append(message)
    random_share = metadata["random_next_share"]  # None: rows of single sequences
    if metadata["rows"] >= _MIN_ROWS and (random_share or 0) > WARNING_RANDOM_SHARE:
        message = (
            f"{random_share:.1%} of the pairs have a random next sentence, not half of them: "
            f"{_describe_single(counts, args)}"
        )
        if random_share > args.max_random_next_share:
            raise DataError(message + _KEPT.format(flag="--max_random_next_share"))
        warnings.append(message)
    return warnings
