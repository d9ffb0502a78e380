"""Reads and checks a BERT model's configuration. Does not import paddle.

The file is a config.json of Hugging Face or PaddleNLP, the bert_config.json of
google-research/bert, or the nested model_config.json that earlier versions of PaddleNLP wrote; the
result has the names of PaddleNLP's BertConfig.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common import limits, read_files
from bert_paddle.common.errors import WeightsError
from bert_paddle.models.activations import ACTIVATIONS

_CONFIG_FILES = ("config.json", "bert_config.json", "model_config.json")
_SIZES = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size "
    "max_position_embeddings"
).split()
# Both libraries' defaults for settings missing from a file. They differ in type_vocab_size (Hugging
# Face 2, PaddleNLP 16): take it from the weights if it is in `ModelConfig.defaulted`.
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
_MAX_EPSILON = 1e-3  # the limit of Paddle's LayerNorm
_MAX_SIZE = 10**7  # for each of _SIZES, as for flags: a larger one is a mistake or malicious
MULTI_LABEL = "multi_label_classification"  # a value of problem_type
_LFS_HEADER = b"version https://git-lfs"


@dataclass(frozen=True)
class ModelConfig:
    """A checked configuration.

    values: settings by BertConfig's names, and "labels": class names in the order of the logits, or
    None. defaulted: the settings missing from the file. architecture: the class that wrote the
    file, such as BertForSequenceClassification, or "". problem_type: of a classifier, as in the
    file; None if it says nothing.
    """

    values: dict[str, Any]
    defaulted: frozenset[str]
    architecture: str
    path: Path
    problem_type: Any = None


def read_config(folder: Path) -> ModelConfig:
    """The configuration of a model folder, which may lack weights.

    Raises WeightsError if it is missing or malformed, or describes another architecture or an
    unsupported variant of BERT.
    """
    return read_config_file(_find_config_file(folder))


def _find_config_file(folder: Path) -> Path:
    paths = [folder / name for name in _CONFIG_FILES if (folder / name).is_file()]
    if not paths:
        raise WeightsError(f"{folder} has no config.json{_suggest_model_dirs(folder)}")
    return paths[0]


def _suggest_model_dirs(folder: Path) -> str:
    """The end of an error message for a folder without a config.json: up to three of the nearest
    model folders below it, of each run the one of the last step."""
    for pattern in ("*", "*/*", "*/*/*"):
        newest: dict[Path, tuple[int, Path]] = {}
        for path in sorted(folder.glob(f"{pattern}/config.json")):
            model = path.parent
            match = re.fullmatch(r"model_(\d+)", model.name)
            run, step = (model.parent, int(match[1])) if match else (model, 0)
            newest[run] = max(newest.get(run, (-1, model)), (step, model))
        names = [str(model) for _, model in newest.values()]
        if names:
            more = f" ({len(names) - 3} more)" if len(names) > 3 else ""
            return f"; did you mean {' or '.join(names[:3])}{more}?"
    return ": is this a model folder?"


def read_config_file(path: Path) -> ModelConfig:
    """`read_config` for a configuration file on its own. Raises WeightsError likewise."""
    raw = _flatten(read_json_object(path))
    architecture = _architecture_of(raw)
    _check_is_bert(raw, architecture, path)
    if missing := [name for name in _SIZES if name not in raw]:
        raise WeightsError(f"{path} lacks {', '.join(missing)}: it is not a BERT configuration")
    defaulted = frozenset(name for name in _DEFAULTS if raw.get(name) is None)
    values = {name: raw[name] for name in _SIZES}
    values |= {name: _DEFAULTS[name] if name in defaulted else raw[name] for name in _DEFAULTS}
    values |= {name: raw[name] for name in _OPTIONAL if raw.get(name) is not None}
    check_config_values(values, raw, str(path))
    values["labels"] = _read_labels(raw.get("id2label"), path)
    return ModelConfig(values, defaulted, architecture, path, raw.get("problem_type"))


def check_classifier_kind(
    config: ModelConfig, outputs: int | None = None, multi_label: bool = False
) -> None:
    """Raise WeightsError unless a classifier gives one class per text, or one score or, where that
    is allowed (`multi_label`), any number of labels per text.

    outputs: the number of its outputs, if known. As in transformers, a classifier without
    problem_type is a regression if it has one output, else a classification.
    """
    kind = config.problem_type
    if outputs is None and config.values["labels"]:
        outputs = len(config.values["labels"])
    if kind == MULTI_LABEL and multi_label and outputs == 1:
        problem = "the model has one label only, and several are expected"
    elif kind == MULTI_LABEL and multi_label:
        return
    elif kind == MULTI_LABEL:
        problem = "several classes can be true of one text, and one per text is expected"
    elif kind not in (None, "single_label_classification", "regression"):
        problem = "which is not known"
    elif kind == "regression" and outputs is not None and outputs > 1:
        problem = f"the model has {outputs} outputs, but only one score is supported"
    elif kind == "single_label_classification" and outputs == 1:
        problem = "the model has one class only, so that nothing is left to classify"
    else:
        return
    raise WeightsError(
        f"{config.path}: problem_type {_shorten(kind)}: {problem}; give a model with one class per "
        "text (problem_type single_label_classification) or one score (regression)"
    )


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises WeightsError for anything else."""
    read_files.check_size(path, "JSON_BYTES", WeightsError)
    try:
        return read_files.parse_json_object(check_readable(path).read_bytes())
    except ValueError as error:
        raise WeightsError(f"{path} {error}: repair or download it again") from error


def check_readable(path: Path) -> Path:
    """Return `path`. Raises WeightsError if it cannot be opened or is a Git LFS pointer."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_HEADER))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    if start == _LFS_HEADER:
        raise WeightsError(f"{path} is a Git LFS pointer, not the file: run `git lfs pull`")
    return path


def _flatten(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten to one level: a model_config.json nests the encoder's configuration in the head's.

    {"init_args": [{…, "init_class": "BertModel"}], "init_class": "BertForPretraining"}, or the
    inner object under any other key. Outer values take precedence.
    """
    args = raw.get("init_args")
    candidates = [*(args if isinstance(args, list) else ()), *raw.values()]
    out: dict[str, Any] = {}
    for inner in candidates:
        if isinstance(inner, dict) and ("init_class" in inner or "vocab_size" in inner):
            out |= _flatten(inner)
    return out | {key: value for key, value in raw.items() if key != "init_args"}


def _architecture_of(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    if isinstance(names, list) and names:
        return str(names[0])
    return str(config.get("init_class") or "")


def _check_is_bert(raw: Mapping[str, Any], architecture: str, path: Path) -> None:
    model_type = raw.get("model_type")
    # Older files have no model_type, but name the class that wrote them.
    if model_type == "bert" or (model_type is None and architecture[:4] in ("", "Bert")):
        return
    raise WeightsError(
        f"{path}: the model is {_shorten(model_type or architecture)}, but only bert is "
        "supported: give the folder of a BERT model"
    )


def check_config_values(values: Mapping[str, Any], raw: Mapping[str, Any], source: str) -> None:
    """Raise WeightsError, naming `source`, if no BERT can be built with these values. raw: the
    configuration file's content, with settings that `values` does not have."""
    if problems := _find_problems(values, raw):
        raise WeightsError(f"{source}: {'; '.join(problems)}")


def _find_problems(values: Mapping[str, Any], raw: Mapping[str, Any]) -> list[str]:
    problems = []
    # type(), since isinstance() accepts True and False as numbers.
    for name in (*_SIZES, "type_vocab_size"):
        if type(values[name]) is not int or not 1 <= values[name] <= _MAX_SIZE:
            shown = _shorten(values[name])
            problems.append(f"{name} is {shown}, but must be an integer from 1 to {_MAX_SIZE}")
    dropouts = [name for name in values if name.endswith(("dropout_prob", "_dropout"))]
    maxima = dict.fromkeys([*dropouts, "initializer_range"], 1) | {"layer_norm_eps": _MAX_EPSILON}
    for name, limit in maxima.items():
        if type(values[name]) not in (int, float) or not 0 <= values[name] <= limit:
            shown = _shorten(values[name])
            problems.append(f"{name} is {shown}, but must be a number from 0 to {limit}")
    if type(pad := values["pad_token_id"]) is not int:
        problems.append(f"pad_token_id is {_shorten(pad)}, but must be an integer")
    if not problems and values["hidden_size"] % values["num_attention_heads"]:
        problems.append(
            f"hidden_size {values['hidden_size']} is not divisible by num_attention_heads "
            f"{values['num_attention_heads']}"
        )
    if values["hidden_act"] not in ACTIVATIONS:
        supported = ", ".join(ACTIVATIONS)
        shown = _shorten(values["hidden_act"])
        problems.append(f"hidden_act {shown} is not supported, only {supported}")
    if (position_type := raw.get("position_embedding_type") or "absolute") != "absolute":
        problems.append(
            f"position_embedding_type {_shorten(position_type)} is not supported, only absolute"
        )
    if raw.get("is_decoder"):
        problems.append("is_decoder is set, but only encoders are supported")
    return problems


def _shorten(value: Any) -> str:
    """A value's repr, truncated for a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _read_labels(id2label: Any, path: Path) -> tuple[str, ...] | None:
    """The class names in order; None if there are none. Raises WeightsError for missing indices and
    for names that are not unique and printable."""
    if not id2label:
        return None
    if isinstance(id2label, dict):
        limits.check("CLASSES", len(id2label), str(path), WeightsError)
    try:
        names = {int(key): str(value) for key, value in id2label.items()}
        labels = tuple(names[i] for i in range(len(id2label)))
    except (AttributeError, ValueError, KeyError):
        raise WeightsError(
            f"{path}: id2label must name the classes 0, 1, 2 and so on without a gap"
        ) from None
    # Classes are distinguished by name, and prediction files have one name per line.
    if len(set(labels)) < len(labels) or any(not label.isprintable() for label in labels):
        raise WeightsError(
            f"{path}: id2label must give every class a unique printable name, not "
            f"{_shorten(list(labels))}"
        )
    return labels
