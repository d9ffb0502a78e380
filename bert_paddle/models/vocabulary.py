"""Reads a BERT vocabulary: the word pieces of a vocab.txt or of a tokenizer.json, by their ids."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import read_files
from bert_paddle.common.errors import WeightsError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCAB_FILE, TOKENIZER_JSON_FILE = "vocab.txt", "tokenizer.json"
# The share of [UNK] in a text from which programs warn: BERT's own vocabularies leave well below
# 1 % of a text in their language unknown.
UNKNOWN_WARNING_SHARE = 0.03
_BOM = "\ufeff"
# How a serialized model begins: field 1 (a piece) and its size, then field 1 of that piece.
_SENTENCEPIECE = re.compile(rb"\n[^\n -~]\n")
_COUNTED_PIECE = re.compile(r"\S+[\t ]-?\d+(\.\d+)?(e-?\d+)?")


def read_vocab(path: Path) -> list[str]:
    """The tokens of a vocab.txt, one per line; a byte order mark and blank lines at the end are not
    part of it. Raises WeightsError for an unreadable file, and for one in another format."""
    read_files.check_size(path, "VOCABULARY_BYTES", WeightsError)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    if _SENTENCEPIECE.match(data):
        raise WeightsError(
            f"{path} is a sentencepiece model, not a BERT vocabulary: BERT needs the vocab.txt of "
            "a WordPiece tokenizer"
        )
    try:
        text = data.decode("utf-8").removeprefix(_BOM)
    except UnicodeDecodeError as error:
        raise WeightsError(
            f"{path} is not UTF-8 (byte {error.start}): not a BERT vocabulary"
        ) from None
    # Not splitlines(): some vocabularies have tokens such as U+2028, where it would split.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and lines[-1] == "":
        lines.pop()
    if problem := _other_format(text, lines):
        raise WeightsError(f"{path} {problem}")
    return lines


def _other_format(text: str, lines: Sequence[str]) -> str | None:
    """What a text is that is not a list of word pieces; None if it may be one."""
    if text.lstrip()[:1] == "{" and not set(SPECIAL_TOKENS) <= set(lines):
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return None
        return (
            "is JSON, not one word piece per line: if it is a tokenizer.json, give it that name "
            "in the model's folder"
        )
    counted = sum(_COUNTED_PIECE.fullmatch(line) is not None for line in lines)
    if len(lines) > 1 and counted >= 0.9 * len(lines):
        return (
            f"has a number after each piece ({lines[0][:40]!r}): this is a sentencepiece .vocab or "
            "a list of counts; a BERT vocabulary has one word piece per line and nothing else"
        )
    return None


def extract_vocab(path: Path, content: Mapping[str, Any]) -> list[str]:
    """The tokens of a tokenizer.json's model, in the order of their ids. path: for messages. Raises
    WeightsError if it is no WordPiece model, or its ids are not 0, 1, 2, ..."""
    model = content.get("model")
    model = model if isinstance(model, dict) else {}
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or model.get("type", "WordPiece") != "WordPiece":
        raise WeightsError(f"{path} is not a WordPiece tokenizer: BERT's vocab.txt is needed")
    integers = all(type(number) is int for number in vocab.values())  # True and False are not
    if not integers or sorted(vocab.values()) != list(range(len(vocab))):
        raise WeightsError(f"{path}: the ids of its vocabulary are not 0 to {len(vocab) - 1}")
    return sorted(vocab, key=lambda token: vocab[token])


def check_vocabulary(vocab: Sequence[str], ids: Mapping[str, int]) -> None:
    """Raise WeightsError for a vocabulary without BERT's special tokens, with duplicates, or that
    vocab.txt cannot store. ids: the index of each token."""
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
        if "\n" in token or token.endswith("\r") or not is_encodable(token):
            raise WeightsError(
                f"the vocabulary's token {number}, {token[:40]!r}, has a line break or a lone "
                "surrogate, which vocab.txt cannot store: give the model's own file"
            )
    if vocab[0].startswith(_BOM) or vocab[-1] == "":
        raise WeightsError(
            "the vocabulary begins with a byte order mark or ends with an empty token, which "
            "vocab.txt cannot store: give the model's own file"
        )


def is_encodable(token: str) -> bool:
    """False for a lone surrogate, which JSON can represent and UTF-8 cannot."""
    try:
        token.encode()
    except UnicodeEncodeError:
        return False
    return True
