"""Converts weights between Hugging Face's and Paddle's names and layouts, by a table for each model
family. Imports neither paddle nor torch.

Each library has its own names for the parameters of BERT. `torch.nn.Linear` stores its weight as
[out, in], `paddle.nn.Linear` as [in, out]; embeddings, LayerNorm and biases are the same in both.
The MLM head's decoder is the exception: PaddleNLP stores its weight as [vocab, hidden], which
it shares with the word embeddings.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError

Tensors = dict[str, np.ndarray]

PADDLE = "paddle"
HUGGING_FACE = "huggingface"


@dataclass(frozen=True)
class Rule:
    """A layer's or parameter's name in both libraries; `{}` stands for the number of a layer."""

    hf: str
    paddle: str
    linear: bool = False  # a Linear layer, whose weight is transposed


@dataclass(frozen=True)
class Family:
    """The names of a model family's weights.

    prefix: what the encoder's names begin with. encoder: rules for names without the prefix. heads:
    rules for full names. markers: for each format, a tensor name that only this format has.
    head_prefixes: what the names of BERT's heads begin with. buffers: tensors that are stored but
    not trained. renamed: Paddle's former names and the current ones. tied: (name, source) of
    parameters that share the values of `source` and may be missing from a file.
    """

    prefix: str
    markers: dict[str, str]
    encoder: tuple[Rule, ...]
    heads: tuple[Rule, ...]
    head_prefixes: tuple[str, ...]
    buffers: tuple[str, ...]
    renamed: dict[str, str]
    tied: tuple[tuple[str, str], ...]


_HF_LAYER, _PADDLE_LAYER = "encoder.layer.{}.", "encoder.layers.{}."
_LAYER_PARTS = (
    Rule("attention.self.query", "self_attn.q_proj", linear=True),
    Rule("attention.self.key", "self_attn.k_proj", linear=True),
    Rule("attention.self.value", "self_attn.v_proj", linear=True),
    Rule("attention.output.dense", "self_attn.out_proj", linear=True),
    Rule("attention.output.LayerNorm", "norm1"),
    Rule("intermediate.dense", "linear1", linear=True),
    Rule("output.dense", "linear2", linear=True),
    Rule("output.LayerNorm", "norm2"),
)

BERT = Family(
    prefix="bert.",
    markers={
        HUGGING_FACE: "encoder.layer.{}.attention.self.query.weight",
        PADDLE: "encoder.layers.{}.self_attn.q_proj.weight",
    },
    encoder=(
        Rule("embeddings.word_embeddings", "embeddings.word_embeddings"),
        Rule("embeddings.position_embeddings", "embeddings.position_embeddings"),
        Rule("embeddings.token_type_embeddings", "embeddings.token_type_embeddings"),
        Rule("embeddings.LayerNorm", "embeddings.layer_norm"),
        Rule("pooler.dense", "pooler.dense", linear=True),
        *(Rule(_HF_LAYER + r.hf, _PADDLE_LAYER + r.paddle, r.linear) for r in _LAYER_PARTS),
    ),
    heads=(
        Rule("classifier", "classifier", linear=True),
        Rule("cls.predictions.transform.dense", "cls.predictions.transform", linear=True),
        Rule("cls.predictions.transform.LayerNorm", "cls.predictions.layer_norm"),
        Rule("cls.predictions.decoder", "cls.predictions.decoder"),
        Rule("cls.predictions.bias", "cls.predictions.decoder_bias"),
        Rule("cls.seq_relationship", "cls.seq_relationship", linear=True),
    ),
    head_prefixes=("classifier.", "cls.", "qa_outputs."),
    buffers=("embeddings.position_ids", "embeddings.token_type_ids"),
    # In PaddleNLP 2.0 the decoder's weight was a parameter of the head itself.
    renamed={"cls.predictions.decoder_weight": "cls.predictions.decoder.weight"},
    tied=(
        ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("cls.predictions.decoder.bias", "cls.predictions.decoder_bias"),
        ("cls.predictions.decoder_bias", "cls.predictions.decoder.bias"),
    ),
)

# Keys of a model's state dict in a training checkpoint, whose other entries are not read.
_STATE_DICTS = ("state_dict", "model_state_dict", "model", "module", "net", "network")
# Names under which programs keep a BERT inside another module, in front of its tensors' names:
# torch's DataParallel and compile, Lightning, sentence-transformers and usual attributes.
_WRAPPERS = frozenset(
    (
        *("module", "model", "_orig_mod", "_fsdp_wrapped_module", "base_model", "auto_model"),
        *("bert", "bert_model", "bert_layer", "encoder", "text_encoder", "text_model", "backbone"),
        *("transformer", "pretrained_model", "language_model", "lm", "plm", "net", "network"),
        "student",
    )
)

# Patterns of tensor names of other architectures, for error messages.
_OTHER_ARCHITECTURES = {
    "albert": r"albert_layer_groups",
    "distilbert": r"(^|\.)transformer\.layer\.\d+\.attention\.q_lin",
    "mpnet": r"attention\.attn\.q\.",
    "deberta": r"attention\.self\.query_proj",
    "gpt2": r"(^|\.)h\.\d+\.attn\.c_attn",
    "t5": r"encoder\.block\.\d+\.layer",
    "bart": r"(^|\.)decoder\.layers\.\d+\.encoder_attn",
    "bert with PaddleNLP's `fuse` layers": r"fused_attn\.qkv_weight",
}
_OTHER_PREFIX = r"^(\w+)\.(embeddings|encoder)\."


def _template(name: str) -> tuple[str, list[str]]:
    """Replace a layer's number and return it: `a.3.b` -> (`a.{}.b`, ["3"])."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "{}", name), re.findall(r"(?<=\.)(\d+)(?=\.)", name)


def find_state_dict(content: Mapping[str, Any]) -> str | None:
    """The key under which a training checkpoint keeps the model's state dict; None for a state dict
    itself."""
    return next((key for key in _STATE_DICTS if isinstance(content.get(key), dict)), None)


def strip_wrapper(tensors: Tensors, family: Family = BERT) -> tuple[Tensors, list[str]]:
    """Take off what all names of the encoder begin with when it was saved as a part of another
    module, as in module.bert.encoder.layer.0...; also returns notes.

    Other tensors may lack it. Raises WeightsError for two encoders in one file.
    """
    markers = "|".join(
        re.escape(marker).replace(r"\{\}", r"\d+") for marker in family.markers.values()
    )
    pattern = re.compile(rf"((?:\w+\.)*?)(?:{re.escape(family.prefix)})?(?:{markers})")
    found = {match[1] for name in tensors if (match := pattern.fullmatch(name))}
    known = sorted(prefix for prefix in found if _is_wrapper(prefix))
    if len(known) > 1:
        raise WeightsError(
            f"the weights contain several BERT models ({', '.join(map(repr, known[:3]))} begin "
            "their names): save only one of them"
        )
    if not known or known == [""]:
        return tensors, []
    out = {name.removeprefix(known[0]): array for name, array in tensors.items()}
    if len(out) < len(tensors):
        return tensors, []
    return out, [f"prefix {known[0]} taken off"]


def _is_wrapper(prefix: str) -> bool:
    parts = prefix.split(".")[:-1]
    return all(part in _WRAPPERS or part.isdecimal() for part in parts)


def detect_format(names: Iterable[str], family: Family = BERT) -> str | None:
    """PADDLE or HUGGING_FACE, judging by the tensor names; None for neither or both."""
    templates = {_template(name)[0].removeprefix(family.prefix) for name in names}
    formats = [name for name, marker in family.markers.items() if marker in templates]
    return formats[0] if len(formats) == 1 else None


def detect_other_architecture(names: Iterable[str], family: Family = BERT) -> str | None:
    """The architecture, not BERT, that has such tensor names; None if none is recognized."""
    names = list(names)
    for architecture, pattern in _OTHER_ARCHITECTURES.items():
        if any(re.search(pattern, name) for name in names):
            return architecture
    for name in names:
        match = re.match(_OTHER_PREFIX, name)
        if match and not name.startswith(family.prefix):
            return match[1]
    return None


def _add_prefix(tensors: Tensors, family: Family) -> tuple[Tensors, list[str]]:
    """Add the family's prefix to the encoder's names that lack it; also returns notes. Raises
    WeightsError for a name that the file has both with and without the prefix."""
    unprefixed = [n for n in tensors if n.startswith(("embeddings.", "encoder.", "pooler."))]
    if duplicates := [name for name in unprefixed if family.prefix + name in tensors]:
        raise WeightsError(
            f"the weights contain both {duplicates[0]} and {family.prefix}{duplicates[0]}: two "
            "models in one file; save only one of them"
        )
    prefixed = {name: family.prefix + name for name in unprefixed}
    notes = [f"prefix {family.prefix} added"] if unprefixed else []
    return {prefixed.get(name, name): array for name, array in tensors.items()}, notes


def _drop_buffers(tensors: Tensors, family: Family) -> tuple[Tensors, list[str]]:
    """Remove the family's buffers; also returns notes."""
    skipped = [n for n in tensors if n.removeprefix(family.prefix) in family.buffers]
    kept = {name: array for name, array in tensors.items() if name not in skipped}
    return kept, [f"{name.rpartition('.')[2]} skipped" for name in skipped]


def _rename_gamma_beta(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """Rename LayerNorm's `gamma` and `beta`, TensorFlow's names, to `weight` and `bias`; also
    returns notes."""
    new_names = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
    out = {
        re.sub(r"LayerNorm\.(gamma|beta)$", lambda match: new_names[match[0]], name): array
        for name, array in tensors.items()
    }
    return out, ["gamma/beta renamed"] if out.keys() != tensors.keys() else []


def _convert(tensors: Tensors, family: Family, to_hugging_face: bool) -> Tensors:
    """Rename tensors by the family's rules and transpose the weights of Linear layers."""
    rules: dict[str, tuple[str, bool]] = {}
    for prefix, group in ((family.prefix, family.encoder), ("", family.heads)):
        for rule in group:
            source, target = (rule.paddle, rule.hf) if to_hugging_face else (rule.hf, rule.paddle)
            rules[prefix + source] = (prefix + target, rule.linear)
    out: Tensors = {}
    for name, array in tensors.items():
        template, numbers = _template(name)
        layer, _, part = template.rpartition(".")
        if template in rules:  # a rule for a parameter, such as cls.predictions.bias
            new_name = rules[template][0]
        elif layer in rules:  # a rule for the layer, whose parameter is `part`
            target, linear = rules[layer]
            new_name = f"{target}.{part}"
            if linear and part == "weight" and array.ndim == 2:
                array = np.ascontiguousarray(array.T)
        else:  # no rule: the name stays, and has no {} to fill
            new_name, numbers = name, []
        out[new_name.format(*numbers) if numbers else new_name] = array
    return out


def to_paddle(tensors: Tensors, family: Family = BERT) -> tuple[Tensors, list[str]]:
    """Convert Hugging Face tensors to Paddle's names and layout; also returns notes.

    Takes names with or without the family's prefix, LayerNorm as gamma/beta or weight/bias.
    Linear weights [out, in] become [in, out]; buffers are dropped. A name without a rule is left
    unchanged, for the caller to check.
    """
    tensors, renamed = _rename_gamma_beta(tensors)
    tensors, prefixed = _add_prefix(tensors, family)
    tensors, skipped = _drop_buffers(tensors, family)
    notes = ["Hugging Face names converted", *renamed, *prefixed, *skipped]
    return _convert(tensors, family, to_hugging_face=False), notes


def normalize_paddle(tensors: Tensors, family: Family = BERT) -> tuple[Tensors, list[str]]:
    """Rename a Paddle file's tensors to the current names, with the prefix; also returns notes."""
    out = {family.renamed.get(name, name): array for name, array in tensors.items()}
    notes = ["names of PaddleNLP 2.0 renamed"] if out.keys() != tensors.keys() else []
    out, prefixed = _add_prefix(out, family)
    out, skipped = _drop_buffers(out, family)
    return out, [*notes, *prefixed, *skipped]


def fill_tied_weights(tensors: Tensors, family: Family = BERT) -> tuple[Tensors, list[str]]:
    """Add the parameters that are missing because they share another's values; also returns notes.
    Only heads of which the file has another parameter are filled in: an encoder gets none."""
    out = dict(tensors)
    for name, source in family.tied:
        head = ".".join(name.split(".")[:2]) + "."  # cls.predictions.
        if name not in out and source in out and any(n.startswith(head) for n in tensors):
            out[name] = out[source]
    return out, ["tied decoder filled in"] if len(out) > len(tensors) else []


def to_hf(tensors: Tensors, family: Family = BERT) -> Tensors:
    """Convert Paddle tensors (with the family's prefix) to Hugging Face's names, Linear weights to
    [out, in]. The exact inverse of `to_paddle`."""
    return _convert(tensors, family, to_hugging_face=True)
