"""Reading pre-training shards: what lies in a folder, what is wrong with it, slices of rows.

No paddle. Headers are checked before training starts; rows are checked whenever they are read.
"""

import hashlib
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data import schema

RowArrays = dict[str, np.ndarray]
# What h5py raises for a damaged file, depending on which of its structures is hit.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)
_FILES_NAMED = 3
_CHUNK_BYTES = 1 << 28
_SAMPLES, _SAMPLE_BYTES = 16, 4096


def find_shards(folder: Path) -> tuple[list[Path], list[Path]]:
    """The training and the test shards directly in `folder`, each in the order of their numbers.

    Hidden files are left out (other systems' leftovers, files still being written). Raises
    DataError when there is no folder, no shard, or none to train on.
    """
    if not folder.exists():
        raise DataError(f"{folder}: no such folder; give the folder that holds the *.hdf5 shards")
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file; give the folder that holds the *.hdf5 shards")
    try:
        names = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        # A link that leads nowhere is kept: check() tells of it, rather than train on less.
        found = sorted((p for p in names if _is_shard(p)), key=_natural)
        deeper = sorted({p.parent for p in folder.glob(f"*/*{schema.SUFFIX}") if _is_shard(p)})
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    training = [path for path in found if not schema.is_test(path)]
    test = [path for path in found if schema.is_test(path)]
    if training:
        return training, test
    if test:
        problem = f"only test shards ({_listed(test)}), which are never trained on"
    else:
        problem = f"no *{schema.SUFFIX} shard"
        problem += f" (there is: {_listed(names)})" if names else " (it is empty)"
    if deeper:
        raise DataError(f"{folder}: {problem}; shards lie one folder deeper: give {deeper[0]}")
    raise DataError(f"{folder}: {problem}; scripts/create_pretraining_data makes training shards")


def _is_shard(path: Path) -> bool:
    return path.suffix == schema.SUFFIX and path.name[0] != "." and not path.is_dir()


def _natural(path: Path) -> tuple[list[str | int], str]:
    """A key that puts shard 2 before shard 10."""
    parts = re.split("([0-9]+)", path.name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def _listed(paths: Sequence[Path]) -> str:
    names = [path.name for path in paths[:_FILES_NAMED]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class Shards:
    """Shards whose headers are in order. rows: of each shard; length: L; predictions: P."""

    paths: tuple[Path, ...]
    rows: tuple[int, ...]
    length: int
    predictions: int
    vocab_size: int
    type_vocab_size: int

    @property
    def total(self) -> int:
        """Rows of all shards."""
        return sum(self.rows)

    def read(self, shard: int, start: int, stop: int) -> RowArrays:
        """Rows start..stop of a shard, every key of the layout in the layout's dtype and shape.

        Raises DataError, with file and row, for a damaged file and for rows that no model could
        be trained on.
        """
        path = self.paths[shard]
        rows = _slice(path, start, stop, self)
        problem = _first_bad_row(rows, self)
        if problem:
            row, text = problem
            raise DataError(f"{path}: row {start + row} (counted from 0): {text}")
        return {key: rows[key].astype(dtype, copy=False) for key, dtype in schema.DTYPES.items()}

    def fingerprint(self) -> str:
        """A digest of names, row counts, sizes and samples of the content, not of all bytes: what
        a resumed run must find again. The folder may have moved. Raises DataError."""
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


def check(
    paths: Sequence[Path], vocab_size: int, max_positions: int, type_vocab_size: int
) -> Shards:
    """The shards, after a look at every header (no row is read): a millisecond or two a file.

    Any integer dtype is accepted and converted when read; floats and booleans are not. The sizes
    are the model's. Raises DataError with the problems of all shards in one line.
    """
    bad: list[str] = []
    rows: list[int] = []
    first: tuple[Path, int, int] | None = None
    for path in paths:
        shapes, problems = _header(path)
        if not problems:
            count, length = shapes["input_ids"]
            predictions = shapes["masked_lm_positions"][1]
            rows.append(count)
            if first is None:
                first = path, length, predictions
                if length > max_positions:
                    problems.append(
                        f"sequences of {length}, but the model has {max_positions} positions "
                        "(max_position_embeddings): make shorter ones or take a longer model"
                    )
            elif (length, predictions) != first[1:]:
                problems.append(
                    f"sequences of {length} with {predictions} predictions, but {first[0].name} "
                    f"has {first[1]} with {first[2]}: give shards of one kind"
                )
        if problems:
            bad.append(f"{path}: " + ", ".join(problems))
    if bad:
        more = len(bad) - _FILES_NAMED
        tail = f"; and {more} more shards with problems" if more > 0 else ""
        raise DataError("; ".join(bad[:_FILES_NAMED]) + tail)
    if first is None:
        raise ValueError("no shards to check")
    return Shards(tuple(paths), tuple(rows), *first[1:], vocab_size, type_vocab_size)


def _header(path: Path) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """The shape of every key, and all that is wrong with a shard's header."""
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}
    problems = []
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
    except _DAMAGE as error:
        return {}, [_why_unreadable(path, error)]
    return shapes, problems + _shape_problems(shapes)


def _storage_problems(key: str, data: Any, path: Path) -> list[str]:
    """HDF5 can point to any other file, and can pack gigabytes into a small chunk."""
    if data.file.filename != str(path) or data.is_virtual or data.external:
        return [f"{key} lies in another file: write all keys into the shard itself"]
    size = math.prod(data.chunks or ()) * data.dtype.itemsize
    if size > _CHUNK_BYTES:
        return [
            f"{key} has chunks of {size} bytes, each unpacked for a single row: at most "
            f"{_CHUNK_BYTES}"
        ]
    return []


def _shape_problems(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    problems = []
    for key, shape in shapes.items():
        wanted = 1 + len(schema.row_shape(key, 1, 1))
        if len(shape) != wanted:
            problems.append(f"{key} has {len(shape)} dimensions instead of {wanted}")
    if problems or len(shapes) < len(schema.DTYPES):
        return problems
    count, length = shapes["input_ids"]
    predictions = shapes["masked_lm_positions"][1]
    for key, shape in shapes.items():
        if shape[0] != count:
            problems.append(f"{key} has {shape[0]} rows, input_ids {count}")
        if shape[1:] != schema.row_shape(key, length, predictions):
            like = "masked_lm_positions" if key.startswith("masked_lm") else "input_ids"
            problems.append(f"{key} has {shape[1]} columns, {like} {shapes[like][1]}")
    if predictions > length:
        problems.append(f"it has {predictions} predictions for sequences of {length}")
    if not problems and 0 in (count, length, predictions):
        names = {"rows": count, "sequence columns": length, "prediction columns": predictions}
        problems += [f"it has no {name}" for name, size in names.items() if size == 0]
    return problems


def _why_unreadable(path: Path, error: Exception) -> str:
    """Why h5py could not read a file, in the user's terms."""
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as refused:
        return f"cannot be read ({refused.strerror})"
    if empty:
        return "is an empty file (0 bytes); copy it again"
    text = " ".join(str(error).split())
    cut = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text)
    if cut:
        return f"is truncated: {cut[1]} of {cut[2]} bytes are there; copy it again"
    if "file signature not found" in text:
        return "is not an HDF5 file"
    if "unable to lock file" in text:
        return "is being written by another process"
    return f"is damaged ({text}); copy it again"


def _slice(path: Path, start: int, stop: int, shards: Shards) -> RowArrays:
    """Rows as they are stored. The file is open only as long as that: any number of shards."""
    import h5py

    where = f"{path}: rows {start} to {stop - 1} (counted from 0)"
    try:
        with h5py.File(path, "r") as file:
            rows: dict[str, Any] = {key: file[key][start:stop] for key in schema.DTYPES}
    except _DAMAGE as error:
        raise DataError(f"{where}: {_why_unreadable(path, error)}") from None
    for key, values in rows.items():
        shape = (stop - start, *schema.row_shape(key, shards.length, shards.predictions))
        if values.shape != shape:
            raise DataError(f"{where}: {key} is not as it was: the file changed during the run")
    return rows


def _first_bad_row(rows: RowArrays, shards: Shards) -> tuple[int, str] | None:
    """A row (from 0 in `rows`) that breaks the layout and how, or None."""
    vocabulary = f"outside the vocabulary of {shards.vocab_size} ids"
    limits = {
        "input_ids": (shards.vocab_size, vocabulary),
        "input_mask": (2, "neither 0 nor 1"),
        "segment_ids": (shards.type_vocab_size, f"not below {shards.type_vocab_size}"),
        "masked_lm_positions": (shards.length, f"outside the sequence of {shards.length}"),
        "masked_lm_ids": (shards.vocab_size, vocabulary),
        "next_sentence_labels": (2, "neither 0 nor 1"),
    }
    for key, (limit, text) in limits.items():
        values = rows[key]
        if values.min() < 0 or values.max() >= limit:
            place = tuple(np.argwhere((values < 0) | (values >= limit))[0].tolist())
            column = f"[{place[1]}]" if len(place) == 2 else ""
            return place[0], f"{key}{column} is {values[place]}, {text}"
    mask = rows["input_mask"]
    if not mask[:, 0].all():
        return int(np.argmin(mask[:, 0])), "input_mask[0] is 0: [CLS] has to be there"
    positions = rows["masked_lm_positions"]
    stray = used(positions) & (np.take_along_axis(mask, positions.astype(np.int64), 1) == 0)
    if stray.any():
        row, column = np.argwhere(stray)[0].tolist()
        where = f"masked_lm_positions[{column}] is {positions[row, column]}"
        return row, f"{where}, where input_mask is 0: padding cannot be predicted"
    return None


def used(positions: np.ndarray) -> np.ndarray:
    """bool like `positions` [n, P]: the entries before a row's first 0, or all of them."""
    return np.logical_and.accumulate(positions != 0, axis=1)
