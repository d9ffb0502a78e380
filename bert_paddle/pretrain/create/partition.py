"""Partition the input into shards: one pass over the documents writes one text file per shard.

A document belongs to the training or the test set according to its number; each of its parts goes
to the shard with the least text so far. The content of each shard therefore depends on the input
and the seed only, and memory use does not grow with the input.

    training_0.txt       > 0 0 2          document 0, part 0, 2 sentences
                         it rained .
                         he went home .
                         > 3 0 1
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create.documents import Document
from bert_paddle.pretrain.data import schema

# Documents per set from which random B texts are also taken in a block of text that has fewer
# documents than this.
EXTRA_DOCUMENTS = 16
_EXTRA_SENTENCES, _EXTRA_CHARS = 200, 32_000
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_BUFFER_BYTES = 8_000_000  # text of all shards that is not written yet


@dataclass
class SplitCounts:
    """Counts of the training or the test set. shards: number of files; size: bytes of text;
    single_sentence_documents: documents of one sentence, which make random pairs only."""

    shards: int
    documents: int = 0
    sentences: int = 0
    size: int = 0
    single_sentence_documents: int = 0


@dataclass
class _SplitWriter:
    """The state of a set during partitioning: sizes of its shards, and text not yet written."""

    counts: SplitCounts
    sizes: list[tuple[int, int]] = field(init=False)  # a heap of (bytes, shard index)
    buffers: list[list[bytes]] = field(init=False)
    last_document: int = -1
    last_is_single: bool = False  # whether the last document has one sentence so far
    extra_documents: int = 0

    def __post_init__(self) -> None:
        self.sizes = [(0, i) for i in range(self.counts.shards)]
        self.buffers = [[] for _ in range(self.counts.shards)]


def shard_text_path(folder: Path, split: str, index: int) -> Path:
    """The text file of a shard."""
    return folder / f"{split}_{index}.txt"


def extra_documents_path(folder: Path, split: str) -> Path:
    """The file of a set's extra documents for random B texts."""
    return folder / f"{split}_guests.txt"


def is_held_out(number: int, seed: int, share: float) -> bool:
    """Whether a document is held out.

    A low-discrepancy sequence (multiples of the golden ratio modulo 1, with an offset from the
    seed): of any n consecutive documents, n * share are held out, give or take one or two;
    independent draws would sometimes hold out none of a few dozen.
    """
    digest = blake2b(str(seed).encode(), digest_size=8).digest()
    offset = int.from_bytes(digest, "big") / 2**64
    return (offset + number * _GOLDEN_RATIO) % 1 < share


def partition_documents(
    folder: Path,
    documents: Iterable[Document],
    shards: int,
    test_shards: int,
    test_share: float,
    seed: int,
) -> dict[str, SplitCounts]:
    """Write the text of every shard and the extra documents of each set into an empty folder.

    Returns the counts of the training and the test set, which `check_counts` validates.
    """
    splits = {
        schema.TRAINING: _SplitWriter(SplitCounts(shards)),
        schema.TEST: _SplitWriter(SplitCounts(test_shards if test_share else 0)),
    }
    buffered = 0
    for document in documents:
        held_out = test_share > 0 and is_held_out(document.number, seed, test_share)
        name = schema.TEST if held_out else schema.TRAINING
        split = splits[name]
        counts = split.counts
        data = _serialize(document, document.sentences)
        if document.number != split.last_document:
            split.last_document = document.number
            counts.documents += 1
            split.last_is_single = len(document.sentences) == 1
            counts.single_sentence_documents += split.last_is_single
            if split.extra_documents < EXTRA_DOCUMENTS:
                split.extra_documents += 1
                with extra_documents_path(folder, name).open("ab") as file:
                    file.write(_serialize(document, _first_sentences(document.sentences)))
        elif split.last_is_single:  # another part of it
            split.last_is_single = False
            counts.single_sentence_documents -= 1
        counts.sentences += len(document.sentences)
        counts.size += len(data)
        size, index = split.sizes[0]
        heapq.heapreplace(split.sizes, (size + len(data), index))
        split.buffers[index].append(data)
        buffered += len(data)
        if buffered > _BUFFER_BYTES:
            _flush(folder, splits)
            buffered = 0
    _flush(folder, splits)
    return {name: split.counts for name, split in splits.items()}


def check_counts(
    counts: dict[str, SplitCounts], shards_given: bool, least_documents: int = 2
) -> None:
    """Raise DataError when a set has too few documents for the flags. shards_given: whether
    --shards was given; else the number of training shards is not checked. least_documents: that a
    set needs."""
    training, test = counts[schema.TRAINING], counts[schema.TEST]
    total = training.documents + test.documents
    if not total:
        raise DataError("the input has no text: give files with at least two documents")
    if total < least_documents:
        raise DataError(
            "the input has only one document, but half of the sentence pairs need a text from "
            "another document: give more files, or say with --document_format what a document "
            "is: blank_line (the text between blank lines), line, ... (--nsp 0 needs no pairs)"
        )
    fewest = min(training.documents, test.documents) if test.shards else training.documents
    if fewest < least_documents:
        needed = {1: "one", 2: "two"}[least_documents]
        raise DataError(
            f"of {total} documents, {training.documents} are for training and {test.documents} "
            f"for the test set, and each needs at least {needed}: give more documents, or another "
            "--test_share (0: no test set)"
        )
    for flag, name, is_checked in (
        ("shards", schema.TRAINING, shards_given),
        ("test_shards", schema.TEST, True),
    ):
        split = counts[name]
        if is_checked and split.shards > split.documents:
            raise DataError(
                f"--{flag} {split.shards} is more than the {split.documents} {name} documents: "
                "give fewer shards"
            )


def read_parts(path: Path) -> Iterator[Document]:
    """Yield the parts of documents in a file that `partition_documents` wrote, in order."""
    with path.open("rb") as file:
        for header in file:  # the lines in between are read by islice()
            number, part, count = map(int, header.split()[1:])
            text = b"".join(islice(file, count)).decode()
            yield Document(number, part, text.split("\n")[:-1], str(path))


def counts_to_json(counts: dict[str, SplitCounts]) -> dict[str, dict[str, int]]:
    """Counts as JSON values."""
    return {name: asdict(split) for name, split in counts.items()}


def counts_from_json(content: dict[str, dict[str, int]]) -> dict[str, SplitCounts]:
    """The inverse of `counts_to_json`."""
    return {name: SplitCounts(**values) for name, values in content.items()}


def _serialize(document: Document, sentences: list[str]) -> bytes:
    """A part of a document in the format shown above, with these of its sentences."""
    header = f"> {document.number} {document.part} {len(sentences)}\n"
    return (header + "\n".join(sentences) + "\n").encode()


def _first_sentences(sentences: list[str]) -> list[str]:
    """The first sentences, limited in number and characters, for an extra document."""
    size, first = 0, []
    for sentence in sentences[:_EXTRA_SENTENCES]:
        first.append(sentence[:_EXTRA_CHARS])
        size += len(sentence)
        if size > _EXTRA_CHARS:
            break
    return first


def _flush(folder: Path, splits: dict[str, _SplitWriter]) -> None:
    """Append the buffered text to the shards' text files."""
    for name, split in splits.items():
        for index, buffer in enumerate(split.buffers):
            if buffer:
                with shard_text_path(folder, name, index).open("ab") as file:
                    file.write(b"".join(buffer))
                buffer.clear()
