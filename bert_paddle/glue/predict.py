"""Prediction files in the form the GLUE server takes."""

from pathlib import Path

import numpy as np

from bert_paddle import files
from bert_paddle.glue.evaluate import answers
from bert_paddle.glue.tasks import Task


def write(task: Task, scores: np.ndarray, path: Path) -> None:
    """Write `index<TAB>prediction` lines, 0-based, label strings as the task's files have them.

    scores: logits [n, classes] in the order of the test file. STS-B is clipped to its 0 to 5.
    """
    values = answers(task, scores)
    if task.score_range:
        texts = [f"{value:.3f}" for value in np.clip(values, *task.score_range)]
    else:
        texts = [task.submission_labels[value] for value in values]
    lines = ["index\tprediction"] + [f"{i}\t{text}" for i, text in enumerate(texts)]
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, "\n".join(lines) + "\n")
