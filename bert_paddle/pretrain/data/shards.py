"""Read pre-training shards: find them in a folder, check their headers, read ranges of rows.

Does not import paddle. Headers are checked before training starts, rows whenever they are read.
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
# What h5py raises for a damaged file, depending on what is damaged.
_READ_ERRORS = (OSError, RuntimeError, KeyError, ValueError)
_MAX_LISTED_FILES = 3
_MAX_CHUNK_BYTES = 1 << 28
_SAMPLES, _SAMPLE_BYTES = 16, 4096  # parts of a file that its fingerprint includes


def find_shards(folder: Path) -> tuple[list[Path], list[Path]]:
    """The training and the test shards directly in `folder`, each in the order of their numbers.

    Hidden files are ignored (such as macOS's ._ files and files still being written). Raises
    DataError when there is no folder, no shard, or no training shard.
    """
    if not folder.exists():
        raise DataError(f"{folder}: no such folder; give the folder of the *.hdf5 shards")
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file; give the folder of the *.hdf5 shards")
    try:
        visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        # A broken link is kept: check_shards() reports it, so that no data is silently missing.
        shards = sorted((p for p in visible if _is_shard(p)), key=_natural_sort_key)
        subfolders = sorted({p.parent for p in folder.glob(f"*/*{schema.SUFFIX}") if _is_shard(p)})
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    training = [path for path in shards if not schema.is_test(path)]
    test = [path for path in shards if schema.is_test(path)]
    if training:
        return training, test
    if test:
        problem = f"only test shards ({_list_names(test)}), which are never trained on"
    else:
        problem = f"no *{schema.SUFFIX} shard"
        problem += f" (there is: {_list_names(visible)})" if visible else " (it is empty)"
    if subfolders:
        raise DataError(
            f"{folder}: {problem}; there are shards in a subfolder: give {subfolders[0]}"
        )
    raise DataError(
        f"{folder}: {problem}; scripts/create_pretraining_data.py creates training shards"
    )


def _is_shard(path: Path) -> bool:
    return path.suffix == schema.SUFFIX and path.name[0] != "." and not path.is_dir()


def _natural_sort_key(path: Path) -> tuple[list[str | int], str]:
    """Sorts shard 2 before shard 10."""
    parts = re.split("([0-9]+)", path.name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def _list_names(paths: Sequence[Path]) -> str:
    names = [path.name for path in paths[:_MAX_LISTED_FILES]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class ShardSet:
    """Shards with checked headers. rows: row count of each shard; length, predictions: L and P
    of schema.py."""

    paths: tuple[Path, ...]
    rows: tuple[int, ...]
    length: int
    predictions: int
    vocab_size: int
    type_vocab_size: int

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
        invalid = _find_invalid_row(rows, self)
        if invalid:
            row, problem = invalid
            raise DataError(f"{path}: row {start + row} (counted from 0): {problem}")
        return {key: rows[key].astype(dtype, copy=False) for key, dtype in schema.DTYPES.items()}

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
    paths: Sequence[Path], vocab_size: int, max_positions: int, type_vocab_size: int
) -> ShardSet:
    """Check the header of every shard; no rows are read, and a file takes a millisecond or two.

    Any integer dtype is accepted, and converted when rows are read; floats and booleans are not.
    vocab_size, max_positions, type_vocab_size: the model's. Raises DataError with all problems.
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
    return ShardSet(tuple(paths), tuple(rows), *first[1:], vocab_size, type_vocab_size)


def _read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """The shape of every dataset, and all problems with a shard's header."""
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
    except _READ_ERRORS as error:
        return {}, [_describe_read_error(path, error)]
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
    return []


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


def _read_rows(path: Path, start: int, stop: int, shards: ShardSet) -> RowArrays:
    """Rows as stored. The file is opened for each read, so the limit on open files does not limit
    the number of shards."""
    import h5py

    location = f"{path}: rows {start} to {stop - 1} (counted from 0)"
    try:
        with h5py.File(path, "r") as file:
            rows: dict[str, Any] = {key: file[key][start:stop] for key in schema.DTYPES}
    except _READ_ERRORS as error:
        raise DataError(f"{location}: {_describe_read_error(path, error)}") from None
    for key, values in rows.items():
        shape = (stop - start, *schema.row_shape(key, shards.length, shards.predictions))
        if values.shape != shape:
            raise DataError(
                f"{location}: {key} has a different shape: the file changed during the run"
            )
    return rows


def _find_invalid_row(rows: RowArrays, shards: ShardSet) -> tuple[int, str] | None:
    """The index in `rows` of an invalid row, and its problem; None if all rows are valid."""
    vocabulary = f"outside the vocabulary of {shards.vocab_size} ids"
    limits = {  # (exclusive upper bound, problem)
        "input_ids": (shards.vocab_size, vocabulary),
        "input_mask": (2, "neither 0 nor 1"),
        "segment_ids": (shards.type_vocab_size, f"not below {shards.type_vocab_size}"),
        "masked_lm_positions": (shards.length, f"outside the sequence of {shards.length}"),
        "masked_lm_ids": (shards.vocab_size, vocabulary),
        "next_sentence_labels": (2, "neither 0 nor 1"),
    }
    for key, (limit, problem) in limits.items():
        values = rows[key]
        if values.min() < 0 or values.max() >= limit:
            index = tuple(np.argwhere((values < 0) | (values >= limit))[0].tolist())
            column = f"[{index[1]}]" if len(index) == 2 else ""
            return index[0], f"{key}{column} is {values[index]}, {problem}"
    mask = rows["input_mask"]
    if not mask[:, 0].all():
        return int(np.argmin(mask[:, 0])), "input_mask[0] is 0, but [CLS] cannot be padding"
    positions = rows["masked_lm_positions"]
    is_padding = np.take_along_axis(mask, positions.astype(np.int64), 1) == 0
    in_padding = used_predictions(positions) & is_padding
    if in_padding.any():
        row, column = np.argwhere(in_padding)[0].tolist()
        value = f"masked_lm_positions[{column}] is {positions[row, column]}"
        return row, f"{value}, where input_mask is 0: padding cannot be predicted"
    return None


def used_predictions(positions: np.ndarray) -> np.ndarray:
    """Which entries of masked_lm_positions are real predictions, not padding: bool [n, P], True up
    to a row's first 0."""
    return np.logical_and.accumulate(positions != 0, axis=1)
