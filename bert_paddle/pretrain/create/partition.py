"""The input dealt out to shards: one pass over the documents, into one text file for each shard.

Each document goes to the training or the test set by its number; each of its parts then
goes to the shard that has the least text so far. What a shard is made of is thus settled before any
is made, by the input and the seed alone, and nothing larger than a part is held at a time.

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

GUESTS = 16  # documents of each set that lend their sentences to a block with too few of its own
_GUEST_SENTENCES, _GUEST_CHARS = 200, 32_000
_GOLDEN = (5**0.5 - 1) / 2
_BUFFERED = 8_000_000  # bytes held back for all shards together


@dataclass
class Counts:
    """What one set (training, test) has. shards: its files; size: bytes of text."""

    shards: int
    documents: int = 0
    sentences: int = 0
    size: int = 0


@dataclass
class _Split:
    """A set while it is dealt out: its shards by the text they have, and what is not written."""

    counts: Counts
    heap: list[tuple[int, int]] = field(init=False)
    held: list[list[bytes]] = field(init=False)
    last: int = -1  # the number of the document that came last
    guests: int = 0

    def __post_init__(self) -> None:
        self.heap = [(0, i) for i in range(self.counts.shards)]
        self.held = [[] for _ in range(self.counts.shards)]


def shard_path(folder: Path, split: str, index: int) -> Path:
    """The text of a shard."""
    return folder / f"{split}_{index}.txt"


def guests_path(folder: Path, split: str) -> Path:
    """The documents of a set that lend sentences."""
    return folder / f"{split}_guests.txt"


def in_test(number: int, seed: int, share: float) -> bool:
    """Whether a document is held out.

    Steps of the golden section around a circle, from a point that the seed gives: of any n
    documents in a row, n * share are held out but for one or two, where independent draws
    would now and then hold out none of a few dozen.
    """
    digest = blake2b(str(seed).encode(), digest_size=8).digest()
    start = int.from_bytes(digest, "big") / 2**64
    return (start + number * _GOLDEN) % 1 < share


def partition_documents(
    folder: Path,
    documents: Iterable[Document],
    shards: int,
    test_shards: int,
    test_share: float,
    seed: int,
) -> dict[str, Counts]:
    """Write the text of every shard and the guests of each set; the folder is there and empty.

    Returns what the training and the test set have; `check` tells whether that will do.
    """
    splits = {
        schema.TRAINING: _Split(Counts(shards)),
        schema.TEST: _Split(Counts(test_shards if test_share else 0)),
    }
    buffered = 0
    for document in documents:
        held_out = test_share > 0 and in_test(document.number, seed, test_share)
        name = schema.TEST if held_out else schema.TRAINING
        split = splits[name]
        counts = split.counts
        data = _packed(document, document.sentences)
        if document.number != split.last:
            split.last = document.number
            counts.documents += 1
            if split.guests < GUESTS:
                split.guests += 1
                with guests_path(folder, name).open("ab") as file:
                    file.write(_packed(document, _first_few(document.sentences)))
        counts.sentences += len(document.sentences)
        counts.size += len(data)
        size, index = split.heap[0]
        heapq.heapreplace(split.heap, (size + len(data), index))
        split.held[index].append(data)
        buffered += len(data)
        if buffered > _BUFFERED:
            _write(folder, splits)
            buffered = 0
    _write(folder, splits)
    return {name: split.counts for name, split in splits.items()}


def check(counts: dict[str, Counts], shards_given: bool) -> None:
    """Raises DataError where a set has too few documents for what is asked of it."""
    training, test = counts[schema.TRAINING], counts[schema.TEST]
    total = training.documents + test.documents
    if not total:
        raise DataError("the input has no text: give files with at least two documents")
    if total == 1:
        raise DataError(
            "the input is one document, and half of the pairs need a second text from another "
            "document: give more files, or separate documents by blank lines (--form lines)"
        )
    if training.documents < 2 or (test.shards and test.documents < 2):
        raise DataError(
            f"of {total} documents, {training.documents} are for training and {test.documents} "
            "for the test set, and each needs two at least: give more documents, or another "
            "--test_share (0: no test set)"
        )
    for flag, split, asked in (("shards", training, shards_given), ("test_shards", test, True)):
        if asked and split.shards > split.documents:
            raise DataError(
                f"--{flag} {split.shards} is more than the {split.documents} documents there are "
                "for them: give fewer shards"
            )


def read_parts(path: Path) -> Iterator[Document]:
    """The parts of documents of a file that `fill` wrote, in order."""
    with path.open("rb") as file:
        for header in file:
            number, part, count = map(int, header.split()[1:])
            text = b"".join(islice(file, count)).decode()
            yield Document(number, part, text.split("\n")[:-1], str(path))


def as_json(counts: dict[str, Counts]) -> dict[str, dict[str, int]]:
    """Counts as plain values."""
    return {name: asdict(split) for name, split in counts.items()}


def from_json(content: dict[str, dict[str, int]]) -> dict[str, Counts]:
    """What `as_json` was given."""
    return {name: Counts(**values) for name, values in content.items()}


def _packed(document: Document, sentences: list[str]) -> bytes:
    header = f"> {document.number} {document.part} {len(sentences)}\n"
    return (header + "\n".join(sentences) + "\n").encode()


def _first_few(sentences: list[str]) -> list[str]:
    size, few = 0, []
    for sentence in sentences[:_GUEST_SENTENCES]:
        few.append(sentence[:_GUEST_CHARS])
        size += len(sentence)
        if size > _GUEST_CHARS:
            break
    return few


def _write(folder: Path, splits: dict[str, _Split]) -> None:
    for name, split in splits.items():
        for index, pieces in enumerate(split.held):
            if pieces:
                with shard_path(folder, name, index).open("ab") as file:
                    file.write(b"".join(pieces))
                pieces.clear()
