"""Prediction files: TSV for the GLUE server, and JSON Lines with the texts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from bert_paddle.common import atomic_files
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.evaluate import prediction_names, predictions_of, probabilities
from bert_paddle.glue.tasks import Task, TestSet

# With more classes than that, a row lists only its most likely ones.
MAX_CLASSES_LISTED, TOP_CLASSES = 100, 10


def write_test_predictions(
    task: Task,
    test_set: TestSet,
    dataset: EncodedDataset,
    logits: np.ndarray,
    output_dir: Path,
    with_probabilities: bool = False,
) -> Path:
    """Write predictions/<TASK>.tsv for a test set and, where it has labels, its rows with texts,
    labels and probabilities to test_predictions_<TASK>.jsonl. Returns the path of the TSV file.

    with_probabilities: whether the TSV file of a user's test set has them.
    """
    path = output_dir / "predictions" / test_set.submission
    columns: dict[str, Sequence[str]] = {}
    if dataset.examples is not None and dataset.examples.ids is not None:
        columns["id"] = dataset.examples.ids
    if test_set.custom and with_probabilities:
        columns |= _probability_columns(task, logits)
    write_submission_tsv(task, logits, path, test_set.custom, columns)
    if dataset.labels is not None and dataset.examples is not None:
        jsonl_path = output_dir / f"test_predictions_{path.stem}.jsonl"
        write_jsonl(task, dataset.examples, logits, jsonl_path)
    return path


def write_submission_tsv(
    task: Task,
    logits: np.ndarray,
    path: Path,
    custom: bool = False,
    columns: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Write `index<TAB>prediction` lines, 0-based, with labels as spelled in the task's files.

    logits: [n, classes] in the order of the test file. STS-B scores are clipped to 0 to 5.
    custom: a user's test file; labels are then class names, and scores have six significant digits.
    Several labels of a row are in one field.
    columns: further columns by name, a text for each row.
    """
    values = predictions_of(task, logits)
    if task.score_range:
        digits = ".6g" if custom else ".3f"
        texts = [f"{value:{digits}}" for value in np.clip(values, *task.score_range)]
    elif task.multi_label:
        texts = [_joined(task, row) for row in values]
    else:
        names = task.labels if custom else task.submission_labels
        texts = [names[value] for value in values]
    lines = ["\t".join(["index", "prediction", *columns])]
    rows = zip(map(str, range(len(texts))), texts, *columns.values(), strict=True)
    lines += map("\t".join, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(path, "\n".join(lines) + "\n")


def _joined(task: Task, row: np.ndarray) -> str:
    """The predicted labels in one field: joined as in the data files or, without a separator, as a
    JSON list."""
    names, columns = prediction_names(task, row), task.labelled_columns
    if columns is None or columns.separator is None:
        return json.dumps(names, ensure_ascii=False)
    separator = " " if columns.separator.isspace() else columns.separator
    return separator.join(names)


def write_jsonl(task: Task, examples: Examples, logits: np.ndarray, path: Path) -> None:
    """Write one JSON object per line, in the order of the data file.

    logits: [n, classes], or [n, 1] for regression. Keys: index (from 0), id with --id_column,
    text_a, text_b for pairs, label if known, prediction (class names, lists of them for any number
    of labels per row, or numbers) and, for classification, probabilities in the order of
    `task.labels`; with more than MAX_CLASSES_LISTED classes, top_probabilities, the largest
    TOP_CLASSES by class name.
    """
    rows = _jsonl_rows(task, examples, logits)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    atomic_files.write_text(path, "".join(lines))


def _probability_columns(task: Task, logits: np.ndarray) -> dict[str, list[str]]:
    """probability_<class> for each class; with more than MAX_CLASSES_LISTED, top_probabilities, a
    JSON object of the largest TOP_CLASSES by class name."""
    shares = probabilities(logits, task.multi_label)
    if len(task.labels) > MAX_CLASSES_LISTED:
        objects = [json.dumps(_top_probabilities(task, row), ensure_ascii=False) for row in shares]
        return {"top_probabilities": objects}
    return {
        f"probability_{name}": [f"{share:.6f}" for share in column]
        for name, column in zip(task.labels, shares.T, strict=True)
    }


def _top_probabilities(task: Task, shares: np.ndarray) -> dict[str, float]:
    return {task.labels[k]: round(float(shares[k]), 6) for k in top_classes(shares)}


def _jsonl_rows(task: Task, examples: Examples, logits: np.ndarray) -> Iterator[dict[str, Any]]:
    predictions, labels = predictions_of(task, logits), examples.labels
    for i, text in enumerate(examples.texts_a):
        row: dict[str, Any] = {"index": i}
        if examples.ids is not None:
            row["id"] = examples.ids[i]
        row["text_a"] = text
        if examples.texts_b is not None:
            row["text_b"] = examples.texts_b[i]
        if labels is not None:
            row["label"] = _answer(task, labels[i])
        row["prediction"] = _answer(task, predictions[i])
        if not task.is_regression:
            shares = probabilities(logits[i : i + 1], task.multi_label)[0]
            if len(task.labels) > MAX_CLASSES_LISTED:
                row["top_probabilities"] = _top_probabilities(task, shares)
            else:
                row["probabilities"] = [round(float(value), 6) for value in shares]
        yield row


def top_classes(shares: np.ndarray) -> list[int]:
    """The indices of the TOP_CLASSES largest of these probabilities, largest first."""
    return np.argsort(-shares, kind="stable")[:TOP_CLASSES].tolist()


def _answer(task: Task, value: Any) -> str | float | list[str]:
    """The class name of a class index; the names of the labels in a row of 0 and 1; a regression's
    score, rounded."""
    if task.multi_label:
        return prediction_names(task, value)
    return round(float(value), 6) if task.is_regression else task.labels[int(value)]
