"""Reads the tensors of a model folder's weight files, under the names that they have there."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.model_config import check_readable, read_json_object
from bert_paddle.models.safe_pickle import read_paddle, read_torch
from bert_paddle.models.weight_names import Tensors, find_state_dict

_UNSUPPORTED_FILES = (
    "tf_model.h5",
    "flax_model.msgpack",
    "model.ckpt.index",
    "bert_model.ckpt.index",
)


def shorten(name: str) -> str:
    """A tensor name from a file, truncated and with control characters escaped, for a message."""
    return name[:120].encode("unicode_escape").decode()


def _read_safetensors(path: Path) -> Tensors:
    """Tensors as stored; bfloat16, which numpy lacks, as its bits in uint16."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}
            if whole := [name for name, dtype in dtypes.items() if dtype == "U16"]:
                raise WeightsError(
                    f"{path}: {whole[0]} has whole numbers (U16): quantized weights cannot be "
                    "trained; give the weights before quantization"
                )
            tensors = {k: file.get_tensor(k) for k, dtype in dtypes.items() if dtype != "BF16"}
    except (SafetensorError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({error}): copy or download it again") from error
    return tensors | _bfloat16_bits(path, [k for k, dtype in dtypes.items() if dtype == "BF16"])


def _bfloat16_bits(path: Path, names: Sequence[str]) -> Tensors:
    """These tensors of a safetensors file, as bits in uint16."""
    # File layout: the header's length in 8 bytes; the header, JSON {name: {shape, data_offsets}};
    # the data. The library has checked the offsets against the file's size.
    tensors: Tensors = {}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name in names:
            begin, end = header[name]["data_offsets"]
            file.seek(8 + length + begin)
            bits = np.frombuffer(file.read(end - begin), "<u2")
            tensors[name] = bits.reshape(header[name]["shape"])
    return tensors


_READERS: dict[str, Callable[[Path], Tensors]] = {
    "model.safetensors": _read_safetensors,
    "model.safetensors.index.json": _read_safetensors,
    "model_state.pdparams": read_paddle,
    "pytorch_model.bin": read_torch,
    "pytorch_model.bin.index.json": read_torch,
}


def has_weights(folder: Path) -> bool:
    """Whether a folder has a file from which weights are read."""
    return any((folder / name).is_file() for name in _READERS)


def read_tensors(folder: Path) -> tuple[Tensors, Path, list[str]]:
    """The tensors as stored, the path of the file or index, and notes. Raises WeightsError if there
    is no such file, or it is damaged."""
    present = [name for name in _READERS if (folder / name).is_file()]
    if not present:
        unsupported = [name for name in _UNSUPPORTED_FILES if (folder / name).is_file()]
        reason = f" ({unsupported[0]} is not supported: convert it)" if unsupported else ""
        names = ", ".join(name for name in _READERS if not name.endswith("index.json"))
        raise WeightsError(f"{folder} has no weights{reason}: looked for {names}")
    path, read = folder / present[0], _READERS[present[0]]
    tensors: Tensors = {}
    for file in _list_shards(path) if path.suffix == ".json" else [path]:
        tensors |= read(check_readable(file))
    notes = [f"{name} next to {present[0]} not read" for name in present[1:]]
    if key := find_state_dict(tensors):
        tensors = tensors[key]  # type: ignore[assignment]
        notes.append(f"the state dict {key!r} of {path.name} read")
    for name, value in tensors.items():
        if not isinstance(value, np.ndarray):
            raise WeightsError(
                f"{path}: {shorten(name)} is not a tensor, so this is not a state dict"
            )
    return tensors, path, notes


def _list_shards(index: Path) -> list[Path]:
    """The files that an index refers to, sorted."""
    weight_map = read_json_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{index} has no weight_map: download the folder again")
    shards = [index.parent / name for name in sorted({str(v) for v in weight_map.values()})]
    for shard in shards:
        if shard.parent != index.parent or not shard.is_file():
            raise WeightsError(
                f"{index} names {shard.name}, which is not in its folder: download it"
            )
    return shards
