"""Exact evaluation: each row is evaluated exactly once whatever the number of processes, and the
metrics are computed over all rows at once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from bert_paddle.common.errors import RunError
from bert_paddle.distributed import collectives
from bert_paddle.glue import metrics, thresholds
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.tasks import Task
from bert_paddle.models.forward_pass import Batch, ForwardPass


@dataclass(frozen=True)
class EvalResult:
    """The mean loss over all rows, and the task's metrics by their names in all_results.json.

    single_class: the class predicted for every row; None if predictions differ, and for regression.
    logits: [n, classes], in the order of the rows. per_label: of any number of labels per row, the
    F1 of each by name. thresholds: those that the predictions are by, in the order of the labels.
    """

    loss: float
    metrics: dict[str, float]
    single_class: str | None = None
    logits: np.ndarray | None = field(default=None, repr=False, compare=False)
    per_label: dict[str, float] = field(default_factory=dict)
    thresholds: tuple[float, ...] = ()


def compute_logits(
    forward: ForwardPass,
    dataset: EncodedDataset,
    batch_size: int,
    pad_multiple: int = 1,
    show_rows: Callable[[int], None] = lambda rows_done: None,
) -> np.ndarray:
    """The logits, float32 [n, classes], of a model in evaluation mode, in row order on all ranks.

    Rows are batched by length, the batches are distributed over the ranks, and each row's logits
    are put back at its index. Which rank computes a batch does not affect its values. show_rows:
    called between batches with the number of rows that all ranks have finished. Raises StopSignal
    as `collectives.sharded_rounds` does.
    """
    import paddle

    order = np.argsort(-dataset.encoded.lengths, kind="stable")
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    with paddle.no_grad():
        own_logits = [
            _logits(forward, dataset.batch(batch, pad_multiple))
            for batch in collectives.sharded_rounds(
                batches, lambda done: show_rows(done * batch_size)
            )
        ]
    sorted_logits = np.concatenate(collectives.gather_shards(own_logits))
    logits = np.zeros_like(sorted_logits)
    logits[order] = sorted_logits
    return logits


def _logits(forward: ForwardPass, batch: Batch) -> np.ndarray:
    return forward(batch).astype("float32").numpy()


def check_finite(logits: np.ndarray, model_name: str) -> None:
    """Raise RunError if any row of the logits [n, classes] is not finite: its prediction would be
    meaningless. model_name: for the message."""
    bad = int(np.sum(~np.isfinite(logits).all(axis=1)))
    if bad:
        raise RunError(
            f"{model_name} produces non-finite logits for {bad} of {len(logits)} row(s): its "
            "weights are damaged or its training diverged; use another checkpoint"
        )


def probabilities(logits: np.ndarray, multi_label: bool) -> np.ndarray:
    """The probability of each class, float64 [n, classes], from logits of the same shape: their
    softmax or, of any number of labels per row (multi_label), each one's sigmoid."""
    logits = logits.astype(np.float64)
    if multi_label:
        return 0.5 * (1 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def predictions_of(task: Task, logits: np.ndarray) -> np.ndarray:
    """Class indices [n], for regression the scores [n], of any number of labels per row 1 or 0 for
    each, int64 [n, labels], from logits [n, classes]."""
    if task.multi_label:
        return (probabilities(logits, True) >= np.array(task.thresholds)).astype(np.int64)
    return logits[:, 0] if task.is_regression else np.argmax(logits, axis=1)


def mean_loss(task: Task, logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy (natural logarithm; binary, over rows and labels, for any number of labels
    per row) or mean squared error over all rows, in float64."""
    logits = logits.astype(np.float64)
    if task.multi_label:
        return float(np.mean(np.logaddexp(0, logits) - logits * labels))
    if task.is_regression:
        return float(np.mean((logits[:, 0] - labels) ** 2))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_sum - shifted[np.arange(len(labels)), labels]))


def evaluate(
    task: Task,
    forward: ForwardPass,
    dataset: EncodedDataset,
    batch_size: int,
    pad_multiple: int = 1,
    show_rows: Callable[[int], None] = lambda rows_done: None,
    fit_thresholds: bool = False,
) -> EvalResult:
    """Loss and metrics of a model in evaluation mode over all rows; see `compute_logits`.
    fit_thresholds: whether the task's thresholds are those with the best F1 on these rows."""
    labels = dataset.labels
    assert labels is not None
    logits = compute_logits(forward, dataset, batch_size, pad_multiple, show_rows)
    if fit_thresholds:
        task = replace(task, thresholds=thresholds.fit(probabilities(logits, True), labels))
    predictions = predictions_of(task, logits)
    all_equal = len(predictions) > 1 and bool((predictions == predictions[0]).all())
    has_single_class = all_equal and not task.is_regression
    per_label: dict[str, float] = {}
    if task.multi_label:
        f1 = metrics.f1_per_label(predictions, labels)
        per_label = dict(zip(task.labels, f1, strict=True))
    return EvalResult(
        mean_loss(task, logits, labels),
        metrics.compute(task, predictions, labels),
        prediction_text(task, predictions[0]) if has_single_class else None,
        logits,
        per_label,
        task.thresholds,
    )


def prediction_names(task: Task, prediction: np.ndarray) -> list[str]:
    """The names of the labels in a row of 0 and 1, [labels]."""
    return [task.labels[int(k)] for k in np.flatnonzero(prediction)]


def prediction_text(task: Task, prediction: np.ndarray) -> str:
    """The predicted class, or labels, of a row, for a message."""
    if task.multi_label:
        return " and ".join(prediction_names(task, prediction)) or "without any label"
    return task.labels[int(prediction)]
