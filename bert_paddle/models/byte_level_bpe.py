"""GPT-2's tokenizer: byte-level BPE (Radford et al. 2019), with special tokens of one's own.

The Rust `tokenizers` library splits texts. Every text has tokens, and its tokens give back exactly
the text: there is no unknown token, and decoding does not tidy up blanks.

    The cat      ->  The  Ġcat  ->  464 3797        (Ġ stands for the byte of a blank)
"""

import codecs
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import UserError, WeightsError
from bert_paddle.models import bpe_files
from bert_paddle.models.added_tokens import AddedToken, read_added_tokens
from bert_paddle.models.bpe_files import BpeFiles, read_bpe_files
from bert_paddle.models.tokenizer_files import (
    ADDED_TOKENS_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
)
from bert_paddle.models.vocabulary import TOKENIZER_JSON_FILE, is_encodable

END_OF_TEXT = "<|endoftext|>"  # GPT-2's only special token, which begins and ends a text
ROLES = ("bos", "eos", "pad")
_CHUNK = 20_000  # texts per call of the library, which returns all results of a call at once


class BpeTokenizer:
    """A byte-level BPE tokenizer.

    vocab: all tokens in the order of their ids; the first `base_size` are of the vocabulary, the
    others were added. roles: the texts of the tokens "bos", "eos" and "pad", without those that
    there are none of. messages: how it was loaded.
    """

    def __init__(
        self,
        vocab: Sequence[str],
        merges: Sequence[tuple[str, str]],
        added_tokens: Sequence[AddedToken] = (),
        roles: Mapping[str, str] | None = None,
        add_prefix_space: bool = False,
    ):
        """vocab: without added tokens. added_tokens: those with an id below len(vocab) are tokens
        of the vocabulary that are kept whole; the others follow it in the order of their ids."""
        self.base_size, self.merges = len(vocab), list(merges)
        self.added_tokens = tuple(sorted(added_tokens, key=lambda token: token.id))
        self.vocab = [*vocab, *(t.content for t in self.added_tokens if t.id >= len(vocab))]
        self.roles, self.add_prefix_space = dict(roles or {}), add_prefix_space
        self.messages: list[str] = []
        self._rust = self._build_rust_tokenizer()
        self._ids = {token: number for number, token in enumerate(self.vocab)}
        self._bytes = self._byte_table()

    def __len__(self) -> int:
        return len(self.vocab)

    def _build_rust_tokenizer(self) -> Any:
        from tokenizers import Tokenizer as RustTokenizer
        from tokenizers import decoders, models, pre_tokenizers, processors

        ids = {token: number for number, token in enumerate(self.vocab[: self.base_size])}
        rust = RustTokenizer(models.BPE(ids, self.merges))
        rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=self.add_prefix_space)
        rust.post_processor = processors.ByteLevel(trim_offsets=False)
        rust.decoder = decoders.ByteLevel()
        for token in self.added_tokens:  # in the order of ids, by which new ones are numbered
            add = rust.add_special_tokens if token.special else rust.add_tokens
            add([token.as_rust()])
            if rust.token_to_id(token.content) != token.id:
                raise WeightsError(
                    f"the added token {token.content[:40]!r} cannot have the id {token.id}"
                )
        return rust

    def _byte_table(self) -> list[bytes]:
        """The bytes of each token."""
        byte_of = {character: byte for byte, character in bpe_files.byte_characters().items()}
        whole = {token.content for token in self.added_tokens}
        return [
            token.encode() if token in whole else _decode_token(token, byte_of)
            for token in self.vocab
        ]

    def id_of(self, role: str) -> int | None:
        """The id of the token "bos", "eos" or "pad"; None if there is none."""
        token = self.roles.get(role)
        return None if token is None else self._ids[token]

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text, without bos and eos. Added tokens in a text are found."""
        rows: list[list[int]] = []
        for start in range(0, len(texts), _CHUNK):
            chunk = list(texts[start : start + _CHUNK])
            encodings = self._rust.encode_batch_fast(chunk, add_special_tokens=False)
            rows.extend(encoding.ids for encoding in encodings)
        return rows

    def special_token_in(self, text: str) -> str | None:
        """A special token whose text is in `text`, where it would be taken for the token; None if
        there is none."""
        special = (token.content for token in self.added_tokens if token.special)
        return next((token for token in special if token in text), None)

    def decode(self, ids: Iterable[int], skip: Iterable[int] = ()) -> str:
        """The text of the tokens without those in `skip`. Bytes that are not UTF-8, such as a part
        of a character, become U+FFFD."""
        skipped = set(skip)
        data = b"".join(self._bytes[i] for i in ids if i not in skipped)
        return data.decode("utf-8", errors="replace")

    def stream_decoder(self) -> "StreamDecoder":
        """A decoder of one token after the other."""
        return StreamDecoder(self._bytes)

    def digest_values(self) -> list[Any]:
        """All that the ids of a text depend on, as values that JSON can represent."""
        added = [token.as_json() for token in self.added_tokens]
        return [self.vocab, self.merges, added, self.roles, self.add_prefix_space]

    def with_roles(self, roles: Mapping[str, str]) -> "BpeTokenizer":
        """A tokenizer with these tokens as "bos", "eos" or "pad"; those that are not in the
        vocabulary are added, with the ids that follow. Raises UserError for a token that is a part
        of ordinary texts."""
        added = {token.content: token for token in self.added_tokens}
        for role, content in roles.items():
            if not content.strip() or not is_encodable(content):
                raise UserError(f"--{role}_token {content!r}: give a text that can be written")
            if content in added:
                added[content] = replace(added[content], special=True, normalized=False)
                continue
            if content not in self._ids:
                number = self.base_size + sum(t.id >= self.base_size for t in added.values())
            elif self._is_of_texts(content):
                raise UserError(
                    f"--{role}_token {content}: this is an ordinary token of the vocabulary (id "
                    f"{self._ids[content]}), which texts have: give one such as <|{content}|>"
                )
            else:
                number = self._ids[content]
            added[content] = AddedToken(content, number)
        return BpeTokenizer(
            self.vocab[: self.base_size],
            self.merges,
            tuple(added.values()),
            self.roles | dict(roles),
            self.add_prefix_space,
        )

    def _is_of_texts(self, token: str) -> bool:
        """Whether a text can have this token of the vocabulary: only if merges, or a byte, give
        it."""
        return len(token) == 1 or any(a + b == token for a, b in self.merges)

    def save(self, folder: Path) -> None:
        """Write vocab.json, merges.txt, tokenizer.json and the settings, which PaddleNLP and
        transformers read."""
        bpe_files.write_vocabulary(folder, self.vocab[: self.base_size], self.merges)
        (folder / TOKENIZER_JSON_FILE).write_text(self._rust.to_str(), encoding="utf-8")
        named = {f"{role}_token": token for role, token in self.roles.items()}
        named["unk_token"] = self.roles.get("eos") or END_OF_TEXT  # never used, but looked for
        settings = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": self.add_prefix_space}
        # Of transformers: a decoded text is not to be changed.
        settings |= {"clean_up_tokenization_spaces": False, **named}
        decoder = {
            str(token.id): {name: value for name, value in token.as_json().items() if name != "id"}
            for token in self.added_tokens
        }
        settings["added_tokens_decoder"] = decoder
        new = {t.content: t.id for t in self.added_tokens if t.id >= self.base_size}
        for name, content in (
            (TOKENIZER_CONFIG_FILE, settings),
            (SPECIAL_TOKENS_FILE, named),
            (ADDED_TOKENS_FILE, new),
        ):
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (folder / name).write_text(text, encoding="utf-8")


class StreamDecoder:
    """Decodes tokens one by one; a character comes when its last byte has come."""

    def __init__(self, table: Sequence[bytes]):
        self._table = table
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token_id: int) -> str:
        """The characters that are complete with this token."""
        return self._decoder.decode(self._table[token_id])

    def finish(self) -> str:
        """U+FFFD if an incomplete character is left, else ""."""
        return self._decoder.decode(b"", final=True)


def _decode_token(token: str, byte_of: Mapping[str, int]) -> bytes:
    """A token's bytes. One with other characters, such as <|endoftext|> of another vocabulary with
    a blank in it, is its own text."""
    if all(character in byte_of for character in token):
        return bytes(byte_of[character] for character in token)
    return token.encode()


def load_bpe_tokenizer(folder: Path, vocab_file: str | None = None) -> BpeTokenizer:
    """The tokenizer of a model folder, or of `vocab_file`: a tokenizer.json, or a vocab.json beside
    whose merges.txt is. Raises WeightsError when there is no usable vocabulary, and for a tokenizer
    that is not GPT-2's."""
    read = read_bpe_files(folder, vocab_file)
    roles = _declared_roles(read)
    config = dict(read.files.config)
    listed = config.get("additional_special_tokens")
    config["additional_special_tokens"] = [
        *(listed if isinstance(listed, list) else ()),
        *dict.fromkeys(roles.values()),
    ]
    files = replace(read.files, config=config)
    added = read_added_tokens(files, read.vocab)
    loaded = BpeTokenizer(read.vocab, read.merges, added, roles, read.add_prefix_space)
    count = len(loaded) - loaded.base_size
    loaded.messages = [
        f"tokenizer: {read.path}: {len(loaded):,} tokens"
        + (f", {count} of them added" * (count > 0))
    ]
    if token := read.files.token_with_another_id(read.vocab):
        other = read.files.folder / TOKENIZER_JSON_FILE
        loaded.messages.append(
            f"warning: tokenizer: {read.path} is used, though {other} has another vocabulary "
            f"({token[:40]!r} is not in both, or has two ids)"
        )
    return loaded


def _declared_roles(read: BpeFiles) -> dict[str, str]:
    """The texts of the tokens bos, eos and pad as the folder's files name them; <|endoftext|> for
    bos and eos if they do not, and the vocabulary has it."""
    roles = {}
    for role in ROLES:
        for content in (read.files.config, read.files.special_tokens):
            value = content.get(f"{role}_token")
            value = value.get("content") if isinstance(value, Mapping) else value
            if isinstance(value, str):
                roles[role] = value
                break
    if END_OF_TEXT in read.vocab:
        roles = {"bos": END_OF_TEXT, "eos": END_OF_TEXT} | roles
    return roles
