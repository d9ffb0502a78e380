"""A model folder -> configuration and tensors under Paddle's names. numpy only, nothing written.

The kind of the weights is told by the names inside the file; neither the file's name nor its
metadata is trusted. Whatever does not fit is a WeightsError: a model never starts from random
weights because a name was not found.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.model_config import ModelConfig, read_config, read_object, real_file
from bert_paddle.models.safe_pickle import read_paddle, read_torch
from bert_paddle.models.weight_names import (
    BERT,
    HUGGING_FACE,
    Tensors,
    fill_tied,
    foreign_architecture,
    kind_of,
    tidy_paddle,
    to_paddle,
)

# Their `classifier` means something else than the class of a text.
_OTHER_TASKS = ("TokenClassification", "MultipleChoice", "QuestionAnswering")
_UNREAD = ("tf_model.h5", "flax_model.msgpack", "model.ckpt.index", "bert_model.ckpt.index")


@dataclass(frozen=True)
class LoadedWeights:
    """A model folder, read.

    config: PaddleNLP BertConfig's names, and "labels": the class names in the order of the
    logits, or None. tensors: float32 under Paddle's names, Linear weights [in, out]. kind:
    "paddle" or "huggingface". notes: the harmless differences that were handled.
    """

    config: dict[str, Any]
    tensors: Tensors
    kind: str
    notes: list[str]


@dataclass(frozen=True)
class MatchedWeights:
    """How a checkpoint fits a model.

    tensors: exactly those to put into the model. fresh_head: why a head keeps its initial values,
    or None where it is loaded. notes: what in the file has no use here.
    """

    tensors: Tensors
    fresh_head: str | None
    notes: list[str]


def load_weights(folder: Path) -> LoadedWeights:
    """Read the configuration and the weights of a BERT folder, Paddle's or Hugging Face's.

    Takes the first of model.safetensors, model.safetensors.index.json, model_state.pdparams,
    pytorch_model.bin, pytorch_model.bin.index.json. Raises WeightsError, in one line, for a
    folder that lacks something, is of another architecture, or whose configuration and weights
    disagree.
    """
    config = read_config(folder)
    tensors, file, notes = _read_tensors(folder)
    if config.path.name == "model_config.json":
        notes.append("model_config.json converted")
    kind = kind_of(tensors)
    foreign = foreign_architecture(tensors)
    if kind is None or foreign:
        first = f"they begin with '{_shown(next(iter(tensors), 'nothing'))}'"
        theirs = f"they are of {_shown(foreign)}" if foreign else first
        raise WeightsError(f"{file} does not hold the weights of a BERT: {theirs}")
    tensors, named = to_paddle(tensors) if kind == HUGGING_FACE else tidy_paddle(tensors)
    tensors, widened = _as_float32(tensors, file)
    tensors, tied = fill_tied(tensors)
    values = _agreed(config, tensors, file)
    notes += named + widened + tied
    if any(task in config.architecture for task in _OTHER_TASKS):
        values["labels"] = None
        tensors = {k: v for k, v in tensors.items() if not k.startswith("classifier.")}
        notes.append(f"head of {config.architecture} left out")
    return LoadedWeights(values, tensors, kind, notes)


def match_weights(
    tensors: Tensors,
    wanted: Mapping[str, Sequence[int]],
    head_prefixes: Sequence[str] = ("classifier.",),
) -> MatchedWeights:
    """Compare a checkpoint's tensors with a model's parameters, {name: shape}.

    A head (the names under one of `head_prefixes`) that is absent or of another size is left out
    as a whole and reported. Raises WeightsError where a head is there in part, any other parameter
    is missing or of another shape, or the file has weights that the model has no place for, except
    heads of BERT that this model lacks.
    """
    usable = {name: value for name, value in tensors.items() if name in wanted}
    reasons = []
    for prefix in head_prefixes:
        if reason := _head_problem(tensors, wanted, prefix):
            reasons.append(reason)
            usable = {k: v for k, v in usable.items() if not k.startswith(prefix)}
    heads = tuple(head_prefixes)
    body = [name for name in wanted if not name.startswith(heads)]
    unused = [name for name in tensors if name not in wanted]
    unused_heads = [n for n in unused if n.startswith((*heads, *BERT.head_prefixes))]
    _refuse(
        missing=[name for name in body if name not in tensors],
        unexpected=sorted(set(unused) - set(unused_heads)),
        misshapen=[
            f"{name} {list(tensors[name].shape)} for {list(wanted[name])}"
            for name in body
            if name in tensors and tensors[name].shape != tuple(wanted[name])
        ],
    )
    kinds = sorted({name.split(".")[0] for name in unused_heads})
    notes = [f"unused head {', '.join(f'{kind}.*' for kind in kinds)}"] if kinds else []
    return MatchedWeights(usable, "; ".join(reasons) or None, notes)


def _head_problem(tensors: Tensors, wanted: Mapping[str, Sequence[int]], prefix: str) -> str | None:
    names = [name for name in wanted if name.startswith(prefix)]
    absent = [name for name in names if name not in tensors]
    if names and len(absent) == len(names):
        return f"the weights have no {prefix.rstrip('.')}"
    if absent:
        raise WeightsError(
            f"the weights lack {', '.join(absent)}, though the rest of the head is there: the file "
            "is damaged or was edited; copy it again"
        )
    for name in names:
        if tensors[name].shape != tuple(wanted[name]):
            return f"{name} is {list(tensors[name].shape)}, not {list(wanted[name])}"
    return None


def _shown(name: str) -> str:
    """A name out of a file for a message: cut where it is long, nothing that moves a cursor."""
    return name[:120].encode("unicode_escape").decode()


def _refuse(**problems: list[str]) -> None:
    """Up to five names of each kind of problem, and how many there are."""
    parts = []
    for kind, names in problems.items():
        if names:
            more = ", …" if len(names) > 5 else ""
            parts.append(f"{len(names)} {kind} ({', '.join(map(_shown, names[:5]))}{more})")
    if parts:
        raise WeightsError(f"the weights do not fit the model: {'; '.join(parts)}")


def _agreed(config: ModelConfig, tensors: Tensors, file: Path) -> dict[str, Any]:
    """The configuration's values, where the weights have the sizes it says."""
    layers = {name.split(".")[3] for name in tensors if name.startswith("bert.encoder.layers.")}
    found = {"num_hidden_layers": len(layers)}
    for setting, name, axis in (
        ("vocab_size", "embeddings.word_embeddings.weight", 0),
        ("hidden_size", "embeddings.word_embeddings.weight", 1),
        ("max_position_embeddings", "embeddings.position_embeddings.weight", 0),
        ("type_vocab_size", "embeddings.token_type_embeddings.weight", 0),
        ("intermediate_size", "encoder.layers.0.linear1.weight", 1),
    ):
        tensor = tensors.get(BERT.prefix + name)
        if tensor is None or tensor.ndim != 2:
            raise WeightsError(f"{file} has no usable {BERT.prefix}{name}: it is no whole BERT")
        found[setting] = tensor.shape[axis]
    values, head = dict(config.values), tensors.get("classifier.weight")
    if "type_vocab_size" in config.silent:
        values["type_vocab_size"] = found["type_vocab_size"]
    classes = None if head is None else head.shape[-1] if head.ndim else 0
    if values["labels"] and classes not in (None, len(values["labels"])):
        raise WeightsError(
            f"{config.path}: id2label names {len(values['labels'])} classes, but the classifier in "
            f"{file.name} has {classes}: correct id2label"
        )
    differing = [name for name, size in found.items() if values[name] != size]
    if differing:
        said = ", ".join(f"{name} {values[name]} but {found[name]}" for name in differing)
        raise WeightsError(
            f"{config.path} and {file.name} are of different models ({said} in the weights): put "
            "together files of one model"
        )
    return values


def _as_float32(tensors: Tensors, file: Path) -> tuple[Tensors, list[str]]:
    out: Tensors = {}
    notes: dict[str, None] = {}  # ordered, each once
    for name, value in tensors.items():
        if value.dtype == np.uint16:  # bfloat16: the upper half of a float32
            out[name] = (value.astype(np.uint32) << 16).view(np.float32)
            notes["bfloat16 widened to float32"] = None
        elif value.dtype.kind != "f":
            raise WeightsError(
                f"{file}: {_shown(name)} is {value.dtype}; quantised weights cannot be trained: "
                "use float32"
            )
        else:
            out[name] = value.astype(np.float32, copy=False)
            if value.dtype.itemsize != 4:
                verb = "widened" if value.dtype.itemsize < 4 else "narrowed"
                notes[f"{value.dtype} {verb} to float32"] = None
    return out, list(notes)


def _read_safetensors(path: Path) -> Tensors:
    """As stored; bfloat16, which numpy lacks, as its bits in uint16."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
            tensors = {k: file.get_tensor(k) for k, kind in kinds.items() if kind != "BF16"}
    except (SafetensorError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({error}): copy or download it again") from error
    return tensors | _bfloat16_bits(path, [k for k, kind in kinds.items() if kind == "BF16"])


def _bfloat16_bits(path: Path, names: Sequence[str]) -> Tensors:
    # 8 bytes: length n; n bytes JSON {name: {shape, data_offsets}}; then the data. The library
    # has checked the offsets against the file's size.
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


def _read_tensors(folder: Path) -> tuple[Tensors, Path, list[str]]:
    present = [name for name in _READERS if (folder / name).is_file()]
    if not present:
        unread = [name for name in _UNREAD if (folder / name).is_file()]
        why = f" ({unread[0]} is not read here: convert it)" if unread else ""
        looked = ", ".join(name for name in _READERS if not name.endswith("index.json"))
        raise WeightsError(f"{folder} has no weights{why}: looked for {looked}")
    path, read = folder / present[0], _READERS[present[0]]
    tensors: Tensors = {}
    for part in _shards(path) if path.suffix == ".json" else [path]:
        tensors |= read(real_file(part))
    for name, value in tensors.items():
        if not isinstance(value, np.ndarray):
            raise WeightsError(
                f"{path}: {_shown(name)} is not a tensor, so this is not a model's state"
            )
    return tensors, path, [f"{name} beside {present[0]} not read" for name in present[1:]]


def _shards(index: Path) -> list[Path]:
    weight_map = read_object(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise WeightsError(f"{index} has no weight_map: download the folder again")
    parts = [index.parent / name for name in sorted({str(v) for v in weight_map.values()})]
    for part in parts:
        if part.parent != index.parent or not part.is_file():
            raise WeightsError(f"{index} names {part.name}, which is not beside it: download it")
    return parts
