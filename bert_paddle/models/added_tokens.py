"""Tokens that a tokenizer keeps whole: those that were added to a vocabulary, and those of its
own that are declared as special.

Hugging Face folders keep them in up to five places, which are merged here:

    tokenizer_config.json    added_tokens_decoder {"30522": {"content": "<url>", …}}
    tokenizer.json           added_tokens [{"id": 30522, "content": "<url>", …}]
    added_tokens.json        {"<url>": 30522}
    special_tokens_map.json  additional_special_tokens ["<url>"], and names such as bos_token
    tokenizer_config.json    the same
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.tokenizer_files import (
    ADDED_TOKENS_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
    TokenizerFiles,
)
from bert_paddle.models.vocabulary import SPECIAL_TOKENS, TOKENIZER_JSON_FILE, is_encodable

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_NAMED = ("bos_token", "eos_token")


@dataclass(frozen=True)
class AddedToken:
    """A token that is found in a text before it is split into words.

    single_word: only as a word of its own. lstrip, rstrip: with the blanks before and behind it.
    normalized: compared with the text after lower-casing. special: not a part of the text proper,
    such as a marker.
    """

    content: str
    id: int
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = True

    def as_rust(self) -> Any:
        """The token for the `tokenizers` library."""
        from tokenizers import AddedToken as RustToken

        flags = {name: getattr(self, name) for name in _FLAGS}
        return RustToken(self.content, **flags)

    def as_json(self) -> dict[str, Any]:
        """The token as in tokenizer.json's added_tokens."""
        return asdict(self)


@dataclass(frozen=True)
class _Declaration:
    """What one file says of a token. flags: None where the file does not say; id: likewise."""

    content: str
    id: int | None
    flags: Mapping[str, bool] | None
    file: str


class AddedTokenSplitter:
    """Splits texts at added tokens, as the `tokenizers` library does before it splits words."""

    def __init__(self, tokens: Sequence[AddedToken], normalizer: Any):
        """normalizer: of the `tokenizers` library."""
        from tokenizers import Tokenizer as RustTokenizer
        from tokenizers import models

        # All text between added tokens is this one token, which no text has.
        self._rust = RustTokenizer(models.WordPiece({"\0": 0}, unk_token="\0"))
        self._rust.normalizer = normalizer
        for token in tokens:
            self._rust.add_tokens([token.as_rust()])
        self._ids = {self._rust.token_to_id(token.content): token.id for token in tokens}

    def split(self, texts: Sequence[str]) -> list[list[str | int]]:
        """The parts of each text: texts without added tokens, and the ids of added tokens."""
        encodings = self._rust.encode_batch(list(texts), add_special_tokens=False)
        return [self._parts(text, e) for text, e in zip(texts, encodings, strict=True)]

    def _parts(self, text: str, encoding: Any) -> list[str | int]:
        parts, end = list[str | int](), 0
        for number, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
            if number in self._ids:
                parts += [text[end:start], self._ids[number]]
                end = stop
        return [*parts, text[end:]]


def read_added_tokens(files: TokenizerFiles, vocab: Sequence[str]) -> tuple[AddedToken, ...]:
    """The tokens that the files declare, in the order of their ids. [PAD], [UNK], [CLS], [SEP] and
    [MASK], which every tokenizer keeps whole, are among them only if their flags are unusual.

    vocab: the word pieces, without added tokens. Tokens that are not among them have the ids that
    follow. Raises WeightsError for a malformed declaration, and for ids that contradict each other
    or the vocabulary.
    """
    merged: dict[str, _Declaration] = {}
    for declaration in _declarations(files):
        merged[declaration.content] = _merge(merged.get(declaration.content), declaration, files)
    ids = {token: i for i, token in enumerate(vocab)}
    # As in transformers: tokens with ids first, then the others in the order of declaration.
    new = [d for d in merged.values() if d.content not in ids]
    new.sort(key=lambda d: (d.id is None, d.id or 0))
    ids |= {d.content: len(vocab) + i for i, d in enumerate(new)}
    special = {d.content for d in _special_declarations(files)}
    tokens = []
    for declaration in merged.values():
        token_id = ids[declaration.content]
        if declaration.id not in (None, token_id):
            raise _id_error(declaration, token_id, vocab, files)
        tokens.append(_with_flags(declaration, token_id, declaration.content in special))
    usual = {AddedToken(token, ids.get(token, -1)) for token in SPECIAL_TOKENS}
    return tuple(sorted((t for t in tokens if t not in usual), key=lambda token: token.id))


def check_embeddings(tokens: Sequence[AddedToken], embeddings: int, source: Path) -> None:
    """Raise WeightsError for a token without a word embedding in the model. source: its folder."""
    for token in tokens:
        if token.id >= embeddings:
            raise WeightsError(
                f"{source}: the added token {token.content[:40]!r} has the id {token.id}, but the "
                f"model has {embeddings} word embeddings (0 to {embeddings - 1}): save the model "
                "after resize_token_embeddings, or remove the token from the tokenizer's files"
            )


def _with_flags(declaration: _Declaration, token_id: int, in_special_list: bool) -> AddedToken:
    if declaration.flags is not None:
        return AddedToken(declaration.content, token_id, **declaration.flags)
    is_special = in_special_list or declaration.content in SPECIAL_TOKENS
    return AddedToken(declaration.content, token_id, normalized=not is_special, special=is_special)


def _id_error(
    declaration: _Declaration, token_id: int, vocab: Sequence[str], files: TokenizerFiles
) -> WeightsError:
    place, content, declared = files.folder / declaration.file, declaration.content, declaration.id
    assert declared is not None
    if not set(SPECIAL_TOKENS) & set(vocab):
        reason = (
            f"but the vocabulary ({len(vocab)} tokens) has none of BERT's special tokens: it is "
            "not a BERT vocabulary; give the right one with --vocab_file"
        )
    elif token_id < len(vocab):
        reason = f"but the vocabulary has it as id {token_id}"
    elif 0 <= declared < len(vocab):
        reason = (
            f"but in the vocabulary id {declared} is {vocab[declared][:40]!r}: to use that one, "
            f"write {content[:40]!r} into its place there (line {declared + 1} of vocab.txt)"
        )
    else:
        reason = (
            f"but the vocabulary has {len(vocab)} word pieces, so that the ids of added tokens are "
            f"{len(vocab)}, {len(vocab) + 1} and so on without a gap, and this one would be "
            f"{token_id}"
        )
    return WeightsError(f"{place} declares the token {content[:40]!r} as id {declared}, {reason}")


def _merge(
    earlier: _Declaration | None, later: _Declaration, files: TokenizerFiles
) -> _Declaration:
    """Both declarations of a token; the earlier one's flags take precedence."""
    if earlier is None:
        return later
    if None not in (earlier.id, later.id) and earlier.id != later.id:
        raise WeightsError(
            f"{files.folder}: the added token {later.content[:40]!r} is id {earlier.id} in "
            f"{earlier.file} and {later.id} in {later.file}: use files of one model"
        )
    with_id = earlier if earlier.id is not None else later
    flags = earlier.flags if earlier.flags is not None else later.flags
    return _Declaration(later.content, with_id.id, flags, with_id.file)


def _declarations(files: TokenizerFiles) -> Iterator[_Declaration]:
    """All declarations, those whose flags take precedence first."""
    decoder = files.config.get("added_tokens_decoder") or {}
    if not isinstance(decoder, Mapping):
        raise _malformed(files, TOKENIZER_CONFIG_FILE, "added_tokens_decoder", decoder)
    for key, value in decoder.items():
        if not str(key).isdecimal():
            raise _malformed(files, TOKENIZER_CONFIG_FILE, "added_tokens_decoder", key)
        yield _declaration(value, int(key), files, TOKENIZER_CONFIG_FILE)
    listed = files.tokenizer_json.get("added_tokens") or []
    if not isinstance(listed, list):
        raise _malformed(files, TOKENIZER_JSON_FILE, "added_tokens", listed)
    for value in listed:
        if not isinstance(value, Mapping):
            raise _malformed(files, TOKENIZER_JSON_FILE, "added_tokens", value)
        yield _declaration(value, value.get("id"), files, TOKENIZER_JSON_FILE)
    for content, number in files.added_tokens.items():
        yield _declaration(content, number, files, ADDED_TOKENS_FILE)
    yield from _special_declarations(files)


def _special_declarations(files: TokenizerFiles) -> Iterator[_Declaration]:
    """The tokens that are declared as special, by name or in a list."""
    for file, content in (
        (TOKENIZER_CONFIG_FILE, files.config),
        (SPECIAL_TOKENS_FILE, files.special_tokens),
    ):
        for name in _NAMED:
            if content.get(name) is not None:
                yield _declaration(content[name], None, files, file)
        for name in _LISTS:
            values = content.get(name) or []
            if isinstance(values, Mapping):  # {name of the token: the token}
                values = list(values.values())
            if not isinstance(values, list):
                raise _malformed(files, file, name, values)
            for value in values:
                yield _declaration(value, None, files, file)


def _declaration(value: Any, number: Any, files: TokenizerFiles, file: str) -> _Declaration:
    """A token given as its text, or as an object with content and flags."""
    content, flags = value, None
    if isinstance(value, Mapping):
        content = value.get("content")
        flags = {name: value[name] for name in _FLAGS if name in value}
        if any(not isinstance(flag, bool) for flag in flags.values()):
            raise _malformed(files, file, "an added token's flags", value)
        if "special" not in flags and number is None:
            flags["special"] = True  # in a list of special tokens, where it is not written
        flags = {"special": False, "normalized": not flags.get("special", False)} | flags
    if not isinstance(content, str) or not content.strip() or not is_encodable(content):
        raise _malformed(files, file, "an added token", content)
    if type(number) is not int and number is not None or (number or 0) < 0:
        raise _malformed(files, file, f"the id of the added token {content[:40]!r}", number)
    return _Declaration(content, number, flags, file)


def _malformed(files: TokenizerFiles, file: str, name: str, value: Any) -> WeightsError:
    return WeightsError(
        f"{files.folder / file}: {name} is {repr(value)[:80]}, which cannot be read: give the "
        "model's own file"
    )
