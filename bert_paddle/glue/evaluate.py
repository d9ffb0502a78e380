"""Exact evaluation: each row is evaluated exactly once whatever the number of processes, and the
metrics are computed over all rows at once."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bert_paddle.common.errors import RunError
from bert_paddle.common.intervals import Interval
from bert_paddle.distributed import collectives
from bert_paddle.glue import bootstrap, metrics
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.tasks import Task
from bert_paddle.models.forward_pass import Batch, ForwardPass


@dataclass(frozen=True)
class EvalResult:
    """The mean loss over all rows, and the task's metrics by their names in all_results.json.

    intervals: of the metrics, where they can be computed (glue.bootstrap).
    single_class: the class predicted for every row; None if predictions differ, and for regression.
    logits: [n, classes], in the order of the rows.
    """

    loss: float
    metrics: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    single_class: str | None = None
    logits: np.ndarray | None = field(default=None, repr=False, compare=False)


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


def predictions_of(task: Task, logits: np.ndarray) -> np.ndarray:
    """Class indices [n], or for regression the scores [n], from logits [n, classes]."""
    return logits[:, 0] if task.is_regression else np.argmax(logits, axis=1)


def mean_loss(task: Task, logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy (natural logarithm) or mean squared error over all rows, in float64."""
    logits = logits.astype(np.float64)
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
) -> EvalResult:
    """Loss and metrics of a model in evaluation mode over all rows; see `compute_logits`."""
    assert dataset.labels is not None
    logits = compute_logits(forward, dataset, batch_size, pad_multiple, show_rows)
    predictions = predictions_of(task, logits)
    all_equal = len(predictions) > 1 and len(set(predictions.tolist())) == 1
    has_single_class = all_equal and not task.is_regression
    return EvalResult(
        mean_loss(task, logits, dataset.labels),
        metrics.compute(task, predictions, dataset.labels),
        bootstrap.intervals(task.metrics, predictions, dataset.labels),
        task.labels[int(predictions[0])] if has_single_class else None,
        logits,
    )
