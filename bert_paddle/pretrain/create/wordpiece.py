"""Tokenize many sentences at once into word pieces, and mark where words begin.

The `tokenizers` library (in Rust) returns one Python object per text, which costs more than all
other work on pre-training rows. Here it tokenizes each distinct word once, and everything else
operates on the bytes of many sentences together:

    sentences      "Café, open" and "Open it"
    normalized     cafe ,  open\\nopen it            character by character, from a lookup table
    words          cafe | , | open | open | it
    word indices     17 | 4 |    9 |    9 | 31     -> word pieces of each word -> one array of ids

The ids equal those of Tokenizer.tokenize_to_ids except for special tokens in running text: "[MASK]"
or "[SEP]" is an ordinary word in brackets here. Added tokens: see `added_token_encoder`. Does not
import paddle.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.create.segmenter import load_segmenter
from bert_paddle.pretrain.create.unknown_words import MAX_WORD_CHARS, UnknownWords

_MAX_CACHED_WORDS = 1_000_000  # the cache is cleared when it has more distinct words
_SLICE_CHARS = 400_000  # processed at once: a few MB of arrays, which fit in the CPU cache
_NEWLINE, _SPACE = 10, 32
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")


@dataclass
class EncodedSentences:
    """Word pieces of n sentences, concatenated.

    ids: int32 [m]. offsets: int64 [n + 1]; sentence i is ids[offsets[i] : offsets[i + 1]], possibly
    empty. starts: bool [m], whether a word piece begins a word (for whole-word masking).
    """

    ids: np.ndarray
    offsets: np.ndarray
    starts: np.ndarray


class WordPieceEncoder:
    """Tokenizes sentences into the word pieces of `tokenizer`; caches those of each word.

    unknown: the unknown words of all sentences since `reset_unknown`.
    """

    def __init__(self, tokenizer: Tokenizer, segmenter: str = "none"):
        """segmenter: with "jieba", `starts` marks Chinese words rather than characters; the ids do
        not change."""
        self._char_table = _CharTable(tokenizer._rust)
        self._cache = _WordCache(tokenizer)
        self._segment = load_segmenter(segmenter)
        self.unk_id = tokenizer.unk_id
        self.reset_unknown()

    def reset_unknown(self) -> None:
        """Begin to collect unknown words anew."""
        self.unknown = UnknownWords()

    def encode(self, sentences: Sequence[str]) -> EncodedSentences:
        """The word pieces of each sentence, in order."""
        parts = [self._encode(part) for part in _split_by_chars(sentences)]
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return EncodedSentences(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, bool))
        sizes = [np.diff(part.offsets) for part in parts]
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
        ids = np.concatenate([part.ids for part in parts])
        return EncodedSentences(ids, offsets, np.concatenate([part.starts for part in parts]))

    def _encode(self, sentences: Sequence[str]) -> EncodedSentences:
        """encode() for sentences of about _SLICE_CHARS characters."""
        text, word_positions, words_before = self._normalize(sentences)
        words = text.split()
        indices = self._cache.lookup(words)
        self._count_unknown(indices)
        lengths, first = self._cache.lengths[indices], self._cache.first[indices]
        ends = np.cumsum(lengths)
        begins = ends - lengths
        total = int(ends[-1]) if len(ends) else 0
        starts = np.zeros(total, bool)
        starts[begins] = True
        if self._segment is not None:
            is_chinese = self._cache.chinese[indices]
            for run in _chinese_runs(is_chinese, words, word_positions, words_before):
                joined = b"".join(words[run.start : run.stop]).decode()
                # For each character of the run: whether it continues a word.
                is_inside = [k > 0 for word in self._segment(joined) for k in range(len(word))]
                starts[begins[run.start : run.stop][is_inside]] = False
        # Concatenates the ranges first[i] to first[i] + lengths[i] - 1 of all words.
        indices_of_pieces = np.repeat(first - begins, lengths) + np.arange(total)
        return EncodedSentences(
            self._cache.pieces[indices_of_pieces], np.append(begins, total)[words_before], starts
        )

    def _count_unknown(self, indices: np.ndarray) -> None:
        """Count the unknown ones of the cache's words with these indices."""
        unknown = indices[self._cache.is_unknown[indices]]
        for index, count in zip(*np.unique(unknown, return_counts=True), strict=True):
            self.unknown.add(self._cache.unknown_words[int(index)], int(count))

    def _normalize(self, sentences: Sequence[str]) -> tuple[bytes, np.ndarray, np.ndarray]:
        """Returns the normalized sentences, one per line, with spaces around punctuation; int64
        [words], each word's byte offset in that text; int64 [n + 1], the number of words before
        each line, then of all words."""
        table = self._char_table
        text = "\n".join([s if s.isascii() else s.translate(table) for s in sentences])
        if text.count("\n") != len(sentences) - 1:  # a sentence contains a newline
            return self._normalize([s.replace("\n", " ") for s in sentences])
        raw = text.encode().translate(table.ascii, table.dropped)
        codes = np.frombuffer(raw, np.uint8)
        punctuation = np.flatnonzero(table.punctuation[codes])
        # The k-th punctuation character moves from i to i + 2k + 1, with a space on each side.
        moved = punctuation + 2 * np.arange(len(punctuation)) + 1
        out = np.full(len(codes) + 2 * len(punctuation), _SPACE, np.uint8)
        is_copied = np.ones(len(out), bool)
        is_copied[moved - 1] = is_copied[moved + 1] = False
        out[is_copied] = codes
        is_space = out <= _SPACE
        word_positions = np.flatnonzero(~is_space & np.concatenate([[True], is_space[:-1]]))
        line_ends = np.append(np.flatnonzero(out == _NEWLINE), len(out))
        words_before = np.append(0, np.searchsorted(word_positions, line_ends))
        return out.tobytes(), word_positions, words_before


class _CharTable(dict):
    """A table for str.translate, filled on demand: each non-ASCII character as normalized by the
    library, with spaces around punctuation and Chinese characters.

    ASCII characters are mapped to themselves; bytes.translate(ascii, dropped) normalizes them
    faster. punctuation: bool [256], whether a byte is ASCII punctuation.
    """

    def __init__(self, rust: Any):
        """rust: the Tokenizer of the `tokenizers` library."""
        super().__init__((code, chr(code)) for code in range(128))
        self._rust = rust
        table, dropped = bytearray(range(256)), bytearray()
        self.punctuation = np.zeros(256, bool)
        for code in range(128):
            normalized = self._normalize_char(chr(code))
            if not normalized:
                dropped.append(code)
            elif code != _NEWLINE:
                table[code] = ord(normalized.strip() or " ")
                self.punctuation[table[code]] |= len(normalized) == 3  # with a space on each side
        self.ascii, self.dropped = bytes(table), bytes(dropped)

    def __missing__(self, code: int) -> str:
        normalized = self[code] = self._normalize_char(chr(code))
        return normalized

    def _normalize_char(self, char: str) -> str:
        """The normalized character, with a space on each side where the library splits words.

        The letters around it make those splits visible; [1:-1] removes the letters again.
        """
        normalized = self._rust.normalizer.normalize_str(char)
        parts = self._rust.pre_tokenizer.pre_tokenize_str(f"a{normalized}a")
        return " ".join(part for part, _ in parts)[1:-1]


class _WordIndex(dict):
    """Maps words to indices in order of first use. new_words: those not tokenized yet."""

    def __init__(self) -> None:
        self.new_words: list[bytes] = []

    def __missing__(self, word: bytes) -> int:
        index = self[word] = len(self)
        self.new_words.append(word)
        return index


class _WordCache:
    """The word pieces of all words seen: word k has pieces[first[k] : first[k] + lengths[k]].

    chinese: bool [words], whether a word is a single Chinese character. is_unknown: bool [words],
    whether it is [UNK]; unknown_words: the text of these, by index.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._model = tokenizer._rust.model
        self._vocab = {piece: i for i, piece in enumerate(tokenizer.vocab[: tokenizer.base_size])}
        self._unk_id = tokenizer.unk_id
        self._clear()

    def _clear(self) -> None:
        self._index = _WordIndex()
        self.pieces: np.ndarray = np.zeros(0, np.int32)
        self.first: np.ndarray = np.zeros(0, np.int64)
        self.lengths = self.first
        self.chinese = self.is_unknown = np.zeros(0, bool)
        self.unknown_words: dict[int, str] = {}

    def lookup(self, words: Sequence[bytes]) -> np.ndarray:
        """int64: the index of each word; valid until the next call, which may clear the cache."""
        if len(self._index) > _MAX_CACHED_WORDS:
            self._clear()
        indices = np.fromiter(map(self._index.__getitem__, words), np.int64, len(words))
        if self._index.new_words:
            self._add([word.decode() for word in self._index.new_words])
            self._index.new_words.clear()
        return indices

    def _add(self, words: Sequence[str]) -> None:
        """Tokenize words and append them to the arrays."""
        pieces: list[int] = []
        lengths: list[int] = []
        is_unknown: list[bool] = []
        for index, word in enumerate(words, len(self.lengths)):
            before = len(pieces)
            # A word of the vocabulary is its own word piece: no call of the library is needed.
            word_id = self._vocab.get(word) if len(word) <= MAX_WORD_CHARS else None
            if word_id is None:
                pieces += [token.id for token in self._model.tokenize(word)]
            else:
                pieces.append(word_id)
            lengths.append(len(pieces) - before)
            is_unknown.append(self._unk_id in pieces[before:])
            if is_unknown[-1]:
                self.unknown_words[index] = word
        sizes = np.array(lengths, np.int64)
        first = len(self.pieces) + np.cumsum(sizes) - sizes
        self.first = np.concatenate([self.first, first])
        self.lengths = np.concatenate([self.lengths, sizes])
        self.pieces = np.concatenate([self.pieces, np.array(pieces, np.int32)])
        chinese = [_CHINESE.fullmatch(word) is not None for word in words]
        self.chinese = np.concatenate([self.chinese, np.array(chinese, bool)])
        self.is_unknown = np.concatenate([self.is_unknown, np.array(is_unknown, bool)])


def _chinese_runs(
    is_chinese: np.ndarray,
    words: Sequence[bytes],
    word_positions: np.ndarray,
    words_before: np.ndarray,
) -> Iterator[range]:
    """Yield the index range of each run of two or more adjacent Chinese characters in one sentence.

    The normalizer puts a space on each side of a Chinese character: two that were adjacent are two
    spaces apart.
    """
    chinese = np.flatnonzero(is_chinese)
    if not len(chinese):
        return
    sizes = np.fromiter((len(words[i]) for i in chinese), np.int64, len(chinese))
    is_adjacent = (np.diff(chinese) == 1) & (np.diff(word_positions[chinese]) == sizes[:-1] + 2)
    line = np.searchsorted(words_before, chinese, side="right")
    is_adjacent &= np.diff(line) == 0
    run_starts = np.flatnonzero(~is_adjacent) + 1
    for run in np.split(chinese, run_starts):
        if len(run) > 1:
            yield range(int(run[0]), int(run[-1]) + 1)


def _split_by_chars(sentences: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield consecutive slices of at least _SLICE_CHARS characters; the last may be shorter."""
    start = size = 0
    for i, sentence in enumerate(sentences):
        size += len(sentence)
        if size >= _SLICE_CHARS:
            yield sentences[start : i + 1]
            start, size = i + 1, 0
    if start < len(sentences):
        yield sentences[start:]
