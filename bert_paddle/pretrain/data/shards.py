"""Read pre-training shards: check their headers, read ranges of rows.

Does not import paddle. Headers are checked before training starts, rows whenever they are read.
"""

import contextlib
import hashlib
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import limits
from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.row_checks import RowArrays, find_invalid_row

# What h5py raises for a damaged file, depending on what is damaged.
_READ_ERRORS = (OSError, RuntimeError, KeyError, ValueError)
_MAX_LISTED_FILES = 3
_MAX_CHUNK_BYTES = 1 << 28
_SMALL_BYTES = 1 << 26  # so much may come from a file of any size
# Registered filters, where a file has only the number.
_FILTER_NAMES = {307: "bzip2", 32000: "lzf", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle"}
_FILTER_NAMES |= {32013: "zfp", 32015: "zstd", 32026: "blosc2"}
_SAMPLES, _SAMPLE_BYTES = 16, 4096  # parts of a file that its fingerprint includes


@dataclass(frozen=True)
class ShardSet:
    """Shards with checked headers. rows: row count of each shard; length, predictions: L and P
    of schema.py; vocab_size, type_vocab_size, pad_id: the model's.

    rows_without_predictions: the number of rows without masked tokens among those read so far, by
    (shard, start, stop) of the read; they are valid, but train the next-sentence loss only.
    """

    paths: tuple[Path, ...]
    rows: tuple[int, ...]
    length: int
    predictions: int
    vocab_size: int
    type_vocab_size: int
    pad_id: int = 0
    rows_without_predictions: dict[tuple[int, int, int], int] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def total(self) -> int:
        """The number of rows of all shards."""
        return sum(self.rows)

    def read(self, shard: int, start: int, stop: int) -> RowArrays:
        """Rows start to stop - 1 of a shard, with the dtypes and shapes of schema.py.

        Raises DataError, with file and row, for a damaged file and for invalid rows.
        """
        path = self.paths[shard]
        rows = _read_rows(path, start, stop, self)
        invalid = find_invalid_row(rows, self.vocab_size, self.type_vocab_size, self.pad_id)
        if invalid:
            row, problem = invalid
            raise DataError(f"{path}: row {start + row} (counted from 0): {problem}")
        if without := int(np.count_nonzero(rows["masked_lm_positions"][:, 0] == 0)):
            self.rows_without_predictions[shard, start, stop] = without
        return {key: rows[key].astype(dtype, copy=False) for key, dtype in schema.DTYPES.items()}

    def check_predictions(self, ranges: Iterable[tuple[int, int, int]]) -> None:
        """Raise DataError if no row of `ranges`, each (shard, start, stop), has a masked token: the
        masked-LM loss would be the mean of nothing. Reads up to the first range that has one."""
        for shard, start, stop in ranges:
            rows = _read_rows(self.paths[shard], start, stop, self, ("masked_lm_positions",))
            if rows["masked_lm_positions"][:, 0].any():
                return
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        raise DataError(
            f"{self.paths[0]}{more}: no row has a masked token (masked_lm_positions is 0 "
            "throughout): create the shards again"
        )

    def fingerprint(self) -> str:
        """A digest that must be the same in a resumed run: of the shards' names, row counts, sizes
        and samples of their content (not of all bytes). It does not depend on the folder's path.
        Raises DataError for a file that cannot be read."""
        digest = hashlib.sha256(f"{self.length} {self.predictions}".encode())
        for path, rows in zip(self.paths, self.rows, strict=True):
            try:
                size = path.stat().st_size
                digest.update(b"\n" + os.fsencode(path.name) + f" {rows} {size}\n".encode())
                with path.open("rb") as file:
                    for i in range(_SAMPLES):
                        file.seek(max(0, size - _SAMPLE_BYTES) * i // (_SAMPLES - 1))
                        digest.update(file.read(_SAMPLE_BYTES))
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        return digest.hexdigest()


def check_shards(
    paths: Sequence[Path],
    vocab_size: int,
    max_positions: int,
    type_vocab_size: int,
    pad_id: int = 0,
) -> ShardSet:
    """Check the header of every shard; no rows are read, and a file takes a millisecond or two.

    Any integer dtype is accepted, and converted when rows are read; floats and booleans are not.
    vocab_size, max_positions, type_vocab_size, pad_id: the model's. Raises DataError with all
    problems.
    """
    problems_of_files: list[str] = []
    rows: list[int] = []
    first: tuple[Path, int, int] | None = None
    for path in paths:
        shapes, problems = _read_header(path)
        if not problems:
            count, length = shapes["input_ids"]
            predictions = shapes["masked_lm_positions"][1]
            rows.append(count)
            if first is None:
                first = path, length, predictions
                if length > max_positions:
                    problems.append(
                        f"sequences of {length}, but the model has {max_positions} positions "
                        "(max_position_embeddings): create shorter ones or use a larger model"
                    )
            elif (length, predictions) != first[1:]:
                problems.append(
                    f"sequences of {length} with {predictions} predictions, but {first[0].name} "
                    f"has {first[1]} with {first[2]}: give shards of the same sizes"
                )
        if problems:
            problems_of_files.append(f"{path}: " + ", ".join(problems))
    if problems_of_files:
        more = len(problems_of_files) - _MAX_LISTED_FILES
        tail = f"; and {more} more shards with problems" if more > 0 else ""
        raise DataError("; ".join(problems_of_files[:_MAX_LISTED_FILES]) + tail)
    if first is None:
        raise ValueError("no shards to check")
    return ShardSet(tuple(paths), tuple(rows), *first[1:], vocab_size, type_vocab_size, pad_id)


def _read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """The shape of every dataset, and all problems with a shard's header."""
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}
    problems, claimed = [], 0  # bytes of all keys, if they are as large as the file says
    try:
        with h5py.File(path, "r") as file:
            for key in schema.DTYPES:
                data = file.get(key)
                if not isinstance(data, h5py.Dataset):
                    problems.append(f"no {key}")
                    continue
                shapes[key] = data.shape or ()
                if data.dtype.kind not in "iu":
                    problems.append(f"{key} is {data.dtype}, not an integer dtype")
                problems += _storage_problems(key, data, path)
                claimed += math.prod(shapes[key]) * data.dtype.itemsize
    except _READ_ERRORS as error:
        return {}, [_describe_read_error(path, error)]
    ratio = claimed // max(1, path.stat().st_size)
    if claimed > _SMALL_BYTES and ratio > limits.limit("EXPANSION"):
        problems.append(limits.exceeded("EXPANSION", ratio, "it"))
    return shapes, problems + _shape_problems(shapes)


def _storage_problems(key: str, data: Any, path: Path) -> list[str]:
    """Storage that is refused: HDF5 can refer to any file, and a chunk that is small on disk can
    decompress to gigabytes."""
    if data.file.filename != str(path) or data.is_virtual or data.external:
        return [f"{key} is stored in another file: write all keys into the shard itself"]
    size = math.prod(data.chunks or ()) * data.dtype.itemsize
    if size > _MAX_CHUNK_BYTES:
        return [
            f"{key} has chunks of {size} bytes, which reading a single row would decompress: the "
            f"maximum is {_MAX_CHUNK_BYTES}"
        ]
    if missing := _missing_filter(data):
        return [
            f"{key} is compressed with {missing}, which this h5py cannot read: write the shard "
            "again with gzip, or repack it (h5repack -f GZIP=4)"
        ]
    return []


def _missing_filter(data: Any) -> str | None:
    """The number, and the name if it is known, of a filter that is not installed and without which
    the first row cannot be read (one that was optional may not have been used)."""
    import h5py

    plist = data.id.get_create_plist()
    for index in range(plist.get_nfilters()):
        number, _, _, name = plist.get_filter(index)
        if not h5py.h5z.filter_avail(number):
            with contextlib.suppress(*_READ_ERRORS):
                data[:1]
                continue
            shown = name.decode("utf-8", "replace")[:60] or _FILTER_NAMES.get(number, "")
            return f"the HDF5 filter {number}" + (f" ({shown})" if shown else "")
    return None


def _shape_problems(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    problems = []
    for key, shape in shapes.items():
        expected = 1 + len(schema.row_shape(key, 1, 1))
        if len(shape) != expected:
            problems.append(f"{key} has {len(shape)} dimensions instead of {expected}")
    if problems or len(shapes) < len(schema.DTYPES):
        return problems
    count, length = shapes["input_ids"]
    predictions = shapes["masked_lm_positions"][1]
    for key, shape in shapes.items():
        if shape[0] != count:
            problems.append(f"{key} has {shape[0]} rows, input_ids {count}")
        if shape[1:] != schema.row_shape(key, length, predictions):
            reference = "masked_lm_positions" if key.startswith("masked_lm") else "input_ids"
            problems.append(f"{key} has {shape[1]} columns, {reference} {shapes[reference][1]}")
    if predictions > length:
        problems.append(f"it has {predictions} predictions for sequences of {length}")
    if not problems and 0 in (count, length, predictions):
        names = {"rows": count, "sequence columns": length, "prediction columns": predictions}
        problems += [f"it has no {name}" for name, size in names.items() if size == 0]
    return problems


def _describe_read_error(path: Path, error: Exception) -> str:
    """Why h5py could not read a file, in words for the user."""
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as open_error:
        return f"cannot be read ({open_error.strerror})"
    if empty:
        return "is an empty file (0 bytes); copy it again"
    text = " ".join(str(error).split())
    truncated = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text)
    if truncated:
        return f"is truncated: {truncated[1]} of {truncated[2]} bytes are there; copy it again"
    if "file signature not found" in text:
        return "is not an HDF5 file"
    if "unable to lock file" in text:
        return "is being written by another process"
    return f"is damaged ({text}); copy it again"


def _read_rows(
    path: Path, start: int, stop: int, shards: ShardSet, keys: Iterable[str] = schema.DTYPES
) -> RowArrays:
    """Rows as stored. The file is opened for each read, so the limit on open files does not limit
    the number of shards."""
    import h5py

    location = f"{path}: rows {start} to {stop - 1} (counted from 0)"
    try:
        with h5py.File(path, "r") as file:
            rows: dict[str, Any] = {key: file[key][start:stop] for key in keys}
    except _READ_ERRORS as error:
        raise DataError(f"{location}: {_describe_read_error(path, error)}") from None
    for key, values in rows.items():
        shape = (stop - start, *schema.row_shape(key, shards.length, shards.predictions))
        if values.shape != shape:
            raise DataError(
                f"{location}: {key} has a different shape: the file changed during the run"
            )
    return rows
