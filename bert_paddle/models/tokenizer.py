"""BERT's WordPiece tokenizer: loads a model folder's vocabulary, encodes one or two texts.

The Rust `tokenizers` library splits texts; truncation and the [CLS] A [SEP] B [SEP] layout are done
here, since the library may truncate a pair one token differently from BERT's original code.

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

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCAB_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_JSON_FILE = (
    "vocab.txt",
    "tokenizer_config.json",
    "tokenizer.json",
)
# A BERT tokenizer's settings in tokenizer_config.json and in tokenizer.json's normalizer.
_NORMALIZER_SETTINGS = (
    ("do_lower_case", "lowercase"),
    ("strip_accents", "strip_accents"),
    ("tokenize_chinese_chars", "handle_chinese_chars"),
)
_CHUNK = 20_000  # texts per call of the library, which returns all results of a call at once


@dataclass
class EncodedTexts:
    """Encoded texts or pairs of texts, one per row.

    input_ids: one int32 array per row, with [CLS] and [SEP]. segment_b_start: int32 [n], the index
    of segment B's first token; the row's length if there is no segment B. truncated: the number of
    rows that were truncated.
    """

    input_ids: list[np.ndarray]
    segment_b_start: np.ndarray
    truncated: int = 0

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens in each row, int32 [n]."""
        return np.fromiter((len(ids) for ids in self.input_ids), np.int32, len(self.input_ids))


class Tokenizer:
    """A WordPiece tokenizer with a BERT vocabulary."""

    def __init__(
        self, vocab: Sequence[str], do_lower_case: bool = True, settings: dict | None = None
    ):
        """vocab: tokens in the order of their ids. settings: strip_accents and
        tokenize_chinese_chars as in tokenizer_config.json. Raises WeightsError for a vocabulary
        with duplicates or without BERT's special tokens."""
        settings = settings or {}
        self.vocab = list(vocab)
        self.do_lower_case = do_lower_case
        self.strip_accents = settings.get("strip_accents")
        self.tokenize_chinese_chars = bool(settings.get("tokenize_chinese_chars", True))
        ids = {token: i for i, token in enumerate(self.vocab)}
        _check_vocabulary(self.vocab, ids)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            ids[t] for t in SPECIAL_TOKENS
        )
        self._rust = self._build_rust_tokenizer(ids)

    def __len__(self) -> int:
        return len(self.vocab)

    def _build_rust_tokenizer(self, ids: dict[str, int]) -> Any:
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
        rust.add_special_tokens(list(SPECIAL_TOKENS))
        return rust

    def tokenize_to_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, without [CLS] and [SEP]."""
        # Text between two spaces is tokenized independently of its neighbours, and a corpus repeats
        # its words: each distinct word is tokenized once.
        words = list(dict.fromkeys(word for text in texts for word in text.split(" ")))
        ids_of: dict[str, list[int]] = {}
        for start in range(0, len(words), _CHUNK):
            chunk = words[start : start + _CHUNK]
            encodings = self._rust.encode_batch_fast(chunk, add_special_tokens=False)
            ids_of.update((word, e.ids) for word, e in zip(chunk, encodings, strict=True))
        look_up = ids_of.__getitem__
        return [list(chain.from_iterable(map(look_up, text.split(" ")))) for text in texts]

    def encode(
        self, texts_a: Sequence[str], texts_b: Sequence[str] | None, max_seq_length: int
    ) -> EncodedTexts:
        """Encode texts as [CLS] A [SEP], or pairs of texts as [CLS] A [SEP] B [SEP], truncated to
        `max_seq_length` tokens per row."""
        first = self.tokenize_to_ids(texts_a)
        if texts_b is None:
            rows = [
                np.array([self.cls_id, *a[: max_seq_length - 2], self.sep_id], np.int32)
                for a in first
            ]
            truncated = sum(len(a) > max_seq_length - 2 for a in first)
            return EncodedTexts(rows, np.array([len(r) for r in rows], np.int32), truncated)
        rows, segment_b_start, truncated = [], np.zeros(len(first), np.int32), 0
        for i, (a, b) in enumerate(zip(first, self.tokenize_to_ids(texts_b), strict=True)):
            keep_a, keep_b = truncate_pair_lengths(len(a), len(b), max_seq_length - 3)
            truncated += keep_a < len(a) or keep_b < len(b)
            rows.append(
                np.array(
                    [self.cls_id, *a[:keep_a], self.sep_id, *b[:keep_b], self.sep_id], np.int32
                )
            )
            segment_b_start[i] = keep_a + 2
        return EncodedTexts(rows, segment_b_start, truncated)

    def save(self, folder: Path) -> None:
        """Write vocab.txt and tokenizer_config.json, which PaddleNLP and transformers read."""
        text = "".join(token + "\n" for token in self.vocab)
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
        (folder / TOKENIZER_CONFIG_FILE).write_text(
            json.dumps(settings, indent=2) + "\n", encoding="utf-8"
        )

    def save_tokenizer_json(self, folder: Path) -> None:
        """Write tokenizer.json for the tokenizers library, which then adds [CLS] and [SEP]."""
        from tokenizers import decoders, processors

        rust = self._build_rust_tokenizer({token: i for i, token in enumerate(self.vocab)})
        rust.post_processor = processors.BertProcessing(
            ("[SEP]", self.sep_id), ("[CLS]", self.cls_id)
        )
        rust.decoder = decoders.WordPiece(prefix="##")
        (folder / TOKENIZER_JSON_FILE).write_text(rust.to_str(pretty=True), encoding="utf-8")


def truncate_pair_lengths(a: int, b: int, max_length: int) -> tuple[int, int]:
    """The lengths to which texts of `a` and `b` tokens are truncated: `max_length` at most in all.

    As in google-research/bert's `_truncate_seq_pair`, which removes the last token of the longer
    text (of the second one if they are equally long) until both fit. Without a loop: a text of at
    most half of `max_length` is kept; otherwise both get half, and the first one the odd token.
    """
    if a + b <= max_length:
        return a, b
    half = max_length // 2
    if min(a, b) <= half:
        return (a, max_length - a) if a < b else (max_length - b, b)
    return max_length - half, half


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder has a file from which `load_tokenizer` reads a vocabulary."""
    return (folder / VOCAB_FILE).is_file() or (folder / TOKENIZER_JSON_FILE).is_file()


def load_tokenizer(folder: Path, vocab_file: str | None = None) -> Tokenizer:
    """The tokenizer of a model folder: vocab.txt, or the vocabulary inside tokenizer.json.

    vocab_file: a vocabulary to use instead. Lowercasing and accent stripping follow
    tokenizer_config.json, else tokenizer.json, else whether the vocabulary has capital letters.
    Raises WeightsError when there is no usable vocabulary.
    """
    settings = _read_json(folder / TOKENIZER_CONFIG_FILE)
    tokenizer_json = _read_json(folder / TOKENIZER_JSON_FILE)
    path = Path(vocab_file) if vocab_file else folder / VOCAB_FILE
    if path.is_file():
        vocab = read_vocab(path)
    elif tokenizer_json:
        path = folder / TOKENIZER_JSON_FILE
        vocab = _extract_vocab(path, tokenizer_json)
    else:
        raise WeightsError(
            f"{folder} has no vocab.txt (nor tokenizer.json): add the model's vocabulary there or "
            "give --vocab_file"
        )
    normalizer = tokenizer_json.get("normalizer")
    for name, normalizer_name in _NORMALIZER_SETTINGS:
        if name not in settings and isinstance(normalizer, dict):
            if normalizer.get(normalizer_name) is not None:
                settings[name] = normalizer[normalizer_name]
        if not isinstance(settings.get(name), bool | None):
            raise WeightsError(
                f"{folder}: {name} is {str(settings[name])[:40]!r} in {TOKENIZER_CONFIG_FILE} or "
                "tokenizer.json, but must be true or false"
            )
    lower = settings.get("do_lower_case")
    if lower is None:
        lower = not any(token != token.lower() for token in vocab if token not in SPECIAL_TOKENS)
    try:
        return Tokenizer(vocab, bool(lower), settings)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def read_vocab(path: Path) -> list[str]:
    """The tokens of a vocab.txt, one per line. Raises WeightsError for an unreadable file."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise WeightsError(
            f"{path} is not UTF-8 (byte {error.start}): not a BERT vocabulary"
        ) from None
    # Not splitlines(): some vocabularies have tokens such as U+2028, where it would split.
    lines = text.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _extract_vocab(path: Path, content: dict) -> list[str]:
    """The tokens in a tokenizer.json's content, in the order of their ids."""
    model = content.get("model")
    model = model if isinstance(model, dict) else {}
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or model.get("type", "WordPiece") != "WordPiece":
        raise WeightsError(f"{path} is not a WordPiece tokenizer: BERT's vocab.txt is needed")
    integers = all(type(number) is int for number in vocab.values())  # True and False are not
    if not integers or sorted(vocab.values()) != list(range(len(vocab))):
        raise WeightsError(f"{path}: the ids of its vocabulary are not 0 to {len(vocab) - 1}")
    return sorted(vocab, key=lambda token: vocab[token])


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a JSON object")
    return content


def _check_vocabulary(vocab: list[str], ids: dict[str, int]) -> None:
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing:
        raise WeightsError(
            f"the vocabulary ({len(vocab)} tokens) lacks {', '.join(missing)}: it is not "
            "a BERT vocabulary; give the right one with --vocab_file"
        )
    if len(ids) != len(vocab):
        seen: set[str] = set()
        for line, token in enumerate(vocab, 1):
            if token in seen:
                raise WeightsError(
                    f"the vocabulary has {token[:40]!r} twice, again in line {line}: its id is "
                    "ambiguous; give the model's own file"
                )
            seen.add(token)
    for number, token in enumerate(vocab):
        # Neither can be read back from vocab.txt: a saved model would have shifted ids.
        if "\n" in token or token.endswith("\r") or not _is_encodable(token):
            raise WeightsError(
                f"the vocabulary's token {number}, {token[:40]!r}, has a line break or a lone "
                "surrogate, which vocab.txt cannot store: give the model's own file"
            )


def _is_encodable(token: str) -> bool:
    """False for a lone surrogate, which JSON can represent and UTF-8 cannot."""
    try:
        token.encode()
    except UnicodeEncodeError:
        return False
    return True
