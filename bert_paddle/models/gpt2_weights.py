"""Reads GPT-2's weights in every layout under Paddle's names, and writes Hugging Face's. Imports
neither paddle nor torch.

    Hugging Face                      here, as in PaddleNLP
    transformer.wte.weight            gpt.embeddings.word_embeddings.weight
    transformer.wpe.weight            gpt.embeddings.position_embeddings.weight
    transformer.h.0.ln_1              gpt.decoder.layers.0.norm1
    transformer.h.0.attn.c_attn       gpt.decoder.layers.0.self_attn.q_proj, k_proj, v_proj
    transformer.h.0.attn.c_proj       gpt.decoder.layers.0.self_attn.out_proj
    transformer.h.0.ln_2              gpt.decoder.layers.0.norm2
    transformer.h.0.mlp.c_fc          gpt.decoder.layers.0.linear1
    transformer.h.0.mlp.c_proj        gpt.decoder.layers.0.linear2
    transformer.ln_f                  gpt.decoder.norm

GPT-2 in Hugging Face stores weights as [in, out], as Paddle does: nothing is transposed. The output
layer shares the word embeddings and is not stored.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.gpt2_config import Gpt2Config, read_gpt2_config
from bert_paddle.models.load_weights import as_float32, raise_if_mismatched
from bert_paddle.models.weight_files import read_tensors, shorten
from bert_paddle.models.weight_names import HUGGING_FACE, PADDLE, Tensors

WORD_EMBEDDINGS = "gpt.embeddings.word_embeddings.weight"
POSITION_EMBEDDINGS = "gpt.embeddings.position_embeddings.weight"
_HF_PREFIX, _PADDLE_PREFIX = "transformer.", "gpt."
_OUTPUT_NAMES = ("lm_head.weight", "lm_head.decoder.weight")
_BUFFERS = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")
_HF_NAMES = {
    "wte": "embeddings.word_embeddings",
    "wpe": "embeddings.position_embeddings",
    "ln_f": "decoder.norm",
}
_HF_LAYER_NAMES = {
    "ln_1": "norm1",
    "attn.c_proj": "self_attn.out_proj",
    "ln_2": "norm2",
    "mlp.c_fc": "linear1",
    "mlp.c_proj": "linear2",
}
_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
_HF_LAYER = re.compile(r"h\.(\d+)\.(.+)\.(weight|bias)")
_PADDLE_LAYER = re.compile(r"gpt\.decoder\.layers\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True)
class LoadedGpt2:
    """The content of a model folder. tensors: float32 under Paddle's names; format: that of the
    file, "paddle" or "huggingface"; notes: the conversions that were made."""

    config: Gpt2Config
    tensors: Tensors
    format: str
    notes: list[str]


def load_gpt2_weights(folder: Path) -> LoadedGpt2:
    """Read the configuration and the weights of a GPT-2 folder, Paddle's or Hugging Face's.

    Reads the same files as for BERT (see models.load_weights). Raises WeightsError for a folder
    that lacks a file or has another architecture, and if weights are missing, misshapen or not
    known: none stays random because its name was not found.
    """
    config = read_gpt2_config(folder)
    tensors, file, notes = read_tensors(folder)
    names = {name.removeprefix(_HF_PREFIX).removeprefix(_PADDLE_PREFIX) for name in tensors}
    if "wte.weight" in names:
        weights_format, prefix = HUGGING_FACE, _HF_PREFIX
        notes.append("Hugging Face names converted")
    elif any(name.startswith("decoder.layers.0.") for name in names):
        weights_format, prefix = PADDLE, _PADDLE_PREFIX
    else:
        first = shorten(next(iter(tensors), "none"))
        raise WeightsError(f"{file} has no GPT-2 weights: the first tensor is '{first}'")
    tensors, skipped = _without_prefix(tensors, prefix)
    tensors, widened = as_float32(tensors, file)
    output = [tensors.pop(name) for name in _OUTPUT_NAMES if name in tensors]
    if weights_format == HUGGING_FACE:
        tensors = _from_hugging_face(tensors)
    else:
        tensors = _from_paddle(tensors, config.num_attention_heads)
    _check_tied(output, tensors, file)
    _check_shapes(config, tensors)
    return LoadedGpt2(config, tensors, weights_format, [*notes, *skipped, *widened])


def gpt2_shapes(config: Gpt2Config) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's parameters by name, in the order of computation."""
    h, inner = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {
        WORD_EMBEDDINGS: (config.vocab_size, h),
        POSITION_EMBEDDINGS: (config.max_position_embeddings, h),
    }
    for number in range(config.num_hidden_layers):
        prefix = f"gpt.decoder.layers.{number}."
        norm: dict[str, tuple[int, ...]] = {"weight": (h,), "bias": (h,)}
        parts: dict[str, dict[str, tuple[int, ...]]] = {
            "norm1": norm,
            **{
                f"self_attn.{name}": {"weight": (h, h), "bias": (h,)}
                for name in (*_PROJECTIONS, "out_proj")
            },
            "norm2": norm,
            "linear1": {"weight": (h, inner), "bias": (inner,)},
            "linear2": {"weight": (inner, h), "bias": (h,)},
        }
        for part, parameters in parts.items():
            shapes |= {f"{prefix}{part}.{name}": shape for name, shape in parameters.items()}
    return shapes | {"gpt.decoder.norm.weight": (h,), "gpt.decoder.norm.bias": (h,)}


def to_hugging_face(tensors: Mapping[str, np.ndarray]) -> Tensors:
    """The tensors under Hugging Face's names, with `transformer.` and without the tied
    lm_head.weight, as transformers writes them: the inverse of loading."""
    hf_names = {paddle: hf for hf, paddle in _HF_NAMES.items()}
    hf_layer_names = {paddle: hf for hf, paddle in _HF_LAYER_NAMES.items()}
    out: Tensors = {}
    for name, value in tensors.items():
        match = _PADDLE_LAYER.fullmatch(name)
        if match is None:
            layer, _, parameter = name.removeprefix(_PADDLE_PREFIX).rpartition(".")
            out[f"{_HF_PREFIX}{hf_names[layer]}.{parameter}"] = value
            continue
        number, part, parameter = match.groups()
        prefix = f"{_HF_PREFIX}h.{number}."
        if part in hf_layer_names:
            out[f"{prefix}{hf_layer_names[part]}.{parameter}"] = value
        elif part == "self_attn.q_proj":
            base = name.removesuffix(f"q_proj.{parameter}")
            projections = [tensors[f"{base}{p}.{parameter}"] for p in _PROJECTIONS]
            out[f"{prefix}attn.c_attn.{parameter}"] = np.concatenate(projections, axis=-1)
    return out


def _without_prefix(tensors: Tensors, prefix: str) -> tuple[Tensors, list[str]]:
    """The tensors without the prefix, and without buffers; also returns notes."""
    out: Tensors = {}
    for name, value in tensors.items():
        short = name.removeprefix(prefix)
        if short in out:
            raise WeightsError(
                f"the weights contain both {short} and {prefix}{short}: two models in one file"
            )
        out[short] = value
    notes = [] if any(name.startswith(prefix) for name in tensors) else [f"prefix {prefix} added"]
    buffers = [name for name in out if _BUFFERS.fullmatch(name)]
    kept = {name: value for name, value in out.items() if name not in buffers}
    return kept, notes + ["attn.bias buffers skipped"] * bool(buffers)


def _from_hugging_face(tensors: Tensors) -> Tensors:
    """Names without prefix to Paddle's; c_attn is split. Unknown names stay as they are."""
    out: Tensors = {}
    for name, value in tensors.items():
        match = _HF_LAYER.fullmatch(name)
        layer, _, parameter = name.rpartition(".")
        if match is None:
            out[f"gpt.{_HF_NAMES[layer]}.{parameter}" if layer in _HF_NAMES else name] = value
            continue
        number, part, parameter = match.groups()
        prefix = f"gpt.decoder.layers.{number}."
        if part in _HF_LAYER_NAMES:
            out[f"{prefix}{_HF_LAYER_NAMES[part]}.{parameter}"] = value
        elif part == "attn.c_attn" and value.ndim and value.shape[-1] % 3 == 0:
            for projection, third in zip(_PROJECTIONS, np.split(value, 3, axis=-1), strict=True):
                contiguous = np.ascontiguousarray(third)
                out[f"{prefix}self_attn.{projection}.{parameter}"] = contiguous
        else:
            out[name] = value
    return out


def _from_paddle(tensors: Tensors, heads: int) -> Tensors:
    """Names without prefix to those with it; a fused qkv_proj is split by heads."""
    out: Tensors = {}
    for name, value in tensors.items():
        if ".self_attn.qkv_proj." in name and value.ndim and value.shape[-1] % (3 * heads) == 0:
            # Of each head: its query, key and value columns.
            by_head = value.reshape(*value.shape[:-1], heads, 3, -1)
            for i, projection in enumerate(_PROJECTIONS):
                part = by_head[..., i, :].reshape(*value.shape[:-1], -1)
                split_name = name.replace("qkv_proj", projection)
                out[_PADDLE_PREFIX + split_name] = np.ascontiguousarray(part)
        else:
            out[_PADDLE_PREFIX + name] = value
    return out


def _check_tied(output: Sequence[np.ndarray], tensors: Tensors, file: Path) -> None:
    """Raise WeightsError if the output layer has values of its own."""
    embeddings = tensors.get(WORD_EMBEDDINGS)
    for value in output:
        if embeddings is not None and not np.array_equal(value, embeddings):
            raise WeightsError(
                f"{file}: lm_head.weight is not the word embeddings: a GPT-2 with an output layer "
                "of its own is not supported"
            )


def _check_shapes(config: Gpt2Config, tensors: Tensors) -> None:
    shapes = gpt2_shapes(config)
    raise_if_mismatched(
        missing=[name for name in shapes if name not in tensors],
        unexpected=sorted(tensors.keys() - shapes.keys()),
        misshapen=[
            f"{name} {list(tensors[name].shape)} for {list(shape)}"
            for name, shape in shapes.items()
            if name in tensors and tensors[name].shape != shape
        ],
    )
