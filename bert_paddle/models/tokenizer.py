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
from bert_paddle.models import casing
from bert_paddle.models.added_tokens import AddedToken, read_added_tokens
from bert_paddle.models.casing import Casing
from bert_paddle.models.tokenizer_files import (
    ADDED_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
    TokenizerFiles,
    has_settings,
    has_vocabulary,
    read_tokenizer_files,
)
from bert_paddle.models.vocabulary import (
    SPECIAL_TOKENS,
    TOKENIZER_JSON_FILE,
    VOCAB_FILE,
    check_vocabulary,
    extract_vocab,
    read_vocab,
)

# A BERT tokenizer's switches in tokenizer_config.json, and their names in tokenizer.json.
_NORMALIZER_SETTINGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
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
    """A WordPiece tokenizer with a BERT vocabulary.

    vocab: all tokens in the order of their ids, the word pieces before added tokens; the first
    `base_size` are word pieces. messages: how it was loaded, a line each, warnings last.
    """

    def __init__(
        self,
        vocab: Sequence[str],
        do_lower_case: bool = True,
        settings: dict | None = None,
        added_tokens: Sequence[AddedToken] = (),
    ):
        """vocab: word pieces in the order of their ids. settings: strip_accents and
        tokenize_chinese_chars as in tokenizer_config.json. added_tokens: in the order of their ids.
        Raises WeightsError for a vocabulary with duplicates or without BERT's special tokens."""
        settings = settings or {}
        self.base_size, self.added_tokens = len(vocab), tuple(added_tokens)
        self.vocab = [*vocab, *(t.content for t in added_tokens if t.id >= len(vocab))]
        self.do_lower_case = do_lower_case
        self.strip_accents = settings.get("strip_accents")
        self.tokenize_chinese_chars = bool(settings.get("tokenize_chinese_chars", True))
        self.messages: list[str] = []
        self.casing: Casing | None = None  # how do_lower_case was decided
        ids = {token: i for i, token in enumerate(vocab)}
        check_vocabulary(vocab, ids)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            ids[t] for t in SPECIAL_TOKENS
        )
        self._rust = self._build_rust_tokenizer(ids)
        self._splits_at_spaces = not any(
            " " in text
            for token in self.added_tokens
            for text in (token.content, self._rust.normalizer.normalize_str(token.content))
        )

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
        declared = {token.content for token in self.added_tokens}
        rust.add_special_tokens([token for token in SPECIAL_TOKENS if token not in declared])
        for token in self.added_tokens:  # in the order of ids, by which new ones are numbered
            add = rust.add_special_tokens if token.special else rust.add_tokens
            add([token.as_rust()])
            if rust.token_to_id(token.content) != token.id:
                raise WeightsError(
                    f"the added token {token.content[:40]!r} cannot have the id {token.id}"
                )
        return rust

    def tokenize_to_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, without [CLS] and [SEP]."""
        # Text between two spaces is tokenized independently of its neighbours, unless an added
        # token has a space. A corpus repeats its words: each distinct one is tokenized once.
        if not self._splits_at_spaces:
            encodings = self._rust.encode_batch_fast(list(texts), add_special_tokens=False)
            return [encoding.ids for encoding in encodings]
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
        """Write vocab.txt and tokenizer_config.json, which PaddleNLP and transformers read; added
        tokens also into added_tokens.json and, with their flags, tokenizer.json."""
        text = "".join(token + "\n" for token in self.vocab[: self.base_size])
        (folder / VOCAB_FILE).write_text(text, encoding="utf-8", newline="\n")
        settings: dict[str, Any] = {
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
        if self.added_tokens or (folder / ADDED_TOKENS_FILE).is_file():  # of an earlier tokenizer
            # Not as added_tokens_decoder: PaddleNLP would split its tokens nevertheless.
            settings["additional_special_tokens"] = [
                token.content
                for token in self.added_tokens
                if token.special and token.content not in SPECIAL_TOKENS
            ]
            new_ids = {t.content: t.id for t in self.added_tokens if t.id >= self.base_size}
            _write_json(folder / ADDED_TOKENS_FILE, new_ids)
            self.save_tokenizer_json(folder)
        _write_json(folder / TOKENIZER_CONFIG_FILE, settings)

    def save_tokenizer_json(self, folder: Path) -> None:
        """Write tokenizer.json for the tokenizers library, which then adds [CLS] and [SEP]."""
        from tokenizers import decoders, processors

        ids = {token: i for i, token in enumerate(self.vocab[: self.base_size])}
        rust = self._build_rust_tokenizer(ids)
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


def load_tokenizer(
    folder: Path, vocab_file: str | None = None, do_lower_case: bool | None = None
) -> Tokenizer:
    """The tokenizer of a model folder: vocab.txt, or the vocabulary inside tokenizer.json, and the
    settings and added tokens in the folder's other files.

    vocab_file: a vocabulary to use instead; settings beside it replace the folder's.
    do_lower_case: the flag's value; None: as in tokenizer_config.json, else tokenizer.json, else as
    the vocabulary suggests (see `casing`). Raises WeightsError when there is no usable vocabulary,
    and for a tokenizer that is not BERT's.
    """
    if not vocab_file and not has_vocabulary(folder):
        raise _no_vocabulary(folder)
    files = read_tokenizer_files(folder)
    path = Path(vocab_file) if vocab_file else folder / VOCAB_FILE
    if vocab_file and has_settings(path.parent):
        files = read_tokenizer_files(path.parent)
    if path.is_file():
        vocab = read_vocab(path)
    elif files.tokenizer_json:
        path = folder / TOKENIZER_JSON_FILE
        vocab = extract_vocab(path, files.tokenizer_json)
    else:
        raise _no_vocabulary(folder)
    declared = {
        name: files.declared(name, normalizer_name)
        for name, normalizer_name in _NORMALIZER_SETTINGS.items()
    }
    case = casing.decide_casing(do_lower_case, declared.pop("do_lower_case"), folder, vocab)
    settings = {name: values[0][0] for name, values in declared.items() if values}
    added_tokens = read_added_tokens(files, vocab)
    try:
        loaded = Tokenizer(vocab, case.lower, settings, added_tokens)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    loaded.casing = case
    loaded.messages = _describe(loaded, case, path, files)
    return loaded


def _no_vocabulary(folder: Path) -> WeightsError:
    return WeightsError(
        f"{folder} has no vocab.txt (nor tokenizer.json): add the model's vocabulary there or "
        "give --vocab_file"
    )


def _describe(tokenizer: Tokenizer, case: Casing, path: Path, files: TokenizerFiles) -> list[str]:
    """The lines that a program prints: what was decided and why, then warnings."""
    verb = "is lower-cased" if case.lower else "keeps its case"
    line = f"tokenizer: {path}: text {verb} ({case.reason})"
    if names := [token.content for token in tokenizer.added_tokens]:
        more = ", ..." if len(names) > 5 else ""
        line += f"; {len(names)} added or special token(s) kept whole: {', '.join(names[:5])}{more}"
    lines = [line]
    if case.warning:
        lines.append(f"warning: tokenizer: {path}: {case.warning}")
    if path.name == VOCAB_FILE and (token := files.token_with_another_id(tokenizer.vocab)):
        other = files.folder / TOKENIZER_JSON_FILE
        lines.append(
            f"warning: tokenizer: {path} is used, though {other} has another vocabulary "
            f"({token[:40]!r} is not in both, or has two ids)"
        )
    return lines


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
