"""Exact evaluation: every row once on any number of processes, metrics computed once."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bert_paddle.common.errors import RunError
from bert_paddle.distributed import collectives
from bert_paddle.glue import metrics
from bert_paddle.glue.data.dataset import EncodedDataset, forward
from bert_paddle.glue.tasks import Task


@dataclass(frozen=True)
class Result:
    """An evaluation: the mean loss over all rows, and the task's metrics by their long names.
    only_class: the one class that every row is predicted to be of, where that is so. scores: the
    logits [n, classes] that all this is of."""

    loss: float
    metrics: dict[str, float]
    only_class: str | None = None
    scores: np.ndarray | None = field(default=None, repr=False, compare=False)


def logits(model: Any, rows: EncodedDataset, batch_size: int, pad_multiple: int = 1) -> np.ndarray:
    """float32 [n, classes] of a model in evaluation mode, in the order of the rows, everywhere.

    Rows are batched by length, whole batches dealt out to the processes, and each result put back
    in its row's place; which process computed a batch changes nothing in it.
    """
    import paddle

    order = np.argsort(-rows.encoded.lengths, kind="stable")
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    with paddle.no_grad():
        own = [
            forward(model, rows.batch(batch, pad_multiple)).astype("float32").numpy()
            for batch in collectives.shard(batches)
        ]
    parts = np.concatenate(collectives.gather_shards(own))
    out = np.zeros_like(parts)
    out[order] = parts
    return out


def check_finite(scores: np.ndarray, of: str) -> None:
    """Raise RunError where a row of logits [n, classes] has a value that is not finite: an answer
    taken from it would mean nothing. of: the model, for the message."""
    bad = int(np.sum(~np.isfinite(scores).all(axis=1)))
    if bad:
        raise RunError(
            f"{of} gives no finite scores for {bad} of {len(scores)} row(s): its weights are "
            "damaged or its training diverged; take another checkpoint"
        )


def predictions_of(task: Task, scores: np.ndarray) -> np.ndarray:
    """Class indices [n] of logits, or the scores themselves [n] for regression."""
    return scores[:, 0] if task.is_regression else np.argmax(scores, axis=1)


def mean_loss(task: Task, scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy (natural logarithm) or mean squared error over all rows, in float64."""
    scores = scores.astype(np.float64)
    if task.is_regression:
        return float(np.mean((scores[:, 0] - labels) ** 2))
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_sum - shifted[np.arange(len(labels)), labels]))


def evaluate(
    task: Task, model: Any, rows: EncodedDataset, batch_size: int, pad_multiple: int = 1
) -> Result:
    """Loss and metrics of the model (in evaluation mode) over all rows."""
    assert rows.labels is not None
    scores = logits(model, rows, batch_size, pad_multiple)
    given = predictions_of(task, scores)
    alike = not task.is_regression and len(given) > 1 and len(set(given.tolist())) == 1
    return Result(
        mean_loss(task, scores, rows.labels),
        metrics.compute(task, given, rows.labels),
        task.labels[int(given[0])] if alike else None,
        scores,
    )
