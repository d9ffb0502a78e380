"""PaddleNLP's BERT with weights from any kind of source, and back to a folder.

Which files a folder has and what their tensors are called is the business of `weights`; here the
tensors meet a Paddle model.
"""

import ctypes
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import OutputError, WeightsError
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.models import load_weights, paddlenlp_bert

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
# What a configuration says that does not change what the model computes.
_ABOUT = {"architectures", "paddlenlp_version", "id2label", "label2id", "num_labels", "dtype"}


@dataclass(frozen=True)
class LoadedClassifier:
    """A model with a classification (or regression) head, and what its loading had to say."""

    model: Any
    notes: list[str]
    fresh_head: bool


def build_classifier(
    checkpoint: load_weights.LoadedWeights, labels: Sequence[str], seed: int, need_head: bool
) -> LoadedClassifier:
    """PaddleNLP's BertForSequenceClassification with the checkpoint's weights.

    labels: the names of the classes in the order of the logits; none for regression (one output).
    A head whose class names are the same in another order is put into this order. A head that is
    absent or of other classes is drawn anew from `seed` (normal, std initializer_range; bias 0),
    unless `need_head`, for evaluation without training.

    Raises WeightsError for any other missing, unexpected or misshapen weight.
    """
    import paddle

    paddle.seed(seed)
    bert = paddlenlp_bert.bert_module()
    config = {k: v for k, v in checkpoint.config.items() if k != "labels"}
    sizes = bert.BertConfig(**config, num_labels=max(1, len(labels)))
    model = bert.BertForSequenceClassification(sizes)
    tensors, reason = _fit_head(checkpoint, labels)
    report = load_weights.match_weights(
        tensors, {name: tuple(value.shape) for name, value in model.state_dict().items()}
    )
    notes = list(checkpoint.notes) + list(report.notes)
    reason = reason or report.fresh_head
    if reason and need_head:
        raise WeightsError(
            f"the model has no classifier for this task ({reason}): fine-tune it first with "
            "--do_train, or give a model that was"
        )
    set_tensors(model, report.tensors)
    if reason:
        notes.append(f"new classifier head ({reason})")
    elif labels and _unnamed(checkpoint.config.get("labels") or ()):
        notes.append(f"its classes have no names: taken to be {', '.join(labels)}, in this order")
    return LoadedClassifier(model, notes, fresh_head=bool(reason))


def check_sizes(
    config: dict, vocab_size: int, max_seq_length: int, pairs: bool, source: Path
) -> None:
    """Raise WeightsError when rows of this vocabulary, length and kind do not fit the model."""
    if pairs and config["type_vocab_size"] < 2:
        raise WeightsError(
            f"{source} has one segment embedding (type_vocab_size 1), and the task's pairs of "
            "texts need two: give another BERT"
        )
    positions, embedded = config["max_position_embeddings"], config["vocab_size"]
    if max_seq_length > positions:
        raise WeightsError(
            f"--max_seq_length {max_seq_length} is beyond the {positions} positions of {source}: "
            f"give at most {positions}"
        )
    if vocab_size > embedded:
        raise WeightsError(
            f"the vocabulary has {vocab_size} pieces, but {source} has embeddings for {embedded}: "
            "they do not belong together (--vocab_file, vocab.txt)"
        )


def _fit_head(
    checkpoint: load_weights.LoadedWeights, labels: Sequence[str]
) -> tuple[dict[str, np.ndarray], str | None]:
    """The tensors with the head in the order of `labels`, or without it and the reason why."""
    tensors = dict(checkpoint.tensors)
    if not {"classifier.weight", "classifier.bias"} <= tensors.keys():
        return tensors, None  # `weights.check` says what is missing
    theirs = checkpoint.config.get("labels") or ()
    # Names that are the same to the letter are not compared loosely: "Yes" and "yes" may be two.
    plain = str if set(labels) == set(theirs) else _plain
    if not labels or plain is _plain and _unnamed(theirs):
        return tensors, None  # only the size can be compared
    place = {plain(name): i for i, name in enumerate(theirs)}
    same = {plain(name) for name in labels} == set(place)
    if not same or not len(place) == len(labels) == len(theirs):
        head = [name for name in tensors if name.startswith("classifier.")]
        for name in head:
            del tensors[name]
        return tensors, f"the model's is for {', '.join(theirs)}"
    order = [place[plain(name)] for name in labels]
    tensors["classifier.weight"] = tensors["classifier.weight"][:, order]
    tensors["classifier.bias"] = tensors["classifier.bias"][order]
    return tensors, None


def _unnamed(labels: Sequence[str]) -> bool:
    return all(_plain(name).removeprefix("label").isdigit() for name in labels)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def set_tensors(model: Any, tensors: dict[str, np.ndarray]) -> None:
    """Put tensors into the model's parameters of the same names, in the parameters' own type."""
    import paddle

    state = model.state_dict()
    for name, value in tensors.items():
        tensor = paddle.to_tensor(np.ascontiguousarray(value))
        state[name].set_value(tensor.astype(state[name].dtype))


def numpy_state_dict(model: Any) -> dict[str, np.ndarray]:
    """Copies of the model's tensors by name; half precision widened to float32."""
    return {name: _copy_of(value) for name, value in model.state_dict().items()}


def classifier_config(labels: Sequence[str], task: str) -> dict[str, Any]:
    """What a classifier's configuration says of its task.

    labels: class names in the order of the logits; none for regression.
    """
    names = list(labels) or ["score"]
    return {
        "finetuning_task": task,
        "problem_type": "single_label_classification" if labels else "regression",
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


def snapshot_tensors(tensors: Mapping[str, Any]) -> TensorSnapshot:
    """Tensors for a file: float32 on the CPU as they lie in memory, others copied (half precision
    widened to float32)."""
    on_cpu = all(value.place.is_cpu_place() for value in tensors.values())
    shown = on_cpu and all(str(value.dtype) == "paddle.float32" for value in tensors.values())
    if not shown:
        return TensorSnapshot({name: _copy_of(value) for name, value in tensors.items()})
    lying = {name: value.contiguous() for name, value in tensors.items()}
    seen = {name: _memory_of(value) for name, value in lying.items()}
    return TensorSnapshot(seen, shown=True, owners=list(lying.values()))


def _memory_of(tensor: Any) -> np.ndarray:
    """A contiguous float32 tensor's own memory, which is there as long as the tensor."""
    values = (ctypes.c_float * tensor.size).from_address(tensor.data_ptr())
    return np.ctypeslib.as_array(values).reshape(tensor.shape)


def _copy_of(tensor: Any) -> np.ndarray:
    wide = tensor.astype("float32") if "float16" in str(tensor.dtype) else tensor
    # Paddle's numpy() may show the tensor's own memory, which training goes on to change.
    return np.array(wide.numpy(), order="C")


def model_writer(
    model: Any, about: dict[str, Any], tensors: TensorSnapshot | None = None
) -> Callable[[Path], None]:
    """The model as it is now: a function that writes config.json and model.safetensors into the
    folder it is given, as PaddleNLP's `from_pretrained` loads them, while training goes on.

    about: what the configuration says beyond the model's sizes. tensors: its weights (`held`), by
    default copies.
    """
    config = json.loads(model.config.to_json_string())
    for name in ("id2label", "label2id", "num_labels"):
        config.pop(name, None)
    config |= {"architectures": [type(model).__name__], "model_type": "bert", **about}
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    values = tensors or numpy_state_dict(model)

    def write(folder: Path) -> None:
        (folder / CONFIG_FILE).write_text(text, encoding="utf-8")
        atomic_files.write_tensors(folder / WEIGHTS_FILE, values)

    return write


def check_same_config(model: Any, folder: Path) -> None:
    """Raise OutputError when a checkpoint is of a model with another configuration than this."""
    saved = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    now = json.loads(model.config.to_json_string())
    differ = [
        f"{name} was {saved[name]!r} and is {now[name]!r}"
        for name in sorted(saved.keys() & now.keys() - _ABOUT)
        if saved[name] != now[name]
    ]
    if differ:
        raise OutputError(
            f"cannot go on from {folder}: the model's {', '.join(differ)}; give the model that it "
            "was begun with, or another --output_dir for a new run"
        )


def restore_weights(model: Any, folder: Path) -> None:
    """Put the weights of one of this run's own checkpoints back into its model."""
    from safetensors.numpy import load_file

    set_tensors(model, load_file(folder / WEIGHTS_FILE))


def optimizer_tensors(model: Any, optimizer: Any) -> dict[str, Any]:
    """The optimizer's state, its own tensors, by the model's parameter names: `name|accumulator`.

    Paddle names it by counters that depend on what the process built before.
    """
    structured = {p.name: name for name, p in model.named_parameters()}
    state = optimizer.state_dict()
    masters = state.pop("master_weights", {})
    tensors = {f"{structured[name]}|master_weight": t for name, t in masters.items()}
    for key, value in state.items():
        if not hasattr(value, "numpy"):
            continue
        parameter = max((p for p in structured if key.startswith(p + "_")), key=len)
        tensors[f"{structured[parameter]}|{key[len(parameter) + 1 :]}"] = value
    return tensors


def restore_optimizer(model: Any, optimizer: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """The way back from `optimizer_tensors`, as arrays."""
    import paddle

    own = {name: p.name for name, p in model.named_parameters()}
    state: dict[str, Any] = {}
    masters: dict[str, Any] = {}
    for key, value in tensors.items():
        name, accumulator = key.split("|")
        if accumulator == "master_weight":
            masters[own[name]] = paddle.to_tensor(value)
        else:
            state[f"{own[name]}_{accumulator}"] = paddle.to_tensor(value)
    if masters:
        state["master_weights"] = masters
    optimizer.set_state_dict(state)
