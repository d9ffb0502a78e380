"""Reads a model folder's configuration, and its tensors under Paddle's names, without paddle.

Whether the weights are Paddle's or Hugging Face's is detected from the tensor names, not from the
file's name or metadata. Any mismatch is a WeightsError: no weight stays random because its name
was not found. Only what other models of BERT's family lack is drawn anew, and said: a head, and the
pooler, which models for masked words, tokens or answers do not have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import limits
from bert_paddle.common.errors import WeightsError
from bert_paddle.models.model_config import ModelConfig, check_classifier_kind, read_config
from bert_paddle.models.weight_files import read_tensors, shorten
from bert_paddle.models.weight_names import (
    BERT,
    HUGGING_FACE,
    Tensors,
    detect_format,
    detect_other_architecture,
    fill_tied_weights,
    normalize_paddle,
    strip_wrapper,
    to_paddle,
)

# Parts of class names of models whose `classifier` is not a sequence classification head.
_OTHER_TASKS = ("TokenClassification", "MultipleChoice", "QuestionAnswering")
_POOLER = BERT.prefix + "pooler."
# Heads that read the pooler's output: without one, they are of another kind of model.
_HEADS_OF_POOLER = ("classifier.", "cls.seq_relationship.")


@dataclass(frozen=True)
class LoadedWeights:
    """The content of a model folder.

    config: settings by BertConfig's names, and "labels": the class names in the order of the
    logits, or None. tensors: float32 under Paddle's names, Linear weights [in, out]. format: that
    of the file, "paddle" or "huggingface". notes: the conversions that were made. head_problem: why
    the file's classifier is not among the tensors, if it contradicts the configuration.
    """

    config: dict[str, Any]
    tensors: Tensors
    format: str
    notes: list[str]
    head_problem: str | None = None


@dataclass(frozen=True)
class MatchedWeights:
    """The result of matching a checkpoint's tensors with a model's parameters.

    tensors: those to load into the model. new_head_reason: why a head keeps its initial values;
    None if the heads are loaded, too. notes: the heads in the file that are not used, and a pooler
    that keeps its initial values.
    """

    tensors: Tensors
    new_head_reason: str | None
    notes: list[str]


def load_weights(folder: Path) -> LoadedWeights:
    """Read the configuration and the weights of a BERT folder, Paddle's or Hugging Face's.

    Reads the first of model.safetensors, model.safetensors.index.json, model_state.pdparams,
    pytorch_model.bin, pytorch_model.bin.index.json. Raises WeightsError for a folder that lacks
    a file, has another architecture, or whose configuration and weights contradict each other.
    """
    config = read_config(folder)
    tensors, file, notes = read_tensors(folder)
    if config.path.name == "model_config.json":
        notes.append("model_config.json converted")
    elif config.path.name != "config.json":
        notes.append(f"{config.path.name} read")
    tensors, unwrapped = strip_wrapper(tensors)
    weights_format = detect_format(tensors)
    if weights_format is None:
        architecture = detect_other_architecture(tensors)
        first = f"the first tensor is '{shorten(next(iter(tensors), 'none'))}'"
        reason = f"the names are those of {shorten(architecture)}" if architecture else first
        raise WeightsError(f"{file} has no BERT weights: {reason}")
    tensors, renamed = (
        to_paddle(tensors) if weights_format == HUGGING_FACE else normalize_paddle(tensors)
    )
    tensors, skipped = _skip_extra(tensors)
    tensors, widened = as_float32(tensors, file)
    tensors, tied = fill_tied_weights(tensors)
    values = _check_config_agrees(config, tensors, file)
    notes += unwrapped + renamed + skipped + widened + tied
    head_problem = None
    if any(task in config.architecture for task in _OTHER_TASKS):
        values["labels"] = None
        tensors = _without(tensors, "classifier.")
        notes.append(f"head of {config.architecture} ignored")
    elif head_problem := _other_classes(config, tensors, file):
        values["labels"] = None
        tensors = _without(tensors, "classifier.")
    limits.check("CLASSES", _outputs(tensors) or 0, str(file), WeightsError)
    return LoadedWeights(values, tensors, weights_format, notes, head_problem)


def count_outputs(folder: Path) -> int | None:
    """The number of outputs of a model's classifier; None if it has none. Raises WeightsError."""
    return _outputs(load_weights(folder).tensors)


def _without(tensors: Tensors, prefix: str) -> Tensors:
    return {name: value for name, value in tensors.items() if not name.startswith(prefix)}


def _skip_extra(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """The tensors of a BERT and its heads, and a note with the others, such as the layers that a
    distillation adds."""
    kept = {n: v for n, v in tensors.items() if n.startswith((BERT.prefix, *BERT.head_prefixes))}
    skipped = [name for name in tensors if name not in kept]
    if not skipped:
        return tensors, []
    more = f", ... ({len(skipped)})" if len(skipped) > 3 else ""
    return kept, [f"not of BERT, skipped: {', '.join(map(shorten, skipped[:3]))}{more}"]


def match_weights(
    tensors: Tensors,
    shapes: Mapping[str, Sequence[int]],
    head_prefixes: Sequence[str] = ("classifier.",),
) -> MatchedWeights:
    """Match a checkpoint's tensors with a model's parameters. shapes: {parameter name: shape}.

    A head (the names that begin with one of `head_prefixes`) that is missing or has another size is
    left out and reported, and so is a missing pooler. Raises WeightsError if a head or the pooler
    is incomplete, another parameter is missing or has another shape, or the file has tensors that
    are neither the model's nor a BERT head's.
    """
    usable = {name: value for name, value in tensors.items() if name in shapes}
    lacks_pooler = not any(name.startswith(_POOLER) for name in tensors)
    reasons = []
    for prefix in head_prefixes:
        reason = _head_mismatch(tensors, shapes, prefix)
        if reason is None and lacks_pooler and prefix in _HEADS_OF_POOLER:
            reason = f"the weights have no pooler, which the {prefix.rstrip('.')} reads"
        if reason:
            reasons.append(reason)
            usable = _without(usable, prefix)
    heads = tuple(head_prefixes)
    new = (*heads, _POOLER) if lacks_pooler else heads
    body = [name for name in shapes if not name.startswith(new)]
    unused = [name for name in tensors if name not in shapes]
    unused_heads = [n for n in unused if n.startswith((*heads, *BERT.head_prefixes))]
    raise_if_mismatched(
        missing=[name for name in body if name not in tensors],
        unexpected=sorted(set(unused) - set(unused_heads)),
        misshapen=[
            f"{name} {list(tensors[name].shape)} for {list(shapes[name])}"
            for name in body
            if name in tensors and tensors[name].shape != tuple(shapes[name])
        ],
    )
    prefixes = sorted({name.split(".")[0] for name in unused_heads})
    patterns = ", ".join(f"{prefix}.*" for prefix in prefixes)
    notes = [f"unused head {patterns}"] if prefixes else []
    if lacks_pooler:
        notes.append("new pooler (the weights have none)")
    return MatchedWeights(usable, "; ".join(reasons) or None, notes)


def _head_mismatch(
    tensors: Tensors, shapes: Mapping[str, Sequence[int]], prefix: str
) -> str | None:
    """Why a head cannot be loaded, or None. Raises WeightsError if it is incomplete."""
    names = [name for name in shapes if name.startswith(prefix)]
    missing = [name for name in names if name not in tensors]
    if names and len(missing) == len(names):
        return f"the weights have no {prefix.rstrip('.')}"
    if missing:
        raise WeightsError(
            f"the weights lack {', '.join(missing)}, though the rest of the head is there: the "
            "file is damaged or was edited; copy it again"
        )
    for name in names:
        if tensors[name].shape != tuple(shapes[name]):
            return f"{name} is {list(tensors[name].shape)}, not {list(shapes[name])}"
    return None


def raise_if_mismatched(**problems: list[str]) -> None:
    """Raise WeightsError with the count and up to five names of each kind of problem, if any."""
    parts = []
    for kind, names in problems.items():
        if names:
            more = ", …" if len(names) > 5 else ""
            parts.append(f"{len(names)} {kind} ({', '.join(map(shorten, names[:5]))}{more})")
    if parts:
        raise WeightsError(f"the weights do not match the model: {'; '.join(parts)}")


def _check_config_agrees(config: ModelConfig, tensors: Tensors, file: Path) -> dict[str, Any]:
    """The configuration's values; type_vocab_size is taken from the weights if the file has none.
    Raises WeightsError if the weights have other sizes."""
    layers = {name.split(".")[3] for name in tensors if name.startswith("bert.encoder.layers.")}
    sizes = {"num_hidden_layers": len(layers)}
    for setting, name, axis in (
        ("vocab_size", "embeddings.word_embeddings.weight", 0),
        ("hidden_size", "embeddings.word_embeddings.weight", 1),
        ("max_position_embeddings", "embeddings.position_embeddings.weight", 0),
        ("type_vocab_size", "embeddings.token_type_embeddings.weight", 0),
        ("intermediate_size", "encoder.layers.0.linear1.weight", 1),
    ):
        tensor = tensors.get(BERT.prefix + name)
        if tensor is None or tensor.ndim != 2:
            raise WeightsError(f"{file} has no usable {BERT.prefix}{name}: not a complete BERT")
        sizes[setting] = tensor.shape[axis]
    values = dict(config.values)
    if "type_vocab_size" in config.defaulted:
        values["type_vocab_size"] = sizes["type_vocab_size"]
    outputs = _outputs(tensors)
    if outputs is not None and not any(task in config.architecture for task in _OTHER_TASKS):
        check_classifier_kind(config, outputs, multi_label=True)
    differing = [name for name, size in sizes.items() if values[name] != size]
    if differing:
        details = ", ".join(f"{name} {values[name]} but {sizes[name]}" for name in differing)
        raise WeightsError(
            f"{config.path} and {file.name} belong to different models ({details} in the weights): "
            "use files of one model"
        )
    return values


def _outputs(tensors: Tensors) -> int | None:
    """The number of a classifier's outputs; None without one."""
    head = tensors.get("classifier.weight")
    return None if head is None else head.shape[-1] if head.ndim else 0


def _other_classes(config: ModelConfig, tensors: Tensors, file: Path) -> str | None:
    """Why the classifier's outputs are not the classes in the configuration; None if they are."""
    labels, outputs = config.values["labels"], _outputs(tensors)
    if not labels or outputs in (None, len(labels)):
        return None
    return (
        f"{config.path}: id2label names {len(labels)} classes, but the classifier in {file.name} "
        f"has {outputs}"
    )


def as_float32(tensors: Tensors, file: Path) -> tuple[Tensors, list[str]]:
    """Convert all tensors to float32; also returns notes. Raises WeightsError for integers."""
    out: Tensors = {}
    notes: dict[str, None] = {}  # an ordered set
    for name, value in tensors.items():
        if value.dtype == np.uint16:  # bfloat16: the upper half of a float32
            out[name] = (value.astype(np.uint32) << 16).view(np.float32)
            notes["bfloat16 widened to float32"] = None
        elif value.dtype.kind != "f":
            raise WeightsError(
                f"{file}: {shorten(name)} is {value.dtype}; quantized weights cannot be trained: "
                "use float32"
            )
        else:
            out[name] = value.astype(np.float32, copy=False)
            if value.dtype.itemsize != 4:
                verb = "widened" if value.dtype.itemsize < 4 else "narrowed"
                notes[f"{value.dtype} {verb} to float32"] = None
    return out, list(notes)
