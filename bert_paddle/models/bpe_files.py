"""Reads the files of GPT-2's byte-level BPE: vocab.json with merges.txt, or tokenizer.json.

A tokenizer of another kind, or one whose vocabulary could not represent every text, is refused by
name: texts would silently become other tokens.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.model_config import check_readable, read_json_object
from bert_paddle.models.tokenizer_files import (
    ADDED_TOKENS_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
    TokenizerFiles,
)
from bert_paddle.models.vocabulary import TOKENIZER_JSON_FILE, VOCAB_FILE, is_encodable

VOCAB_JSON_FILE, MERGES_FILE = "vocab.json", "merges.txt"
_CLASSES = ("GPT2Tokenizer", "GPTTokenizer", "PreTrainedTokenizer", "TokenizersBackend")
_VERSION_LINE = "#version"  # the first line of merges.txt
# Settings of tokenizer.json's sections that change the tokens, and the values that are GPT-2's.
_MODEL_SETTINGS: dict[str, tuple[Any, ...]] = {
    "type": (None, "BPE"),
    "dropout": (None, 0, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
    "ignore_merges": (None, False),
}


@dataclass(frozen=True)
class BpeFiles:
    """A folder's vocabulary. vocab: the tokens in the order of their ids, without added ones.
    merges: pairs of tokens, the first to merge first. files: the settings. path: for messages."""

    vocab: list[str]
    merges: list[tuple[str, str]]
    files: TokenizerFiles
    path: Path

    @property
    def add_prefix_space(self) -> bool:
        """Whether a blank is put before a text, so that its first word is as any other."""
        return bool(self.files.config.get("add_prefix_space", False))


def byte_characters() -> dict[int, str]:
    """{byte: the character that stands for it in vocab.json}: printable bytes stand for themselves,
    the others are shifted to where characters are printable (Radford et al. 2019)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in characters]
    return characters | {byte: chr(256 + i) for i, byte in enumerate(others)}


def has_bpe_files(folder: Path) -> bool:
    """Whether a folder has a file from which a BPE vocabulary is read."""
    return any((folder / name).is_file() for name in (VOCAB_JSON_FILE, TOKENIZER_JSON_FILE))


def read_bpe_files(folder: Path, vocab_file: str | None = None) -> BpeFiles:
    """The vocabulary of a folder, or of `vocab_file`: a tokenizer.json, or a vocab.json beside
    whose merges.txt is. Raises WeightsError if there is none, or it is not GPT-2's kind."""
    path = Path(vocab_file) if vocab_file else folder / VOCAB_JSON_FILE
    folder = path.parent
    if not vocab_file and not path.is_file():
        path = folder / TOKENIZER_JSON_FILE
    if not path.is_file():
        kind = " (its vocab.txt is BERT's)" if (folder / VOCAB_FILE).is_file() else ""
        raise WeightsError(
            f"{folder} has no vocab.json and merges.txt (nor tokenizer.json){kind}: add GPT-2's "
            "vocabulary there or give --vocab_file"
        )
    content = read_json_object(path)
    is_tokenizer_json = isinstance(content.get("model"), Mapping)
    # Beside a vocab.json, tokenizer.json says which tokens were added.
    beside = {} if is_tokenizer_json else _read_optional(folder / TOKENIZER_JSON_FILE)
    files = TokenizerFiles(
        folder,
        config=_read_optional(folder / TOKENIZER_CONFIG_FILE),
        tokenizer_json=content if is_tokenizer_json else beside,
        special_tokens=_read_optional(folder / SPECIAL_TOKENS_FILE),
        added_tokens=_read_optional(folder / ADDED_TOKENS_FILE),
    )
    _check_class(files)
    if is_tokenizer_json:
        vocab, merges = _from_tokenizer_json(path, content, files)
    else:
        vocab, merges = _tokens(content, path), read_merges(folder / MERGES_FILE)
    _check_complete(vocab, merges, path)
    return BpeFiles(vocab, merges, files, path)


def read_merges(path: Path) -> list[tuple[str, str]]:
    """The pairs in a merges.txt, the last one with or without a line feed behind it. Raises
    WeightsError for a file that is missing or malformed."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; vocab.json needs it beside it")
    try:
        text = check_readable(path).read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path} is not UTF-8 (byte {error.start})") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    first = 1 if lines[0].startswith(_VERSION_LINE) else 0
    merges = []
    for number, line in enumerate(lines[first:], first + 1):
        parts = line.split(" ")
        if len(parts) == 2 and all(parts):
            merges.append((parts[0], parts[1]))
        elif line:
            raise WeightsError(f"{path}:{number}: {line[:40]!r} is not two tokens with one blank")
    return merges


def _read_optional(path: Path) -> dict[str, Any]:
    return read_json_object(path) if path.is_file() else {}


def _check_class(files: TokenizerFiles) -> None:
    name = files.config.get("tokenizer_class") or files.config.get("init_class")
    if name is not None and str(name).removesuffix("Fast") not in _CLASSES:
        raise WeightsError(
            f"{files.folder}: its tokenizer is {str(name)[:100]} ({TOKENIZER_CONFIG_FILE}), not "
            "GPT-2's byte-level BPE: give a model with a GPT2Tokenizer"
        )


def _from_tokenizer_json(
    path: Path, content: Mapping[str, Any], files: TokenizerFiles
) -> tuple[list[str], list[tuple[str, str]]]:
    model, splitter = content["model"], content.get("pre_tokenizer")
    problems = [
        f"the {name} of its model is {repr(model.get(name))[:40]}"
        for name, accepted in _MODEL_SETTINGS.items()
        if model.get(name) not in accepted
    ]
    if content.get("normalizer") is not None:
        problems.append("it changes texts by a normalizer")
    # GPT-2's own way to split words is that of ByteLevel alone.
    if not isinstance(splitter, Mapping) or splitter.get("type") != "ByteLevel":
        problems.append("its pre_tokenizer is not ByteLevel")
    elif splitter.get("use_regex") is False:
        problems.append("its pre_tokenizer does not split words")
    elif bool(splitter.get("add_prefix_space")) != bool(files.config.get("add_prefix_space")):
        problems.append("add_prefix_space is another one in tokenizer_config.json")
    if problems:
        raise WeightsError(
            f"{path} is not GPT-2's byte-level BPE as it is supported here: {'; '.join(problems)}"
        )
    vocab = model.get("vocab")
    if not isinstance(vocab, Mapping) or not isinstance(model.get("merges"), list):
        raise WeightsError(f"{path} has no vocab and merges in its model")
    added = {
        token.get("content")
        for token in content.get("added_tokens") or ()
        if isinstance(token, Mapping) and token.get("content") not in vocab
    }
    base = {token: number for token, number in vocab.items() if token not in added}
    merges = []
    for merge in model["merges"]:
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2:
            raise WeightsError(f"{path}: the merge {repr(merge)[:40]} is not two tokens")
        merges.append((str(parts[0]), str(parts[1])))
    return _tokens(base, path), merges


def _tokens(ids: Mapping[str, Any], path: Path) -> list[str]:
    """The tokens in the order of their ids."""
    integers = all(type(number) is int for number in ids.values())  # True and False are not
    if not integers or sorted(ids.values()) != list(range(len(ids))):
        raise WeightsError(f"{path}: the ids of its tokens are not 0 to {len(ids) - 1}")
    return sorted(ids, key=lambda token: ids[token])


def _check_complete(vocab: Sequence[str], merges: Sequence[tuple[str, str]], path: Path) -> None:
    """Raise WeightsError if some text, or the result of some merge, has no token."""
    known = set(vocab)
    missing = sum(character not in known for character in byte_characters().values())
    if missing:
        raise WeightsError(
            f"{path} lacks {missing} of the 256 bytes, of which texts with these consist: it is "
            "not a byte-level vocabulary; give the model's own file"
        )
    for number, (a, b) in enumerate(merges, 1):
        for token in (a, b, a + b):
            if token not in known:
                raise WeightsError(
                    f"{path} lacks {token[:40]!r}, which merge {number} ({a[:20]} {b[:20]}) needs: "
                    "vocabulary and merges belong to different models"
                )
    if not all(map(is_encodable, vocab)):
        raise WeightsError(f"{path} has a token with a lone surrogate: give the model's own file")


def write_vocabulary(folder: Path, vocab: Sequence[str], merges: Sequence[tuple[str, str]]) -> None:
    """Write vocab.json and merges.txt, whose last line ends with a line feed: readers that drop
    what follows the last one must not lose a merge."""
    ids = {token: number for number, token in enumerate(vocab)}
    (folder / VOCAB_JSON_FILE).write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    lines = [f"{_VERSION_LINE}: 0.2", *(f"{a} {b}" for a, b in merges)]
    text = "".join(line + "\n" for line in lines)
    (folder / MERGES_FILE).write_text(text, encoding="utf-8", newline="\n")
