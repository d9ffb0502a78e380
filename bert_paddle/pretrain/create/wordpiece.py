"""Word pieces of many sentences at once, with the places where words begin. No paddle.

The Rust library gives one Python object per text, which costs more than all the rest of making
pre-training rows. Here each distinct word is cut by the library once, and everything else is done
on the bytes of many sentences together:

    sentences      Élan, it    0
    per character  elan , it   0      what the library's normalizer and pre-tokenizer make of each
    words          elan | , | it | 0
    numbers          17 | 4 | 9  | 31     -> pieces of each number -> one flat array of ids

The ids equal Tokenizer.pieces on every text but one that holds a special token: "[MASK]" or "[SEP]"
in running text is an ordinary word in brackets here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_paddle.common.errors import DataError, WeightsError
from bert_paddle.models.tokenizer import SPECIAL, Tokenizer

SEGMENTERS = ("none", "jieba")
_WORDS_KEPT = 1_000_000  # distinct words whose pieces are kept; then all are forgotten
_SLICE_CHARS = 400_000  # text worked on at once: a few MB of arrays, which stay in the caches
_LONGEST_WORD = 100  # characters; a longer one is [UNK], as in Tokenizer
_NEWLINE, _SPACE = 10, 32
_UNUSED = re.compile(r"\[unused\d+\]")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")


@dataclass
class Pieces:
    """Word pieces of n sentences, one after the other.

    ids: int32 [m]. offsets: int64 [n + 1], sentence i is ids[offsets[i]:offsets[i + 1]], maybe
    empty. starts: bool [m], whether a piece begins a word (whole-word masking).
    """

    ids: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray


def ordinary_ids(vocab: Sequence[str]) -> np.ndarray:
    """int32: ids that may stand in for a masked word: no special token and no [unusedN].

    Raises WeightsError when the vocabulary has nothing else.
    """
    keep = [i for i, p in enumerate(vocab) if p not in SPECIAL and not _UNUSED.fullmatch(p)]
    if not keep:
        raise WeightsError(
            f"the vocabulary ({len(vocab)} pieces) has special tokens only: give one with words"
        )
    return np.array(keep, np.int32)


class WordPieceEncoder:
    """Cuts sentences into word pieces as `tokenizer` does; keeps what it has learned of words."""

    def __init__(self, tokenizer: Tokenizer, segmenter: str = "none"):
        """segmenter: "jieba" joins Chinese characters to words for `starts`; ids stay the same."""
        self._chars = _Characters(tokenizer._rust)
        self._words = _Words(tokenizer)
        self._cut = cutter(segmenter)

    def encode(self, sentences: Sequence[str]) -> Pieces:
        """The pieces of each sentence, in order."""
        parts = [self._encode(part) for part in _slices(sentences)]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Pieces(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, bool))
        sizes = [np.diff(part.offsets) for part in parts]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
        ids = np.concatenate([part.ids for part in parts])
        return Pieces(ids, offsets, np.concatenate([part.starts for part in parts]))

    def _encode(self, sentences: Sequence[str]) -> Pieces:
        text, places, words_before = self._spaced(sentences)
        words = text.split()
        numbers = self._words.numbers(words)
        lengths, first = self._words.lengths[numbers], self._words.first[numbers]
        ends = np.cumsum(lengths)
        begins = ends - lengths
        total = int(ends[-1]) if len(ends) else 0
        starts = np.zeros(total, bool)
        starts[begins] = True
        if self._cut is not None:
            for run in _chinese_runs(self._words.chinese[numbers], words, places, words_before):
                joined = b"".join(words[run.start : run.stop]).decode()
                later = [k > 0 for word in self._cut(joined) for k in range(len(word))]
                starts[begins[run.start : run.stop][later]] = False
        source = np.repeat(first - begins, lengths) + np.arange(total)
        return Pieces(self._words.pieces[source], np.append(begins, total)[words_before], starts)

    def _spaced(self, sentences: Sequence[str]) -> tuple[bytes, np.ndarray, np.ndarray]:
        """The sentences, normalized, a line each, with spaces around punctuation; int64 [words],
        where each word begins in that; int64 [n + 1], the number of words before each line."""
        chars = self._chars
        text = "\n".join([s if s.isascii() else s.translate(chars) for s in sentences])
        if text.count("\n") != len(sentences) - 1:
            return self._spaced([s.replace("\n", " ") for s in sentences])
        raw = text.encode().translate(chars.ascii, chars.dropped)
        codes = np.frombuffer(raw, np.uint8)
        marks = np.flatnonzero(chars.punctuation[codes])
        # The k-th mark moves from i to i + 2k + 1 and gets spaces to its sides.
        middle = marks + 2 * np.arange(len(marks)) + 1
        out = np.full(len(codes) + 2 * len(marks), _SPACE, np.uint8)
        stay = np.ones(len(out), bool)
        stay[middle - 1] = stay[middle + 1] = False
        out[stay] = codes
        blank = out <= _SPACE
        places = np.flatnonzero(~blank & np.concatenate([[True], blank[:-1]]))
        line_ends = np.append(np.flatnonzero(out == _NEWLINE), len(out))
        return out.tobytes(), places, np.append(0, np.searchsorted(places, line_ends))


class _Characters(dict):
    """What the library makes of each character: a table for str.translate, filled when asked.

    Punctuation that is not ASCII has spaces around it, as Chinese characters have; ASCII stays as
    it is here, for ASCII texts need not come here. ascii, dropped: for bytes.translate.
    punctuation: bool [256].
    """

    def __init__(self, rust: Any):
        super().__init__((code, chr(code)) for code in range(128))
        self._rust = rust
        table, dropped = bytearray(range(256)), bytearray()
        self.punctuation = np.zeros(256, bool)
        for code in range(128):
            text = self._made_of(chr(code))
            if not text:
                dropped.append(code)
            elif code != _NEWLINE:
                table[code] = ord(text.strip() or " ")
                self.punctuation[table[code]] |= len(text) == 3
        self.ascii, self.dropped = bytes(table), bytes(dropped)

    def __missing__(self, code: int) -> str:
        text = self[code] = self._made_of(chr(code))
        return text

    def _made_of(self, char: str) -> str:
        between = self._rust.normalizer.normalize_str(char)
        parts = self._rust.pre_tokenizer.pre_tokenize_str(f"a{between}a")
        return " ".join(part for part, _ in parts)[1:-1]


class _Numbers(dict):
    """Words to numbers in the order of their first use; `fresh` are those not yet cut."""

    def __init__(self) -> None:
        self.fresh: list[bytes] = []

    def __missing__(self, word: bytes) -> int:
        number = self[word] = len(self)
        self.fresh.append(word)
        return number


class _Words:
    """The pieces of every word met: word k is pieces[first[k] : first[k] + lengths[k]].

    chinese: bool, whether the word is one Chinese character.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._model = tokenizer._rust.model
        self._vocab = {piece: i for i, piece in enumerate(tokenizer.vocab)}
        self._forget()

    def _forget(self) -> None:
        self._index = _Numbers()
        self.pieces = np.zeros(0, np.int32)
        self.first = self.lengths = np.zeros(0, np.int64)
        self.chinese = np.zeros(0, bool)

    def numbers(self, words: Sequence[bytes]) -> np.ndarray:
        """int64, the number of each word; valid until the next call."""
        if len(self._index) > _WORDS_KEPT:
            self._forget()
        numbers = np.fromiter(map(self._index.__getitem__, words), np.int64, len(words))
        if self._index.fresh:
            self._learn([word.decode() for word in self._index.fresh])
            self._index.fresh.clear()
        return numbers

    def _learn(self, words: Sequence[str]) -> None:
        pieces: list[int] = []
        lengths: list[int] = []
        for word in words:
            before = len(pieces)
            whole = self._vocab.get(word) if len(word) <= _LONGEST_WORD else None
            if whole is None:
                pieces += [token.id for token in self._model.tokenize(word)]
            else:
                pieces.append(whole)
            lengths.append(len(pieces) - before)
        sizes = np.array(lengths, np.int64)
        first = len(self.pieces) + np.cumsum(sizes) - sizes
        self.first = np.concatenate([self.first, first])
        self.lengths = np.concatenate([self.lengths, sizes])
        self.pieces = np.concatenate([self.pieces, np.array(pieces, np.int32)])
        chinese = [_CHINESE.fullmatch(word) is not None for word in words]
        self.chinese = np.concatenate([self.chinese, np.array(chinese, bool)])


def _chinese_runs(
    chinese: np.ndarray, words: Sequence[bytes], places: np.ndarray, words_before: np.ndarray
) -> Iterator[range]:
    """Runs of two or more Chinese characters that stand next to each other in one sentence.

    The normalizer has put a space on each side of each, so that neighbours are two spaces apart.
    """
    alone = np.flatnonzero(chinese)
    if not len(alone):
        return
    sizes = np.fromiter((len(words[i]) for i in alone), np.int64, len(alone))
    follows = (np.diff(alone) == 1) & (np.diff(places[alone]) == sizes[:-1] + 2)
    line = np.searchsorted(words_before, alone, side="right")
    follows &= np.diff(line) == 0
    cuts = np.flatnonzero(~follows) + 1
    for run in np.split(alone, cuts):
        if len(run) > 1:
            yield range(int(run[0]), int(run[-1]) + 1)


def cutter(segmenter: str) -> Callable[[str], Iterable[str]] | None:
    """What cuts Chinese text into words. Raises DataError where jieba is not installed."""
    if segmenter == "none":
        return None
    try:
        import jieba
    except ImportError:
        raise DataError(
            "--segmenter jieba needs the jieba package, which is not installed: pip install jieba"
        ) from None
    jieba.setLogLevel("ERROR")
    return jieba.Tokenizer().cut


def _slices(sentences: Sequence[str]) -> Iterator[Sequence[str]]:
    begin = size = 0
    for i, sentence in enumerate(sentences):
        size += len(sentence)
        if size >= _SLICE_CHARS:
            yield sentences[begin : i + 1]
            begin, size = i + 1, 0
    if begin < len(sentences):
        yield sentences[begin:]
