"""Read pre-training shards: check their headers, read ranges of rows.

Does not import paddle. Headers are checked before training starts, rows whenever they are read.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.row_checks import RowArrays, find_invalid_row
from bert_paddle.pretrain.data.shard_headers import READ_ERRORS, describe_read_error, read_header

_MAX_LISTED_FILES = 3
_SAMPLES, _SAMPLE_BYTES = 16, 4096  # parts of a file that its fingerprint includes


@dataclass(frozen=True)
class ShardSet:
    """Shards with checked headers. rows: row count of each shard; length, predictions: L and P
    of schema.py; vocab_size, type_vocab_size, pad_id: the model's. lacking: the datasets that each
    shard lacks and need not have, which read as zeros; () if there are none. P is 1 if no shard has
    masks.

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
    lacking: tuple[frozenset[str], ...] = ()
    rows_without_predictions: dict[tuple[int, int, int], int] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def total(self) -> int:
        """The number of rows of all shards."""
        return sum(self.rows)

    def has_masks(self, shard: int) -> bool:
        """Whether the shard contains masks."""
        return not (self.lacking and self.lacking[shard].intersection(schema.MASK_KEYS))

    def read(self, shard: int, start: int, stop: int, own_masks: bool = True) -> RowArrays:
        """Rows start to stop - 1 of a shard, with the dtypes and shapes of schema.py. own_masks:
        whether the shard's masks are used, so that rows without any are counted.

        Raises DataError, with file and row, for a damaged file and for invalid rows.
        """
        path, lacking = self.paths[shard], self.lacking[shard] if self.lacking else frozenset()
        rows = _read_rows(path, start, stop, self, [k for k in schema.DTYPES if k not in lacking])
        for key in lacking:
            shape = stop - start, *schema.row_shape(key, self.length, self.predictions)
            rows[key] = np.zeros(shape, schema.DTYPES[key])
        invalid = find_invalid_row(rows, self.vocab_size, self.type_vocab_size, self.pad_id)
        if invalid:
            row, problem = invalid
            raise DataError(f"{path}: row {start + row} (counted from 0): {problem}")
        without = int(np.count_nonzero(rows["masked_lm_positions"][:, 0] == 0))
        if without and own_masks:
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
    nsp: bool = True,
    own_masks: bool = True,
) -> ShardSet:
    """Check the header of every shard; no rows are read, and a file takes a millisecond or two.

    Any integer dtype is accepted, and converted when rows are read; floats and booleans are not.
    vocab_size, max_positions, type_vocab_size, pad_id: the model's. nsp, own_masks: whether the
    shards must have next-sentence labels and masks. Raises DataError with all problems.
    """
    problems_of_files: list[str] = []
    shapes_of_files: list[dict[str, tuple[int, ...]]] = []
    first: dict[str, tuple[Path, int]] = {}  # the first file with each size, and that size
    for path in paths:
        shapes, problems = read_header(path, nsp, own_masks)
        if not problems:
            shapes_of_files.append(shapes)
            problems = _size_problems(path, shapes, first, max_positions)
        if problems:
            problems_of_files.append(f"{path}: " + ", ".join(problems))
    if problems_of_files:
        more = len(problems_of_files) - _MAX_LISTED_FILES
        tail = f"; and {more} more shards with problems" if more > 0 else ""
        raise DataError("; ".join(problems_of_files[:_MAX_LISTED_FILES]) + tail)
    if not shapes_of_files:
        raise ValueError("no shards to check")
    lacking = tuple(frozenset(schema.DTYPES.keys() - shapes.keys()) for shapes in shapes_of_files)
    return ShardSet(
        tuple(paths),
        tuple(shapes["input_ids"][0] for shapes in shapes_of_files),
        first["length"][1],
        first["predictions"][1] if "predictions" in first else 1,
        vocab_size,
        type_vocab_size,
        pad_id,
        lacking if any(lacking) else (),
    )


def _size_problems(
    path: Path,
    shapes: dict[str, tuple[int, ...]],
    first: dict[str, tuple[Path, int]],
    max_positions: int,
) -> list[str]:
    """Sizes that do not fit the model or the shards before. Adds to `first` what this file is the
    first to have: its "length", or its "predictions"."""
    length = shapes["input_ids"][1]
    sizes = {"length": length}
    if "masked_lm_positions" in shapes:
        sizes["predictions"] = shapes["masked_lm_positions"][1]
    is_first = not first
    for name, size in sizes.items():
        first.setdefault(name, (path, size))
    if is_first and length > max_positions:
        return [
            f"sequences of {length}, but the model has {max_positions} positions "
            "(max_position_embeddings): create shorter ones or use a larger model"
        ]
    differing = next((name for name, size in sizes.items() if size != first[name][1]), None)
    if differing is None:
        return []
    with_predictions = f" with {sizes['predictions']} predictions" if "predictions" in sizes else ""
    numbers = " with ".join(str(first[name][1]) for name in sizes)
    return [
        f"sequences of {length}{with_predictions}, but {first[differing][0].name} has {numbers}: "
        "give shards of the same sizes"
    ]


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
    except READ_ERRORS as error:
        raise DataError(f"{location}: {describe_read_error(path, error)}") from None
    for key, values in rows.items():
        shape = (stop - start, *schema.row_shape(key, shards.length, shards.predictions))
        if values.shape != shape:
            raise DataError(
                f"{location}: {key} has a different shape: the file changed during the run"
            )
    return rows
