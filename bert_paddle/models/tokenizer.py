"""BERT's word pieces: a vocabulary from any kind of model folder, encoding of one or two texts.

The splitting is done by the Rust `tokenizers` library; truncation and the [CLS] A [SEP] B [SEP]
layout are done here, since BERT's rule for a pair and the library's differ by a token.

    [CLS] the cat sat [SEP] it did [SEP]
      0    0   0   0    0    1  1    1      segment_ids
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCAB_FILE, SETTINGS_FILE, RUST_FILE = "vocab.txt", "tokenizer_config.json", "tokenizer.json"
# What a BERT tokenizer is told, in tokenizer_config.json and in tokenizer.json's normalizer.
_SWITCHES = (
    ("do_lower_case", "lowercase"),
    ("strip_accents", "strip_accents"),
    ("tokenize_chinese_chars", "handle_chinese_chars"),
)
_CHUNK = 20_000  # texts per call of the library, which holds a call's results in memory


@dataclass
class Encoded:
    """Encoded rows: lists of word-piece ids with [CLS] and [SEP], and where segment B begins.

    input_ids: one int32 array per row. second: int32 [n], index of the first position of segment
    B, equal to the row's length where there is none. cut: rows that were truncated.
    """

    input_ids: list[np.ndarray]
    second: np.ndarray
    cut: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> np.ndarray:
        """int32 [n], word pieces per row."""
        return np.fromiter((len(ids) for ids in self.input_ids), np.int32, len(self.input_ids))


class Tokenizer:
    """A BERT vocabulary with its settings."""

    def __init__(
        self, vocab: Sequence[str], do_lower_case: bool = True, settings: dict | None = None
    ):
        """vocab: word pieces in the order of their ids; `settings`: as in tokenizer_config.json
        (strip_accents, tokenize_chinese_chars). Raises WeightsError for a vocabulary with
        duplicates or without BERT's special tokens."""
        settings = settings or {}
        self.vocab = list(vocab)
        self.do_lower_case = do_lower_case
        self.strip_accents = settings.get("strip_accents")
        self.tokenize_chinese_chars = bool(settings.get("tokenize_chinese_chars", True))
        ids = {piece: i for i, piece in enumerate(self.vocab)}
        _check(self.vocab, ids)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (ids[t] for t in SPECIAL)
        self._rust = self._build(ids)

    def __len__(self) -> int:
        return len(self.vocab)

    def _build(self, ids: dict[str, int]) -> Any:
        from tokenizers import Tokenizer as RustTokenizer
        from tokenizers import models, normalizers, pre_tokenizers

        rust = RustTokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
        rust.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=self.tokenize_chinese_chars,
            strip_accents=self.strip_accents,
            lowercase=self.do_lower_case,
        )
        rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        rust.add_special_tokens(list(SPECIAL))
        return rust

    def pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The word-piece ids of each text, without [CLS] and [SEP]."""
        # No step of BERT's tokenization looks beyond a blank, and few words make up most of a
        # corpus: each is made into pieces once.
        words = list(dict.fromkeys(word for text in texts for word in text.split(" ")))
        known: dict[str, list[int]] = {}
        for start in range(0, len(words), _CHUNK):
            chunk = words[start : start + _CHUNK]
            encodings = self._rust.encode_batch_fast(chunk, add_special_tokens=False)
            known.update((word, one.ids) for word, one in zip(chunk, encodings, strict=True))
        look_up = known.__getitem__
        return [list(chain.from_iterable(map(look_up, text.split(" ")))) for text in texts]

    def encode(
        self, texts_a: Sequence[str], texts_b: Sequence[str] | None, max_seq_length: int
    ) -> Encoded:
        """[CLS] A [SEP] or [CLS] A [SEP] B [SEP], at most `max_seq_length` word pieces a row."""
        first = self.pieces(texts_a)
        if texts_b is None:
            rows = [
                np.array([self.cls_id, *a[: max_seq_length - 2], self.sep_id], np.int32)
                for a in first
            ]
            cut = sum(len(a) > max_seq_length - 2 for a in first)
            return Encoded(rows, np.array([len(r) for r in rows], np.int32), cut)
        rows, second, cut = [], np.zeros(len(first), np.int32), 0
        for i, (a, b) in enumerate(zip(first, self.pieces(texts_b), strict=True)):
            keep_a, keep_b = keep_of_pair(len(a), len(b), max_seq_length - 3)
            cut += keep_a < len(a) or keep_b < len(b)
            rows.append(
                np.array(
                    [self.cls_id, *a[:keep_a], self.sep_id, *b[:keep_b], self.sep_id], np.int32
                )
            )
            second[i] = keep_a + 2
        return Encoded(rows, second, cut)

    def save(self, folder: Path) -> None:
        """Write vocab.txt and tokenizer_config.json, which PaddleNLP and transformers read."""
        text = "".join(piece + "\n" for piece in self.vocab)
        (folder / VOCAB_FILE).write_text(text, encoding="utf-8", newline="\n")
        settings = {
            "do_lower_case": self.do_lower_case,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.tokenize_chinese_chars,
            "tokenizer_class": "BertTokenizer",
            "unk_token": "[UNK]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "mask_token": "[MASK]",
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def save_rust(self, folder: Path) -> None:
        """Write tokenizer.json, which any program with the tokenizers library reads; it adds
        [CLS] and [SEP] itself."""
        from tokenizers import decoders, processors

        rust = self._build({piece: i for i, piece in enumerate(self.vocab)})
        rust.post_processor = processors.BertProcessing(
            ("[SEP]", self.sep_id), ("[CLS]", self.cls_id)
        )
        rust.decoder = decoders.WordPiece(prefix="##")
        (folder / RUST_FILE).write_text(rust.to_str(pretty=True), encoding="utf-8")


def keep_of_pair(a: int, b: int, room: int) -> tuple[int, int]:
    """How many pieces of texts with a and b pieces are kept when `room` are allowed.

    The longer text loses its last piece until both fit; of two equal ones the second does, as in
    google-research/bert's `_truncate_seq_pair`. Said without the loop: the shorter text is kept
    whole if it takes at most half the room, else both get half and the odd one goes to the first.
    """
    if a + b <= room:
        return a, b
    half = room // 2
    if min(a, b) <= half:
        return (a, room - a) if a < b else (room - b, b)
    return room - half, half


def holds_vocabulary(folder: Path) -> bool:
    """Whether a folder has a file that `load` finds a vocabulary in."""
    return (folder / VOCAB_FILE).is_file() or (folder / "tokenizer.json").is_file()


def load(folder: Path, vocab_file: str | None = None) -> Tokenizer:
    """The tokenizer of a model folder: vocab.txt, or the vocabulary inside tokenizer.json.

    vocab_file: a vocabulary to use in its place. Case and accents follow tokenizer_config.json,
    else tokenizer.json, else BERT's uncased rules unless the vocabulary has capital letters.
    Raises WeightsError when there is no usable vocabulary.
    """
    settings = _json(folder / SETTINGS_FILE)
    rust = _json(folder / "tokenizer.json")
    path = Path(vocab_file) if vocab_file else folder / VOCAB_FILE
    if path.is_file():
        vocab = read_vocab(path)
    elif rust:
        path = folder / "tokenizer.json"
        vocab = _vocab_of_rust(path, rust)
    else:
        raise WeightsError(
            f"{folder} has no vocab.txt (nor tokenizer.json): add the model's vocabulary there or "
            "give --vocab_file"
        )
    rules = rust.get("normalizer")
    for ours, theirs in _SWITCHES:
        if ours not in settings and isinstance(rules, dict) and rules.get(theirs) is not None:
            settings[ours] = rules[theirs]
        if not isinstance(settings.get(ours), bool | None):
            raise WeightsError(
                f"{folder}: {ours} is {str(settings[ours])[:40]!r} in {SETTINGS_FILE} or "
                "tokenizer.json, but has to be true or false"
            )
    lower = settings.get("do_lower_case")
    if lower is None:
        lower = not any(piece != piece.lower() for piece in vocab if piece not in SPECIAL)
    try:
        return Tokenizer(vocab, bool(lower), settings)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def read_vocab(path: Path) -> list[str]:
    """The word pieces of a vocab.txt, one a line. Raises WeightsError for a malformed one."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise WeightsError(
            f"{path} is not UTF-8 (byte {error.start}): not a BERT vocabulary"
        ) from None
    # Only \n ends a line: some vocabularies hold pieces such as U+2028, which splitlines would cut.
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _vocab_of_rust(path: Path, content: dict) -> list[str]:
    model = content.get("model")
    model = model if isinstance(model, dict) else {}
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or model.get("type", "WordPiece") != "WordPiece":
        raise WeightsError(f"{path} is not a WordPiece tokenizer: BERT's vocab.txt is needed")
    whole = all(type(number) is int for number in vocab.values())
    if not whole or sorted(vocab.values()) != list(range(len(vocab))):
        raise WeightsError(f"{path}: the ids of its vocabulary are not 0 to {len(vocab) - 1}")
    return sorted(vocab, key=lambda piece: vocab[piece])


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} does not hold a JSON object")
    return content


def _check(vocab: list[str], ids: dict[str, int]) -> None:
    missing = [token for token in SPECIAL if token not in ids]
    if missing:
        raise WeightsError(
            f"the vocabulary ({len(vocab)} pieces) lacks {', '.join(missing)}: not BERT's, give "
            "the right one with --vocab_file"
        )
    if len(ids) != len(vocab):
        seen: set[str] = set()
        for line, piece in enumerate(vocab, 1):
            if piece in seen:
                raise WeightsError(
                    f"the vocabulary has {piece[:40]!r} twice, again in line {line}: ids would be "
                    "ambiguous, so give the model's own file"
                )
            seen.add(piece)
    for number, piece in enumerate(vocab):
        # Neither would come back from vocab.txt: a model would be saved with shifted ids.
        if "\n" in piece or piece.endswith("\r") or not _is_text(piece):
            raise WeightsError(
                f"the vocabulary's piece {number}, {piece[:40]!r}, has a line end or half a "
                "character, which no vocab.txt can hold: give the model's own file"
            )


def _is_text(piece: str) -> bool:
    """False for a lone surrogate, which JSON can spell and UTF-8 cannot."""
    try:
        piece.encode()
    except UnicodeEncodeError:
        return False
    return True
