"""A BERT folder's configuration, under the names of PaddleNLP's BertConfig. No paddle.

Reads Hugging Face's config.json, PaddleNLP's, and the nested model_config.json that PaddleNLP
wrote before it had a config.json.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import WeightsError

_FILES = ("config.json", "model_config.json")
_SIZES = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size "
    "max_position_embeddings"
).split()
# What both libraries assume where a configuration is silent; on type_vocab_size they differ
# (Hugging Face 2, PaddleNLP 16), so whoever has the weights should ask them: see `silent`.
_DEFAULTS = {
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
_OPTIONAL = ("pool_act", "classifier_dropout")
_ACTIVATIONS = ("gelu", "relu", "silu", "swish")
_MOST_EPSILON = 1e-3  # that Paddle's LayerNorm takes
_MOST = 10**7  # of any size, as for the flags: what is beyond is no model but a slip or a trap
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class ModelConfig:
    """A configuration, read and checked.

    values: BertConfig's names, and "labels": class names in the order of the logits, or None.
    silent: names that the file leaves to a default. architecture: the class it was written by,
    such as BertForSequenceClassification, or "".
    """

    values: dict[str, Any]
    silent: frozenset[str]
    architecture: str
    path: Path


def read_config(folder: Path) -> ModelConfig:
    """The configuration of a model's folder; the folder needs no weights.

    Raises WeightsError for one that is missing, malformed, of another architecture, or of a BERT
    that cannot be run here.
    """
    return read_config_file(_file_in(folder))


def _file_in(folder: Path) -> Path:
    found = [folder / name for name in _FILES if (folder / name).is_file()]
    if not found:
        raise WeightsError(f"{folder} has no config.json{_models_below(folder)}")
    return found[0]


def _models_below(folder: Path) -> str:
    """What a message says of the models in a folder of models, runs or sweeps: up to three of
    those that are nearest, the newest step of each run."""
    for pattern in ("*", "*/*", "*/*/*"):
        newest: dict[Path, tuple[int, Path]] = {}
        for path in sorted(folder.glob(f"{pattern}/config.json")):
            one = path.parent
            step = re.fullmatch(r"model_(\d+)", one.name)
            run, number = (one.parent, int(step[1])) if step else (one, 0)
            newest[run] = max(newest.get(run, (-1, one)), (number, one))
        names = [str(one) for _, one in newest.values()]
        if names:
            more = f" ({len(names) - 3} more)" if len(names) > 3 else ""
            return f"; did you mean {' or '.join(names[:3])}{more}?"
    return ": is this a model's folder?"


def read_config_file(path: Path) -> ModelConfig:
    """As `read_config`, of a configuration file by itself."""
    given = _flat(read_object(path))
    architecture = _architecture(given)
    _refuse_other_models(given, architecture, path)
    if missing := [name for name in _SIZES if name not in given]:
        raise WeightsError(f"{path} lacks {', '.join(missing)}: it is not a BERT's configuration")
    silent = frozenset(name for name in _DEFAULTS if given.get(name) is None)
    values = {name: given[name] for name in _SIZES}
    values |= {name: _DEFAULTS[name] if name in silent else given[name] for name in _DEFAULTS}
    values |= {name: given[name] for name in _OPTIONAL if given.get(name) is not None}
    check_values(values, given, str(path))
    values["labels"] = _labels(given.get("id2label"), path)
    return ModelConfig(values, silent, architecture, path)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object. Raises WeightsError for anything else."""
    try:
        content = json.loads(real_file(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON ({error}): repair or download it again") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, not an object of settings")
    return content


def real_file(path: Path) -> Path:
    """`path` itself. Raises WeightsError for one that cannot be opened, or is a Git LFS pointer."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if start == _LFS:
        raise WeightsError(f"{path} is a Git LFS pointer, not the file: run `git lfs pull`")
    return path


def _flat(raw: Mapping[str, Any]) -> dict[str, Any]:
    """One level: a model_config.json nests the configuration of the encoder that a head holds.

    {"init_args": [{…, "init_class": "BertModel"}], "init_class": "BertForPretraining"}, or the
    inner object under a name of its own. Outer values win.
    """
    args = raw.get("init_args")
    candidates = [*(args if isinstance(args, list) else ()), *raw.values()]
    out: dict[str, Any] = {}
    for part in candidates:
        if isinstance(part, dict) and ("init_class" in part or "vocab_size" in part):
            out |= _flat(part)
    return out | {key: value for key, value in raw.items() if key != "init_args"}


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    if isinstance(names, list) and names:
        return str(names[0])
    return str(config.get("init_class") or "")


def _refuse_other_models(given: Mapping[str, Any], architecture: str, path: Path) -> None:
    model_type = given.get("model_type")
    # Older files name no model_type; then the class they were written by tells.
    if model_type == "bert" or (model_type is None and architecture[:4] in ("", "Bert")):
        return
    raise WeightsError(
        f"{path}: the model is {_shown(model_type or architecture)}, and only bert runs here: "
        "give a BERT's folder"
    )


def check_values(values: Mapping[str, Any], given: Mapping[str, Any], where: str) -> None:
    """Raise WeightsError, naming `where`, when no BERT can be built with these values; `given`:
    what the configuration says besides."""
    if problems := _problems(values, given):
        raise WeightsError(f"{where}: {'; '.join(problems)}")


def _problems(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    problems = []
    for name in (*_SIZES, "type_vocab_size"):
        if type(values[name]) is not int or not 1 <= values[name] <= _MOST:
            problems.append(
                f"{name} is {_shown(values[name])}, but has to be a whole number from 1 to {_MOST}"
            )
    rates = [name for name in values if name.endswith(("dropout_prob", "_dropout"))]
    limits = dict.fromkeys([*rates, "initializer_range"], 1) | {"layer_norm_eps": _MOST_EPSILON}
    for name, most in limits.items():
        if type(values[name]) not in (int, float) or not 0 <= values[name] <= most:
            shown = _shown(values[name])
            problems.append(f"{name} is {shown}, but has to be a number from 0 to {most}")
    if type(pad := values["pad_token_id"]) is not int:
        problems.append(f"pad_token_id is {_shown(pad)}, but has to be a whole number")
    if not problems and values["hidden_size"] % values["num_attention_heads"]:
        problems.append(
            f"hidden_size {values['hidden_size']} is not divisible by num_attention_heads "
            f"{values['num_attention_heads']}"
        )
    if values["hidden_act"] not in _ACTIVATIONS:
        known = ", ".join(_ACTIVATIONS)
        shown = _shown(values["hidden_act"])
        problems.append(f"hidden_act {shown} is not supported, only {known}")
    if (kind := given.get("position_embedding_type") or "absolute") != "absolute":
        problems.append(f"position_embedding_type {_shown(kind)} is not supported, only absolute")
    if given.get("is_decoder"):
        problems.append("is_decoder is set, and only encoders run here")
    return problems


def _shown(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _labels(id2label: Any, path: Path) -> tuple[str, ...] | None:
    if not id2label:
        return None
    try:
        names = {int(key): str(value) for key, value in id2label.items()}
        labels = tuple(names[i] for i in range(len(id2label)))
    except (AttributeError, ValueError, KeyError):
        raise WeightsError(
            f"{path}: id2label has to name the classes 0, 1, 2 and so on without a gap"
        ) from None
    # Classes are told apart by their names, which are written line by line into predictions.
    if len(set(labels)) < len(labels) or any(not label.isprintable() for label in labels):
        raise WeightsError(
            f"{path}: id2label has to give every class a printable name of its own, not "
            f"{_shown(list(labels))}"
        )
    return labels
