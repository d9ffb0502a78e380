"""What is kept of a model's logits, row by row: enough for metrics and prediction files.

With many classes, the logits of all rows would take gigabytes (3.2 GB for 40,000 rows and 20,000
classes), while metrics need a prediction and a loss per row, and files the most likely classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from bert_paddle.glue.tasks import Task

# With more classes than that, only the most likely ones of each row are kept and listed.
MAX_CLASSES_LISTED, TOP_CLASSES = 100, 10


@dataclass(frozen=True)
class RowOutputs:
    """The outputs of n rows.

    predictions: class indices [n]; for regression the scores, float32 [n]; of any number of labels
    per row 1 or 0 for each, int64 [n, labels]. finite: bool [n], whether all of a row's logits are.
    losses: float64 [n], cross-entropy (natural logarithm) or squared error, or the mean binary
    cross-entropy of a row's labels; None for rows without labels.
    shares: float64 [n, classes], the probabilities of all classes; None for regression, and with
    more than MAX_CLASSES_LISTED classes of which one is true of a row. top_classes, top_shares:
    [n, TOP_CLASSES], with more classes than that: the most likely ones, largest first.
    """

    predictions: np.ndarray
    finite: np.ndarray
    losses: np.ndarray | None = None
    shares: np.ndarray | None = None
    top_classes: np.ndarray | None = None
    top_shares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.predictions)

    @property
    def mean_loss(self) -> float:
        """The mean over all rows, which must have labels, in float64."""
        assert self.losses is not None
        return float(np.mean(self.losses))


def lists_top_classes(task: Task) -> bool:
    """Whether a task has so many classes that only the most likely ones are kept."""
    return len(task.labels) > MAX_CLASSES_LISTED and not task.multi_label


def of_logits(task: Task, logits: np.ndarray, labels: np.ndarray | None = None) -> RowOutputs:
    """The outputs of rows with these logits, float32 [n, classes], [n, 1] for regression."""
    finite = np.isfinite(logits).all(axis=1)
    losses = None if labels is None else _losses(task, logits, labels)
    if task.is_regression:
        return RowOutputs(logits[:, 0], finite, losses)
    shares = probabilities(logits, task.multi_label)
    if task.multi_label:
        return RowOutputs(reaching(task, shares), finite, losses, shares)
    predictions = np.argmax(logits, axis=1)
    if not lists_top_classes(task):
        return RowOutputs(predictions, finite, losses, shares)
    top = np.array([_top_classes(row) for row in shares], np.int64).reshape(-1, TOP_CLASSES)
    return RowOutputs(
        predictions,
        finite,
        losses,
        top_classes=top,
        top_shares=np.take_along_axis(shares, top, axis=1),
    )


def in_order(parts: Sequence[RowOutputs], order: np.ndarray) -> RowOutputs:
    """The parts' rows together, the k-th one put at index order[k]."""
    arrays = {}
    for field in fields(RowOutputs):
        values = [getattr(part, field.name) for part in parts]
        if values[0] is not None:
            concatenated = np.concatenate(values)
            arrays[field.name] = np.empty_like(concatenated)
            arrays[field.name][order] = concatenated
    return RowOutputs(**arrays)


def probabilities(logits: np.ndarray, multi_label: bool = False) -> np.ndarray:
    """The probability of each class, float64 [n, classes], from logits of the same shape: their
    softmax or, of any number of labels per row (multi_label), each one's sigmoid."""
    if multi_label:
        # The sigmoid, without overflow.
        return 0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def reaching(task: Task, shares: np.ndarray) -> np.ndarray:
    """1 where a label's probability reaches its threshold, else 0: int64 [n, labels]."""
    return (shares >= np.array(task.thresholds)).astype(np.int64)


def _top_classes(shares: np.ndarray) -> np.ndarray:
    """The indices of the TOP_CLASSES largest of these probabilities [classes], largest first,
    those of equal ones in their order."""
    # Sorting all would take longer than the model for tens of thousands of classes.
    candidates = np.flatnonzero(shares >= np.partition(shares, -TOP_CLASSES)[-TOP_CLASSES])
    if len(candidates) < TOP_CLASSES:  # nan
        return np.arange(TOP_CLASSES)
    return candidates[np.argsort(-shares[candidates], kind="stable")][:TOP_CLASSES]


def _losses(task: Task, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    if task.multi_label:
        return np.mean(np.logaddexp(0, logits) - logits * labels, axis=1)
    if task.is_regression:
        return (logits[:, 0] - labels) ** 2
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return log_sum - shifted[np.arange(len(labels)), labels]


def prediction_names(task: Task, prediction: np.ndarray) -> list[str]:
    """The names of the labels in a row of 0 and 1, [labels]."""
    return [task.labels[int(k)] for k in np.flatnonzero(prediction)]


def prediction_text(task: Task, prediction: np.ndarray) -> str:
    """The predicted class, or labels, of a row, for a message."""
    if task.multi_label:
        return " and ".join(prediction_names(task, prediction)) or "without any label"
    return task.labels[int(prediction)]
