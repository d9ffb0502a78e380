"""Builds PaddleNLP's BertForSequenceClassification with the weights of a loaded checkpoint.

`load_weights` reads a checkpoint's files and converts names; `model_state` writes a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import load_weights, model_state
from bert_paddle.models.activations import build_bert
from bert_paddle.models.model_config import MULTI_LABEL


@dataclass(frozen=True)
class LoadedClassifier:
    """A model with a classification (or regression) head.

    notes: how weights and labels were matched. new_head: whether the head is newly initialized.
    """

    model: Any
    notes: list[str]
    new_head: bool


def build_classifier(
    checkpoint: load_weights.LoadedWeights, labels: Sequence[str], seed: int, need_head: bool
) -> LoadedClassifier:
    """Build a PaddleNLP BertForSequenceClassification with the checkpoint's weights.

    labels: the class names in the order of the logits; empty for regression (one output). A head
    with the same class names in another order is permuted into this order. A head that is missing
    or has other classes is initialized from `seed` (normal, std initializer_range; bias 0).

    Raises WeightsError in that case if `need_head`, as for evaluation without training, and for
    any other missing or unexpected weight or wrong shape.
    """
    import paddle

    paddle.seed(seed)
    config = {k: v for k, v in checkpoint.config.items() if k != "labels"}
    config["num_labels"] = max(1, len(labels))
    model = build_bert("BertForSequenceClassification", config)
    tensors, reason = _align_head(checkpoint, labels)
    matched = load_weights.match_weights(
        tensors, {name: tuple(value.shape) for name, value in model.state_dict().items()}
    )
    notes = list(checkpoint.notes) + list(matched.notes)
    reason = checkpoint.head_problem or reason or matched.new_head_reason
    if checkpoint.head_problem and need_head:
        raise WeightsError(f"{checkpoint.head_problem}: correct id2label, or train with --do_train")
    if reason and need_head:
        raise WeightsError(
            f"the model has no classifier for this task ({reason}): fine-tune it first with "
            "--do_train, or give a fine-tuned model"
        )
    model_state.set_tensors(model, matched.tensors)
    if reason:
        notes.append(f"new classifier head ({reason})")
    elif labels and _are_placeholders(checkpoint.config.get("labels") or ()):
        notes.append(f"unnamed classes, assumed to be {', '.join(labels)}, in this order")
    return LoadedClassifier(model, notes, new_head=bool(reason))


def check_sizes(
    config: dict, vocab_size: int, max_seq_length: int, pairs: bool, source: Path
) -> None:
    """Raise WeightsError if the vocabulary, the sequence length or the two segments of pairs
    exceed the model's embeddings. source: the model's folder, for messages."""
    if pairs and config["type_vocab_size"] < 2:
        raise WeightsError(
            f"{source} has one segment embedding (type_vocab_size 1), but text pairs need "
            "two: give another BERT model"
        )
    positions = config["max_position_embeddings"]
    if max_seq_length > positions:
        raise WeightsError(
            f"--max_seq_length {max_seq_length} is beyond the {positions} positions of {source}: "
            f"give at most {positions}"
        )
    check_vocab_size(config, vocab_size, source)


def check_vocab_size(config: dict, vocab_size: int, source: Path) -> None:
    """Raise WeightsError if the vocabulary, added tokens included, exceeds the embeddings."""
    if vocab_size > (embeddings := config["vocab_size"]):
        raise WeightsError(
            f"the vocabulary has {vocab_size} tokens, but {source} has {embeddings} word "
            "embeddings: they do not belong together (--vocab_file, vocab.txt)"
        )


def _align_head(
    checkpoint: load_weights.LoadedWeights, labels: Sequence[str]
) -> tuple[dict[str, np.ndarray], str | None]:
    """The tensors with the head permuted to the order of `labels`, and None; or the tensors without
    the head, if it is for other classes, and a message."""
    tensors = dict(checkpoint.tensors)
    if not {"classifier.weight", "classifier.bias"} <= tensors.keys():
        return tensors, None  # match_weights reports what is missing
    saved_labels = checkpoint.config.get("labels") or ()
    # Normalized only if the exact names differ (`str` keeps them): "Yes" and "yes" may be two
    # classes.
    normalize = str if set(labels) == set(saved_labels) else _normalize_label
    if not labels or normalize is _normalize_label and _are_placeholders(saved_labels):
        return tensors, None  # no class names to compare; match_weights compares sizes
    index_of = {normalize(name): i for i, name in enumerate(saved_labels)}
    same_names = {normalize(name) for name in labels} == set(index_of)
    if not same_names or not len(index_of) == len(labels) == len(saved_labels):
        for name in [name for name in tensors if name.startswith("classifier.")]:
            del tensors[name]
        listed = ", ".join(saved_labels[:20]) + (", ..." if len(saved_labels) > 20 else "")
        return tensors, f"the model's head is for {listed}"
    order = [index_of[normalize(name)] for name in labels]
    tensors["classifier.weight"] = tensors["classifier.weight"][:, order]
    tensors["classifier.bias"] = tensors["classifier.bias"][order]
    return tensors, None


def _are_placeholders(labels: Sequence[str]) -> bool:
    """Whether all names are like LABEL_0 or 0, or there are none."""
    return all(_normalize_label(name).removeprefix("label").isdigit() for name in labels)


def _normalize_label(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")


def classifier_config(
    labels: Sequence[str], task: str, multi_label: bool = False
) -> dict[str, Any]:
    """The entries of config.json that describe a classifier's task.

    labels: class names in the order of the logits; empty for regression. multi_label: whether any
    number of them is true of a text.
    """
    names = list(labels) or ["score"]
    kind = "single_label_classification" if labels else "regression"
    return {
        "finetuning_task": task,
        "problem_type": MULTI_LABEL if multi_label else kind,
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }
