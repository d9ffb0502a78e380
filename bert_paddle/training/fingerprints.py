"""Digests by which a resumed run recognizes its data, tokenizer and model, wherever they lie.

A run has one dict of them, {name: digest}, made by the module `fingerprints` of its program and
stored in the training state. A name is as a message says it: "the dev set changed".
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files
from bert_paddle.common.digest_names import CONFIGURATION as CONFIGURATION
from bert_paddle.common.digest_names import INITIAL_MODEL as INITIAL_MODEL
from bert_paddle.common.digest_names import INITIAL_WEIGHTS as INITIAL_WEIGHTS
from bert_paddle.models.tokenizer import Tokenizer

CLASS_NAMES, TOKENIZER = "class names", "tokenizer"
TRAINING_SHARDS, HELD_OUT_ROWS = "training shards", "held-out rows"
DEV_SET, TEST_SET = "dev set", "test set"
# The first that exists is read: see models.load_weights. Weights in several files have other names
# and are recognized by their path alone.
_WEIGHT_FILES = (
    "model.safetensors",
    "model_state.pdparams",
    "pytorch_model.bin",
)
# Of more bytes than these, each file is not read as a whole, but in so many parts of such a size.
_WHOLE_BYTES, _SAMPLES, _SAMPLE_BYTES = 256 << 20, 64, 4096


def of_values(*values: Any) -> str:
    """The digest of values that JSON can represent."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def of_tokenizer(tokenizer: Tokenizer) -> str:
    """The digest of the vocabulary and of how text is normalized."""
    settings = tokenizer.do_lower_case, tokenizer.strip_accents, tokenizer.tokenize_chinese_chars
    return of_values(of_vocabulary(tokenizer), *settings)


def of_vocabulary(tokenizer: Tokenizer) -> str:
    """The digest of the word pieces and added tokens."""
    return of_values(tokenizer.vocab, [token.as_json() for token in tokenizer.added_tokens])


def of_weights(folder: Path) -> str | None:
    """The digest of the file with a model folder's weights; None if there is none of a known
    name."""
    paths = (folder / name for name in _WEIGHT_FILES)
    path = next((path for path in paths if path.is_file()), None)
    return of_files([path]) if path else None


def of_files(paths: Sequence[Path], whole_bytes: int = _WHOLE_BYTES) -> str:
    """The digest of the content of several files in order, wherever they lie; of files of more than
    `whole_bytes` together, of their sizes and samples."""
    is_small = sum(path.stat().st_size for path in paths) <= whole_bytes
    return of_values([_of_file(path, is_small) for path in paths])


def _of_file(path: Path, whole: bool) -> str:
    if whole:
        return atomic_files.sha256(path)
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for i in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
