"""Prediction files: in the form the GLUE server takes, or with the classes' names."""

from pathlib import Path

import numpy as np

from bert_paddle.common import atomic_files
from bert_paddle.glue import predictions
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.evaluate import predictions_of
from bert_paddle.glue.tasks import Task, TestSet


def write(task: Task, scores: np.ndarray, path: Path, own: bool = False) -> None:
    """Write `index<TAB>prediction` lines, 0-based, label strings as the task's files have them.

    scores: logits [n, classes] in the order of the test file. STS-B is clipped to its 0 to 5.
    own: for a user's file, with the classes' names, and scores in six digits.
    """
    values = predictions_of(task, scores)
    if task.score_range:
        digits = ".6g" if own else ".3f"
        texts = [f"{value:{digits}}" for value in np.clip(values, *task.score_range)]
    else:
        names = task.labels if own else task.submission_labels
        texts = [names[value] for value in values]
    lines = ["index\tprediction"] + [f"{i}\t{text}" for i, text in enumerate(texts)]
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_files.write_text(path, "\n".join(lines) + "\n")


def write_set(
    task: Task, test_set: TestSet, rows: EncodedDataset, scores: np.ndarray, output_dir: Path
) -> Path:
    """Write a test set's predictions/<TASK>.tsv, and of one with labels its rows with texts, labels
    and probabilities into test_predictions_<TASK>.jsonl. Returns the first path."""
    path = output_dir / "predictions" / test_set.submission
    write(task, scores, path, test_set.own)
    if rows.labels is not None and rows.examples is not None:
        beside = output_dir / f"test_predictions_{path.stem}.jsonl"
        predictions.write(task, rows.examples, scores, beside)
    return path
