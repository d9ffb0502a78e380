"""Hugging Face <-> Paddle names and layouts of one model family, as data. numpy only.

Both libraries hold the same BERT under two vocabularies. `torch.nn.Linear` keeps its weight as
[out, in], `paddle.nn.Linear` as [in, out]; embeddings, LayerNorm and biases are the same in both.
The decoder over the vocabulary is the exception: PaddleNLP builds it from its own transposed
Linear, so that it can share [vocab, hidden] with the word embeddings.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bert_paddle.common.errors import WeightsError

Tensors = dict[str, np.ndarray]

PADDLE = "paddle"
HUGGING_FACE = "huggingface"


@dataclass(frozen=True)
class Rule:
    """One layer or parameter under both names; `{}` stands for a layer's number."""

    hf: str
    paddle: str
    linear: bool = False  # a Linear layer: its weight is transposed


@dataclass(frozen=True)
class Family:
    """What has to be known of a model family to read and write its weights.

    `encoder` rules are given without `prefix`; `heads` are whole names. `buffers` are stored but
    never learnt. `tied` lists (name, source): parameters that share another's values and may be
    left out of a file. `marks` tell the kinds apart by a name that only one of them has.
    """

    prefix: str
    marks: dict[str, str]
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
    marks={
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
    # PaddleNLP 2.0 kept the decoder's weight as a bare parameter of the head.
    renamed={"cls.predictions.decoder_weight": "cls.predictions.decoder.weight"},
    tied=(
        ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("cls.predictions.decoder.bias", "cls.predictions.decoder_bias"),
        ("cls.predictions.decoder_bias", "cls.predictions.decoder.bias"),
    ),
)

# Names by which other architectures give themselves away, for a message that says what it is.
_FOREIGN = {
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
    """`a.3.b` -> (`a.{}.b`, ["3"])."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "{}", name), re.findall(r"(?<=\.)(\d+)(?=\.)", name)


def kind_of(names: Iterable[str], family: Family = BERT) -> str | None:
    """`"paddle"` or `"huggingface"` by the names alone; None for neither, or for a mixture."""
    templates = {_template(name)[0].removeprefix(family.prefix) for name in names}
    kinds = [kind for kind, mark in family.marks.items() if mark in templates]
    return kinds[0] if len(kinds) == 1 else None


def foreign_architecture(names: Iterable[str], family: Family = BERT) -> str | None:
    """The architecture that these tensor names belong to, where it is a known other one."""
    names = list(names)
    for architecture, pattern in _FOREIGN.items():
        if any(re.search(pattern, name) for name in names):
            return architecture
    for name in names:
        found = re.match(_OTHER_PREFIX, name)
        if found and not name.startswith(family.prefix):
            return found[1]
    return None


def _with_prefix(tensors: Tensors, family: Family) -> tuple[Tensors, list[str]]:
    """Encoder names under the family's prefix, heads as they are."""
    bare = [n for n in tensors if n.startswith(("embeddings.", "encoder.", "pooler."))]
    if twice := [name for name in bare if family.prefix + name in tensors]:
        raise WeightsError(
            f"the weights hold both {twice[0]} and {family.prefix}{twice[0]}: two models in one "
            "file; save one of them alone"
        )
    added = {name: family.prefix + name for name in bare}
    notes = [f"prefix {family.prefix} added"] if bare else []
    return {added.get(name, name): array for name, array in tensors.items()}, notes


def _without_buffers(tensors: Tensors, family: Family) -> tuple[Tensors, list[str]]:
    skipped = [n for n in tensors if n.removeprefix(family.prefix) in family.buffers]
    kept = {name: array for name, array in tensors.items() if name not in skipped}
    return kept, [f"{name.rpartition('.')[2]} skipped" for name in skipped]


def _modern(tensors: Tensors) -> tuple[Tensors, list[str]]:
    """LayerNorm's TensorFlow-era `gamma` and `beta` as `weight` and `bias`."""
    new = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
    out = {
        re.sub(r"LayerNorm\.(gamma|beta)$", lambda found: new[found[0]], name): array
        for name, array in tensors.items()
    }
    return out, ["gamma/beta renamed"] if out.keys() != tensors.keys() else []


def _convert(tensors: Tensors, family: Family, backwards: bool) -> Tensors:
    rules: dict[str, tuple[str, bool]] = {}
    for prefix, group in ((family.prefix, family.encoder), ("", family.heads)):
        for rule in group:
            source, target = (rule.paddle, rule.hf) if backwards else (rule.hf, rule.paddle)
            rules[prefix + source] = (prefix + target, rule.linear)
    out: Tensors = {}
    for name, array in tensors.items():
        template, numbers = _template(name)
        layer, _, part = template.rpartition(".")
        if template in rules:  # a bare parameter, such as cls.predictions.bias
            new = rules[template][0]
        elif layer in rules:
            target, linear = rules[layer]
            new = f"{target}.{part}"
            if linear and part == "weight" and array.ndim == 2:
                array = np.ascontiguousarray(array.T)
        else:
            new, numbers = name, []
        out[new.format(*numbers) if numbers else new] = array
    return out


def to_paddle(tensors: Tensors, family: Family = BERT) -> tuple[Tensors, list[str]]:
    """Hugging Face tensors under Paddle's names and layout, with notes of what was done.

    Takes names with or without the family's prefix, LayerNorm as gamma/beta or weight/bias.
    Linear weights [out, in] become [in, out]; buffers are dropped. A name without a rule stays
    as it is, for the caller to judge.
    """
    tensors, renamed = _modern(tensors)
    tensors, added = _with_prefix(tensors, family)
    tensors, skipped = _without_buffers(tensors, family)
    notes = ["Hugging Face names converted", *renamed, *added, *skipped]
    return _convert(tensors, family, backwards=False), notes


def tidy_paddle(tensors: Tensors, family: Family = BERT) -> tuple[Tensors, list[str]]:
    """Tensors of a Paddle file under today's names with the prefix, and notes of what was done."""
    out = {family.renamed.get(name, name): array for name, array in tensors.items()}
    notes = ["names of PaddleNLP 2.0 renamed"] if out.keys() != tensors.keys() else []
    out, added = _with_prefix(out, family)
    out, skipped = _without_buffers(out, family)
    return out, [*notes, *added, *skipped]


def fill_tied(tensors: Tensors, family: Family = BERT) -> tuple[Tensors, list[str]]:
    """Adds the parameters left out of the file because they share another's values.

    Only where the file has something of that head: a bare encoder stays a bare encoder.
    """
    out = dict(tensors)
    for name, source in family.tied:
        head = ".".join(name.split(".")[:2]) + "."
        if name not in out and source in out and any(n.startswith(head) for n in tensors):
            out[name] = out[source]
    return out, ["tied decoder filled in"] if len(out) > len(tensors) else []


def to_hf(tensors: Tensors, family: Family = BERT) -> Tensors:
    """Paddle tensors (with the family's prefix) under Hugging Face's names, Linear as [out, in].

    The inverse of `to_paddle`: every array comes back bit for bit.
    """
    return _convert(tensors, family, backwards=True)
