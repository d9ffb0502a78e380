"""dev_predictions.jsonl and its like: a labelled set, row by row, with what the model says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import atomic_files
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.evaluate import predictions_of
from bert_paddle.glue.tasks import Task


def write(task: Task, examples: Examples, scores: np.ndarray, path: Path) -> None:
    """Write one JSON object a line, in the order of the set's file.

    scores: logits [n, classes], or [n, 1] for a regression. An object has index (from 0), text_a,
    text_b for pairs, label, prediction (names of classes, or numbers) and for classes their
    probabilities in the order of `task.labels`. Examples without labels have no label.
    """
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(task, examples, scores))
    atomic_files.write_text(path, "".join(lines))


def probabilities(scores: np.ndarray) -> np.ndarray:
    """The softmax of logits [n, classes], in float64."""
    shifted = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _rows(task: Task, examples: Examples, scores: np.ndarray) -> Iterator[dict[str, Any]]:
    given, labels = predictions_of(task, scores), examples.labels
    shares = None if task.is_regression else probabilities(scores)
    for i, text in enumerate(examples.texts_a):
        row: dict[str, Any] = {"index": i, "text_a": text}
        if examples.texts_b is not None:
            row["text_b"] = examples.texts_b[i]
        if labels is not None:
            row["label"] = _value(task, labels[i])
        row["prediction"] = _value(task, given[i])
        if shares is not None:
            row["probabilities"] = [round(float(share), 6) for share in shares[i]]
        yield row


def _value(task: Task, value: Any) -> str | float:
    return round(float(value), 6) if task.is_regression else task.labels[int(value)]
