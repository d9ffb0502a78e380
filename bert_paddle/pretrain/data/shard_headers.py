"""The header of a shard: which datasets it has, their types and shapes, and what is wrong with it.

Does not import paddle.
"""

import contextlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import limits
from bert_paddle.pretrain.data import schema

# What h5py raises for a damaged file, depending on what is damaged.
READ_ERRORS = (OSError, RuntimeError, KeyError, ValueError)
_MAX_CHUNK_BYTES = 1 << 28
_SMALL_BYTES = 1 << 26  # so much may come from a file of any size
# Registered filters, where a file has only the number.
_FILTER_NAMES = {307: "bzip2", 32000: "lzf", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle"}
_FILTER_NAMES |= {32013: "zfp", 32015: "zstd", 32026: "blosc2"}


def read_header(
    path: Path, nsp: bool, own_masks: bool
) -> tuple[dict[str, tuple[int, ...]], list[str]]:
    """The shape of every dataset, and all problems with a shard's header. nsp, own_masks: see
    `check_shards`."""
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}
    problems, missing = list[str](), list[str]()
    claimed = 0  # bytes of all keys, if they are as large as the file says
    try:
        with h5py.File(path, "r") as file:
            for key in schema.DTYPES:
                data = file.get(key)
                if not isinstance(data, h5py.Dataset):
                    missing.append(key)
                    continue
                shapes[key] = data.shape or ()
                if data.dtype.kind not in "iu":
                    problems.append(f"{key} is {data.dtype}, not an integer dtype")
                problems += _storage_problems(key, data, path)
                claimed += math.prod(shapes[key]) * data.dtype.itemsize
    except READ_ERRORS as error:
        return {}, [describe_read_error(path, error)]
    ratio = claimed // max(1, path.stat().st_size)
    if claimed > _SMALL_BYTES and ratio > limits.limit("EXPANSION"):
        problems.append(limits.exceeded("EXPANSION", ratio, "it"))
    problems = _missing_problems(missing, nsp, own_masks) + problems
    return shapes, problems + _shape_problems(shapes)


def _missing_problems(missing: Sequence[str], nsp: bool, own_masks: bool) -> list[str]:
    """A problem for each missing dataset that must be there, with what to do about shards that
    create-data has written without it."""
    without_masks = set(schema.MASK_KEYS) <= set(missing)
    optional = set() if nsp else {schema.NSP_KEY}
    if without_masks and not own_masks:
        optional |= set(schema.MASK_KEYS)
    problems = [f"no {key}" for key in missing if key not in optional]
    if set(missing) <= {schema.NSP_KEY, *schema.MASK_KEYS}:
        if schema.NSP_KEY in missing and nsp:
            problems.append(
                "which shards of single sequences lack (created with --nsp 0): train with --nsp 0"
            )
        if without_masks and own_masks:
            problems.append("which shards without masks lack: train with --dynamic_masking 1")
    return problems


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
            with contextlib.suppress(*READ_ERRORS):
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
    if problems or not schema.BASE_KEYS <= shapes.keys():
        return problems
    has_masks = shapes.keys() & set(schema.MASK_KEYS)
    if len(has_masks) == 1:  # the other one is missing
        return problems
    count, length = shapes["input_ids"]
    predictions = shapes["masked_lm_positions"][1] if has_masks else 1
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


def describe_read_error(path: Path, error: Exception) -> str:
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
