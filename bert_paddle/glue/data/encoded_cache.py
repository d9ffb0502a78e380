"""A cache of tokenized data sets: tokenizing SST-2's 67,349 sentences takes most of the time before
the first training step."""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bert_paddle.common import own_cache
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.models.tokenizer import EncodedTexts, Tokenizer

_MIN_ROWS = 5_000  # smaller sets are tokenized quickly enough
_PART_ROWS = 20_000  # large, since each part tokenizes its distinct words anew
_MAX_BYTES = 4 << 30  # size of the cache; the least recently used files are deleted first
_VERSION = 1  # increase it when the output of `Tokenizer.encode` changes


def encode(
    examples: Examples,
    tokenizer: Tokenizer,
    max_seq_length: int,
    show_rows: Callable[[int], None] = lambda rows_done: None,
) -> EncodedTexts:
    """The examples encoded by `tokenizer.encode`, or read from the cache if the same texts were
    encoded before with the same vocabulary, settings and maximum length. show_rows: called now and
    then with the number of rows encoded so far."""
    if len(examples.texts_a) < _MIN_ROWS:
        return tokenizer.encode(examples.texts_a, examples.texts_b, max_seq_length)
    try:
        folder = own_cache.open_folder("encoded")
    except OSError:  # not writable, or writable by other users: run without a cache
        return _encode_in_parts(examples, tokenizer, max_seq_length, show_rows)
    path = folder / f"{_key(examples, tokenizer, max_seq_length)}.npz"
    encoded = _read(path)
    if encoded is None:
        encoded = _encode_in_parts(examples, tokenizer, max_seq_length, show_rows)
        with contextlib.suppress(OSError):  # disk full: run without a cache
            _write(path, encoded)
    return encoded


def _encode_in_parts(
    examples: Examples,
    tokenizer: Tokenizer,
    max_seq_length: int,
    show_rows: Callable[[int], None],
) -> EncodedTexts:
    texts_a, texts_b = examples.texts_a, examples.texts_b
    parts = []
    for start in range(0, len(texts_a), _PART_ROWS):
        rows = slice(start, start + _PART_ROWS)
        part_b = None if texts_b is None else texts_b[rows]
        parts.append(tokenizer.encode(texts_a[rows], part_b, max_seq_length))
        show_rows(min(start + _PART_ROWS, len(texts_a)))
    return EncodedTexts(
        [row for part in parts for row in part.input_ids],
        np.concatenate([part.segment_b_start for part in parts]),
        sum(part.truncated for part in parts),
    )


def _key(examples: Examples, tokenizer: Tokenizer, max_seq_length: int) -> str:
    """A digest of everything that the encoded rows depend on."""
    digest = hashlib.blake2b(digest_size=20)
    settings = tokenizer.do_lower_case, tokenizer.strip_accents, tokenizer.tokenize_chinese_chars
    added_tokens = (tokenizer.base_size, *tokenizer.added_tokens) if tokenizer.added_tokens else ()
    digest.update(repr((_VERSION, max_seq_length, *settings, *added_tokens)).encode())
    for strings in (tokenizer.vocab, examples.texts_a, examples.texts_b or ()):
        # Lengths first, so that ["ab", "c"] and ["a", "bc"] have different keys.
        digest.update(repr([len(string) for string in strings]).encode())
        digest.update("".join(strings).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _read(path: Path) -> EncodedTexts | None:
    """The content of a cache file; None if it is missing or damaged."""
    try:
        with (
            own_cache.open_file(path) as opened,
            np.load(opened) as file,
        ):  # np.load refuses pickles by default
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in file.zip.infolist()):
                return None  # _write does not compress
            # zipfile checks a checksum only when an entry is read to its end, which numpy does not
            # do if a damaged array header states a smaller size.
            if file.zip.testzip() is not None:
                return None
            flat, lengths, segment_b_start = file["flat"], file["lengths"], file["second"]
            truncated = int(file["cut"])
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return None  # RuntimeError: from zipfile, if a damaged header requires encryption
    with contextlib.suppress(OSError):
        os.utime(path)  # used now: see _prune
    rows = np.split(flat, np.cumsum(lengths)[:-1])
    return EncodedTexts(rows, segment_b_start, truncated)


def _write(path: Path, encoded: EncodedTexts) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.savez(
                file,
                flat=np.concatenate(encoded.input_ids),
                lengths=encoded.lengths,
                second=encoded.segment_b_start,
                cut=encoded.truncated,
            )
        temporary.chmod(0o600)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _prune(path.parent)


def _prune(folder: Path) -> None:
    """Delete the least recently used files beyond _MAX_BYTES; the newest always stays."""
    files = sorted((f.stat().st_mtime, f.stat().st_size, f) for f in folder.glob("*.npz"))
    total = sum(size for _, size, _ in files)
    for _, size, file in files[:-1]:
        if total <= _MAX_BYTES:
            return
        file.unlink(missing_ok=True)
        total -= size
