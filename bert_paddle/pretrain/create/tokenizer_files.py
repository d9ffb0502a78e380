"""The vocabulary beside shards, and what is recorded about it. Does not import paddle."""

import os
import tempfile
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files
from bert_paddle.models.bpe_files import VOCAB_JSON_FILE
from bert_paddle.models.byte_level_bpe import BpeTokenizer
from bert_paddle.models.tokenizer import (
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_JSON_FILE,
    VOCAB_FILE,
    Tokenizer,
)
from bert_paddle.models.tokenizer_files import ADDED_TOKENS_FILE
from bert_paddle.pretrain.data import schema

TOKENIZER_FILES = (VOCAB_FILE, TOKENIZER_CONFIG_FILE, TOKENIZER_JSON_FILE, ADDED_TOKENS_FILE)


def save(tokenizer: Tokenizer | BpeTokenizer, folder: Path) -> None:
    """Write the tokenizer's files into `folder`, each atomically; the vocabulary is written
    last."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".vocab.", dir=folder) as temporary:
        tokenizer.save(Path(temporary))
        vocabularies = (VOCAB_FILE, VOCAB_JSON_FILE)
        names = sorted(os.listdir(temporary), key=lambda name: (name in vocabularies, name))
        for name in names:
            atomic_files.move_into_place(Path(temporary, name), folder / name)


def describe(tokenizer: Tokenizer) -> dict[str, Any]:
    """The vocabulary as recorded in the metadata."""
    added_tokens = [token.as_json() for token in tokenizer.added_tokens]
    return {
        "pieces": len(tokenizer),
        "sha256": schema.vocabulary_sha256(tokenizer.vocab),
        "do_lower_case": tokenizer.do_lower_case,
        "strip_accents": tokenizer.strip_accents,
        "tokenize_chinese_chars": tokenizer.tokenize_chinese_chars,
        **({"added_tokens": added_tokens} if added_tokens else {}),
    }
