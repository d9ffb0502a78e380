"""Reads and checks a GPT-2's configuration, Hugging Face's or PaddleNLP's. Does not import paddle.

Both libraries name the same sizes differently; this package writes PaddleNLP's names.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import WeightsError
from bert_paddle.models.model_config import check_readable, read_json_object

CONFIG_FILE = "config.json"
MODEL_TYPE, ARCHITECTURE = "gpt2", "GPTForCausalLM"
# {our name: (Hugging Face's, the value where the file has none)}; None: the file must have it.
_SETTINGS: dict[str, tuple[str, Any]] = {
    "vocab_size": ("vocab_size", None),
    "hidden_size": ("n_embd", None),
    "num_hidden_layers": ("n_layer", None),
    "num_attention_heads": ("n_head", None),
    "max_position_embeddings": ("n_positions", None),
    "embedding_dropout_prob": ("embd_pdrop", 0.1),
    "attention_probs_dropout_prob": ("attn_pdrop", 0.1),
    "hidden_dropout_prob": ("resid_pdrop", 0.1),
    "initializer_range": ("initializer_range", 0.02),
    "layer_norm_eps": ("layer_norm_epsilon", 1e-5),
}
_TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
_ACTIVATIONS = (*_TANH_GELU, "gelu")
_MAX_SIZE = 10**7  # as for BERT: a larger one is a mistake or malicious
_MAX_EPSILON = 1e-3  # the limit of Paddle's LayerNorm
# Variants of GPT-2 that are not computed here, and the values that are.
_VARIANTS: dict[str, tuple[Any, ...]] = {
    "scale_attn_weights": (None, True),
    "scale_attn_by_inverse_layer_idx": (None, False),
    "add_cross_attention": (None, False),
    "tie_word_embeddings": (None, True),
    "normalize_before": (None, True),
}
PUBLISHED_SIZES = {  # layers, width and heads (Radford et al. 2019)
    "gpt2": (12, 768, 12),
    "gpt2-medium": (24, 1024, 16),
    "gpt2-large": (36, 1280, 20),
    "gpt2-xl": (48, 1600, 25),
}


@dataclass(frozen=True)
class Gpt2Config:
    """The settings of a GPT-2, by PaddleNLP's names.

    vocab_size: rows of the word embeddings; the vocabulary may be a little smaller. activation:
    "gelu_new" (by tanh, as GPT-2) or "gelu" (by erf). embedding_dropout_prob: of the sum of
    embeddings; hidden_dropout_prob: of the output of attention and feed-forward layers.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    intermediate_size: int
    activation: str = "gelu_new"
    embedding_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    hidden_dropout_prob: float = 0.1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5

    def to_json_string(self) -> str:
        """The settings as the content of config.json."""
        values = asdict(self)
        activation = values.pop("activation")
        # PaddleNLP has only the GELU by tanh, under this name.
        values |= {"activation_function": activation, "hidden_activation": "gelu"}
        values |= {"model_type": MODEL_TYPE, "type_vocab_size": 1}
        return json.dumps(values)

    def as_hugging_face(self) -> dict[str, Any]:
        """The content of a Hugging Face config.json."""
        values = asdict(self)
        named = {hf: values[name] for name, (hf, _) in _SETTINGS.items()}
        return {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": MODEL_TYPE,
            "activation_function": self.activation,
            "n_inner": self.intermediate_size,
            "tie_word_embeddings": True,
            **named,
        }


def published_config(name: str) -> Gpt2Config | None:
    """The configuration of gpt2, gpt2-medium, gpt2-large or gpt2-xl; None for other names."""
    if name not in PUBLISHED_SIZES:
        return None
    layers, width, heads = PUBLISHED_SIZES[name]
    return Gpt2Config(50257, width, layers, heads, 1024, 4 * width)


def read_gpt2_config(folder: Path) -> Gpt2Config:
    """The configuration of a model folder. Raises WeightsError if it is missing or malformed, or
    describes another architecture or a variant that is not computed here."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise WeightsError(f"{folder} has no {CONFIG_FILE}: is this a model folder?")
    return read_gpt2_config_file(path)


def read_gpt2_config_file(path: Path) -> Gpt2Config:
    """`read_gpt2_config` for a configuration file on its own. Raises WeightsError likewise."""
    raw = read_json_object(check_readable(path))
    check_is_gpt2(raw, path)
    values: dict[str, Any] = {}
    for name, (hf_name, default) in _SETTINGS.items():
        given = [raw[key] for key in (name, hf_name) if raw.get(key) is not None]
        if not given and default is None:
            raise WeightsError(f"{path} lacks {hf_name}: it is not a GPT-2 configuration")
        values[name] = given[0] if given else default
    inner = raw.get("intermediate_size") or raw.get("n_inner")  # null: four times the width
    width = values["hidden_size"]
    if inner is None and type(width) is int:
        inner = 4 * width
    values["intermediate_size"] = inner
    # A file of PaddleNLP names no function: it has only one.
    values["activation"] = raw.get("activation_function") or "gelu_new"
    config = Gpt2Config(**values)
    problems = [
        f"{name} is {_shorten(raw[name])}, which is not supported"
        for name, accepted in _VARIANTS.items()
        if raw.get(name) not in accepted
    ]
    check_config(config, str(path), problems)
    if config.activation in _TANH_GELU:
        config = Gpt2Config(**values | {"activation": "gelu_new"})
    return config


def is_gpt2(raw: Mapping[str, Any]) -> bool:
    """Whether a configuration is a GPT-2's."""
    model_type = raw.get("model_type") or (MODEL_TYPE if _class_of(raw)[:3] == "GPT" else None)
    return model_type in (MODEL_TYPE, "gpt") or model_type is None and "n_embd" in raw


def _class_of(raw: Mapping[str, Any]) -> str:
    """The name of the model's class, or ""."""
    names = raw.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def check_is_gpt2(raw: Mapping[str, Any], path: Path) -> None:
    """Raise WeightsError for the configuration of another architecture."""
    if is_gpt2(raw):
        return
    kind = _shorten(raw.get("model_type") or _class_of(raw) or "of no known kind")
    raise WeightsError(
        f"{path}: the model is {kind}, but gpt2 is needed: give the folder of a GPT-2"
    )


def check_config(config: Gpt2Config, source: str, problems: list[str] | None = None) -> None:
    """Raise WeightsError, naming `source`, if no GPT-2 can be built with these settings. problems:
    those found before."""
    problems = list(problems or ())
    values = asdict(config)
    sizes = [name for name, (_, default) in _SETTINGS.items() if default is None]
    for name in (*sizes, "intermediate_size"):
        # type(), since isinstance() accepts True and False as numbers.
        if type(values[name]) is not int or not 1 <= values[name] <= _MAX_SIZE:
            shown = _shorten(values[name])
            problems.append(f"{name} is {shown}, but must be an integer from 1 to {_MAX_SIZE}")
    limits = {name: 1.0 for name, (_, default) in _SETTINGS.items() if default is not None}
    for name, limit in (limits | {"layer_norm_eps": _MAX_EPSILON}).items():
        if type(values[name]) not in (int, float) or not 0 <= values[name] <= limit:
            problems.append(
                f"{name} is {_shorten(values[name])}, but must be a number from 0 to {limit:g}"
            )
    if not problems and config.hidden_size % config.num_attention_heads:
        problems.append(
            f"hidden_size {config.hidden_size} is not divisible by num_attention_heads "
            f"{config.num_attention_heads}"
        )
    if config.activation not in _ACTIVATIONS:
        supported = ", ".join(_ACTIVATIONS)
        problems.append(
            f"activation_function {_shorten(config.activation)} is not supported, only {supported}"
        )
    if problems:
        raise WeightsError(f"{source}: {'; '.join(problems)}")


def _shorten(value: Any) -> str:
    """A value's repr, truncated for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
