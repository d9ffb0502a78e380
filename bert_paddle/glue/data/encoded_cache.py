"""Word pieces of large sets, kept for the next run: tokenizing 67,349 sentences takes longer than
all else before the first update."""

import contextlib
import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np

from bert_paddle.common import runtime
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.models.tokenizer import Encoded, Tokenizer

_LEAST_ROWS = 5_000  # fewer take a moment
_MOST_BYTES = 4 << 30  # of all sets together; the ones used longest ago go first
_VERSION = 1  # to be counted up when `Tokenizer.encode` gives other rows


def encode(examples: Examples, tokenizer: Tokenizer, max_seq_length: int) -> Encoded:
    """`tokenizer.encode` of the examples, from the cache where these texts have been encoded before
    with this vocabulary, these settings and this length."""
    texts = examples.texts_a, examples.texts_b
    if len(examples.texts_a) < _LEAST_ROWS:
        return tokenizer.encode(*texts, max_seq_length)
    path = runtime.cache_dir() / "encoded" / f"{_key(examples, tokenizer, max_seq_length)}.npz"
    found = _read(path)
    if found is None:
        found = tokenizer.encode(*texts, max_seq_length)
        with contextlib.suppress(OSError):  # no room or no right to write: encoded each time
            _write(path, found)
    return found


def _key(examples: Examples, tokenizer: Tokenizer, max_seq_length: int) -> str:
    digest = hashlib.blake2b(digest_size=20)
    switches = tokenizer.do_lower_case, tokenizer.strip_accents, tokenizer.tokenize_chinese_chars
    digest.update(repr((_VERSION, max_seq_length, *switches)).encode())
    for strings in (tokenizer.vocab, examples.texts_a, examples.texts_b or ()):
        # Lengths first: no text can run into the next.
        digest.update(repr([len(one) for one in strings]).encode())
        digest.update("".join(strings).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _read(path: Path) -> Encoded | None:
    """The rows of a file; None where there is none, or none that is whole."""
    try:
        with path.open("rb") as opened, np.load(opened) as file:  # without pickles
            if any(one.compress_type != zipfile.ZIP_STORED for one in file.zip.infolist()):
                return None  # as it was not written
            # Zip has a checksum for each array, but numpy reads no further than the size that the
            # array's own header gives, and so not to the end, where it would be compared.
            if file.zip.testzip() is not None:
                return None
            flat, lengths, second = file["flat"], file["lengths"], file["second"]
            cut = int(file["cut"])
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile):
        return None  # RuntimeError: what zip cannot do (a damaged header asks for it)
    with contextlib.suppress(OSError):
        os.utime(path)
    rows = np.split(flat, np.cumsum(lengths)[:-1])
    return Encoded(rows, second, cut)


def _write(path: Path, encoded: Encoded) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            np.savez(
                file,
                flat=np.concatenate(encoded.input_ids),
                lengths=encoded.lengths,
                second=encoded.second,
                cut=encoded.cut,
            )
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    _prune(path.parent)


def _prune(folder: Path) -> None:
    files = sorted((f.stat().st_mtime, f.stat().st_size, f) for f in folder.glob("*.npz"))
    left = sum(size for _, size, _ in files)
    for _, size, file in files[:-1]:
        if left <= _MOST_BYTES:
            return
        file.unlink(missing_ok=True)
        left -= size
