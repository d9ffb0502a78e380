"""Texts as rows of tokens, one text per row or several packed into it, and batches of them.

Every token but a text's first is predicted from those before it in its text, so that the loss of a
text is the same in a row of its own, beside padding, and among other texts of a packed row:

    row of one text        bos  The  cat  sat  eos  pad  pad
    predicted                   The  cat  sat  eos

    row of two texts       bos  The  cat  eos  bos  A    dog  eos
    predicted                   The  cat  eos       A    dog  eos
    text_numbers            0    0    0    0    1    1    1    1
    position_ids            0    1    2    3    0    1    2    3
"""

import bisect
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from bert_paddle.models.byte_level_bpe import BpeTokenizer
from bert_paddle.models.forward_pass import Batch
from bert_paddle.training import batching

_CHUNK = 2_000  # texts per call of the tokenizer, so that progress is seen


@dataclass
class TextDataset:
    """Encoded texts, and the rows that they make.

    texts: int32 arrays, each at least two tokens. rows: for each row, the indices of its texts in
    order. pad_id: fills up rows. separate: whether the texts of a row are computed as if alone.
    cut: the number of texts that were longer than the limit.
    """

    texts: list[np.ndarray]
    rows: list[list[int]]
    pad_id: int
    separate: bool = True
    cut: int = 0
    _digest: str = field(default="", init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens in each row, int32 [n]."""
        sizes = (sum(len(self.texts[i]) for i in row) for row in self.rows)
        return np.fromiter(sizes, np.int32, len(self.rows))

    @property
    def predicted_tokens(self) -> int:
        """The number of tokens that are predicted: all but each text's first."""
        return sum(len(text) - 1 for text in self.texts)

    def batch(self, rows: np.ndarray, pad_multiple: int = 1) -> Batch:
        """The batch of the given rows; {} for no rows.

        input_ids: int64 [rows, width], padded to the longest row, rounded up to a multiple of
        `pad_multiple`. predicted_positions: int64 [n], flat indices into it of the tokens after
        which another token of the same text comes; labels: int64 [n], those next tokens. With
        several texts in a row that are separate, also position_ids and text_numbers, as input_ids.
        """
        if len(rows) == 0:
            return {}
        texts = [[self.texts[i] for i in self.rows[row]] for row in rows]
        input_ids = batching.pad([np.concatenate(row) for row in texts], self.pad_id, pad_multiple)
        positions = [
            np.concatenate([np.arange(len(t)) for t in row], dtype=np.int64) for row in texts
        ]
        width = input_ids.shape[1]
        # The first token of each text has no predecessor: the one before it predicts nothing.
        predicted = [np.flatnonzero(p) - 1 + i * width for i, p in enumerate(positions)]
        predicted_positions = np.concatenate(predicted)
        batch = {
            "input_ids": input_ids,
            "predicted_positions": predicted_positions,
            "labels": input_ids.reshape(-1)[predicted_positions + 1],
        }
        if self.separate and any(len(row) > 1 for row in texts):
            numbers = [np.cumsum(p == 0) - 1 for p in positions]
            # Padding is of no text: -1 is computed, but nothing is read from it.
            batch["text_numbers"] = _pad(numbers, -1, width)
            batch["position_ids"] = _pad(positions, 0, width)
        return batch

    def fingerprint(self) -> str:
        """A digest of the texts' tokens and the rows; a run resumes only with the same digest."""
        if not self._digest:
            digest = hashlib.sha256(str(self.separate).encode())
            for text in self.texts:
                digest.update(len(text).to_bytes(4, "little") + text.tobytes())
            for row in self.rows:
                digest.update(np.array([len(row), *row], np.int64).tobytes())
            self._digest = digest.hexdigest()
        return self._digest


def _pad(rows: Sequence[np.ndarray], value: int, width: int) -> np.ndarray:
    padded = np.full((len(rows), width), value, np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


def encode_texts(
    texts: Sequence[str],
    tokenizer: BpeTokenizer,
    max_length: int,
    show_rows: Callable[[int], None] = lambda rows_done: None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """The tokens of each text: bos, the text, eos; and the lengths before cutting, int [n].

    A text of more than `max_length` tokens is cut. It then has no eos: it does not end there.
    """
    bos, eos = tokenizer.id_of("bos"), tokenizer.id_of("eos")
    before, after = ([] if token is None else [token] for token in (bos, eos))
    encoded, lengths = [], []
    for start in range(0, len(texts), _CHUNK):
        show_rows(start)
        for ids in tokenizer.encode_texts(texts[start : start + _CHUNK]):
            row = [*before, *ids, *after]
            lengths.append(len(row))
            encoded.append(np.array(row[:max_length], np.int32))
    return encoded, np.array(lengths, np.int64)


def make_dataset(
    texts: list[np.ndarray], pad_id: int, max_length: int, packing: bool, separate: bool
) -> TextDataset:
    """The rows of a data set. Texts of a single token, after which nothing is predicted, are left
    out. packing: whether rows have several texts; separate: see TextDataset."""
    texts = [text for text in texts if len(text) > 1]
    rows = [[i] for i in range(len(texts))]
    if packing:
        rows = pack(np.array([len(text) for text in texts], np.int64), max_length)
    return TextDataset(texts, rows, pad_id, separate)


def pack(lengths: np.ndarray, capacity: int) -> list[list[int]]:
    """Distribute texts over rows of `capacity` tokens so that few places stay empty: the longest
    text first, each into the fullest row that has room for it. Texts are not divided.

    lengths: int [n], each at most `capacity`. Returns the indices of each row's texts, ascending.
    """
    rows: list[list[int]] = []
    by_room: dict[int, list[int]] = {}  # {free places: numbers of rows}
    rooms: list[int] = []  # the keys of by_room, ascending
    for index in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[index])
        place = bisect.bisect_left(rooms, length)
        if place == len(rooms):
            number, room = len(rows), capacity
            rows.append([])
        else:
            room = rooms[place]
            number = by_room[room].pop()
            if not by_room[room]:
                del by_room[room], rooms[place]
        rows[number].append(index)
        left = room - length
        if left > 0:
            if left not in by_room:
                by_room[left] = []
                bisect.insort(rooms, left)
            by_room[left].append(number)
    return [sorted(row) for row in rows]
