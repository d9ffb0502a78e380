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
from bert_paddle.glue.row_outputs import RowOutputs
from bert_paddle.glue.tasks import Task, TestSet

_OWN_COLUMNS = ("index", "prediction", "top_probabilities", "probabilities")
_OWN_KEYS = (*_OWN_COLUMNS, "text_a", "text_b", "label")


def write_test_predictions(
    task: Task,
    test_set: TestSet,
    dataset: EncodedDataset,
    outputs: RowOutputs,
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
        columns[_id_name(dataset.examples, _OWN_COLUMNS)] = dataset.examples.ids
    if test_set.custom and with_probabilities:
        columns |= _probability_columns(task, outputs)
    write_submission_tsv(task, outputs.predictions, path, test_set.custom, columns)
    if dataset.labels is not None and dataset.examples is not None:
        jsonl_path = output_dir / f"test_predictions_{path.stem}.jsonl"
        write_jsonl(task, dataset.examples, outputs, jsonl_path)
    return path


def write_submission_tsv(
    task: Task,
    predictions: np.ndarray,
    path: Path,
    custom: bool = False,
    columns: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """Write `index<TAB>prediction` lines, 0-based, with labels as spelled in the task's files.

    predictions: class indices or scores [n], in the order of the test file. STS-B scores are
    clipped to 0 to 5.
    custom: a user's test file; labels are then class names, and scores have six significant digits.
    columns: further columns by name, a text for each row.
    """
    if task.score_range:
        digits = ".6g" if custom else ".3f"
        texts = [f"{value:{digits}}" for value in np.clip(predictions, *task.score_range)]
    else:
        names = task.labels if custom else task.submission_labels
        texts = [names[value] for value in predictions]
    lines = ["\t".join(["index", "prediction", *columns])]
    rows = zip(map(str, range(len(texts))), texts, *columns.values(), strict=True)
    lines += map("\t".join, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(path, "\n".join(lines) + "\n")


def write_jsonl(task: Task, examples: Examples, outputs: RowOutputs, path: Path) -> None:
    """Write one JSON object per line, in the order of the data file.

    Keys: index (from 0), with --id_column that column's name, text_a, text_b for pairs, label if
    known, prediction (class names, or numbers) and, for classification, probabilities in the order
    of `task.labels`; with many classes, top_probabilities, the largest ones by class name.
    """
    rows = _jsonl_rows(task, examples, outputs)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    atomic_files.write_text(path, "".join(lines))


def _id_name(examples: Examples, taken: Sequence[str]) -> str:
    """The name of the ids' column: the file's own one, by which its rows can be joined, unless it
    is among `taken`, or cannot be in a TSV file's header."""
    name = examples.id_name
    is_own = name in taken or name.startswith("probability_") or not name.isprintable()
    return "id" if is_own else name


def _probability_columns(task: Task, outputs: RowOutputs) -> dict[str, list[str]]:
    """probability_<class> for each class; with many classes, top_probabilities, a JSON object of
    the largest ones by class name."""
    if outputs.shares is None:
        tops = [_top_probabilities(task, outputs, row) for row in range(len(outputs))]
        return {"top_probabilities": [json.dumps(top, ensure_ascii=False) for top in tops]}
    return {
        f"probability_{name}": [f"{share:.6f}" for share in column]
        for name, column in zip(task.labels, outputs.shares.T, strict=True)
    }


def _top_probabilities(task: Task, outputs: RowOutputs, row: int) -> dict[str, float]:
    assert outputs.top_classes is not None and outputs.top_shares is not None
    pairs = zip(outputs.top_classes[row], outputs.top_shares[row], strict=True)
    return {task.labels[k]: round(float(share), 6) for k, share in pairs}


def _jsonl_rows(task: Task, examples: Examples, outputs: RowOutputs) -> Iterator[dict[str, Any]]:
    labels = examples.labels
    id_name = _id_name(examples, _OWN_KEYS)
    for i, text in enumerate(examples.texts_a):
        row: dict[str, Any] = {"index": i}
        if examples.ids is not None:
            row[id_name] = examples.ids[i]
        row["text_a"] = text
        if examples.texts_b is not None:
            row["text_b"] = examples.texts_b[i]
        if labels is not None:
            row["label"] = _label_or_score(task, labels[i])
        row["prediction"] = _label_or_score(task, outputs.predictions[i])
        if outputs.shares is not None:
            row["probabilities"] = [round(float(value), 6) for value in outputs.shares[i]]
        elif not task.is_regression:
            row["top_probabilities"] = _top_probabilities(task, outputs, i)
        yield row


def _label_or_score(task: Task, value: Any) -> str | float:
    """The class name of a class index; a regression's score, rounded."""
    return round(float(value), 6) if task.is_regression else task.labels[int(value)]
