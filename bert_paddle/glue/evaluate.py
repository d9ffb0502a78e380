"""Exact evaluation: each row is evaluated exactly once whatever the number of processes, and the
metrics are computed over all rows at once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from bert_paddle.common.errors import RunError
from bert_paddle.common.intervals import Interval
from bert_paddle.distributed import collectives
from bert_paddle.glue import bootstrap, bootstrap_labels, metrics, row_outputs, thresholds
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.row_outputs import RowOutputs
from bert_paddle.glue.tasks import Task
from bert_paddle.models.forward_pass import Batch, ForwardPass

Result = TypeVar("Result")


@dataclass(frozen=True)
class EvalResult:
    """The mean loss over all rows, and the task's metrics by their names in all_results.json.

    intervals: of the metrics, where they can be computed (glue.bootstrap).
    single_class: the class predicted for every row; None if predictions differ, and for regression.
    outputs: in the order of the rows. per_label: of any number of labels per row, the F1 of each by
    name. thresholds: those that the predictions are by, in the order of the labels.
    """

    loss: float
    metrics: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    single_class: str | None = None
    outputs: RowOutputs | None = field(default=None, repr=False, compare=False)
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
    order, batches = _batches(dataset, batch_size)
    sorted_logits = np.concatenate(
        _for_each_batch(
            batches,
            lambda batch: _logits(forward, dataset.batch(batch, pad_multiple)),
            lambda done: show_rows(done * batch_size),
        )
    )
    logits = np.zeros_like(sorted_logits)
    logits[order] = sorted_logits
    return logits


def compute_outputs(
    task: Task,
    forward: ForwardPass,
    dataset: EncodedDataset,
    batch_size: int,
    pad_multiple: int = 1,
    show_rows: Callable[[int], None] = lambda rows_done: None,
) -> RowOutputs:
    """What `row_outputs.of_logits` keeps of the logits of `compute_logits`. With many classes the
    logits of no more than a batch are in memory."""
    labels = dataset.labels
    if not row_outputs.lists_top_classes(task):
        logits = compute_logits(forward, dataset, batch_size, pad_multiple, show_rows)
        return row_outputs.of_logits(task, logits, labels)
    order, batches = _batches(dataset, batch_size)
    parts = _for_each_batch(
        batches,
        lambda batch: row_outputs.of_logits(
            task,
            _logits(forward, dataset.batch(batch, pad_multiple)),
            None if labels is None else labels[batch],
        ),
        lambda done: show_rows(done * batch_size),
    )
    return row_outputs.in_order(parts, order)


def _batches(dataset: EncodedDataset, batch_size: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The rows' indices by decreasing length, and in batches."""
    order = np.argsort(-dataset.encoded.lengths, kind="stable")
    return order, [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def _for_each_batch(
    batches: list[np.ndarray],
    compute: Callable[[np.ndarray], Result],
    before_round: Callable[[int], None],
) -> list[Result]:
    """The results of `compute` for all batches, which the ranks share, on all ranks."""
    import paddle

    with paddle.no_grad():
        own = [compute(batch) for batch in collectives.sharded_rounds(batches, before_round)]
    return collectives.gather_shards(own)


def _logits(forward: ForwardPass, batch: Batch) -> np.ndarray:
    return forward(batch).astype("float32").numpy()


def check_finite(finite: np.ndarray, model_name: str) -> None:
    """Raise RunError if the logits of any row are not finite: its prediction would be meaningless.
    finite: bool [n], whether a row's are. model_name: for the message."""
    bad = int(np.sum(~finite))
    if bad:
        raise RunError(
            f"{model_name} produces non-finite logits for {bad} of {len(finite)} row(s): its "
            "weights are damaged or its training diverged; use another checkpoint"
        )


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
    outputs = compute_outputs(task, forward, dataset, batch_size, pad_multiple, show_rows)
    if fit_thresholds:
        assert outputs.shares is not None
        task = replace(task, thresholds=thresholds.fit(outputs.shares, labels))
        outputs = replace(outputs, predictions=row_outputs.reaching(task, outputs.shares))
    predictions = outputs.predictions
    all_equal = len(predictions) > 1 and bool((predictions == predictions[0]).all())
    has_single_class = all_equal and not task.is_regression
    per_label: dict[str, float] = {}
    resampling = bootstrap_labels if task.multi_label else bootstrap
    intervals = resampling.intervals(task.metrics, predictions, labels)
    if task.multi_label:
        f1 = metrics.f1_per_label(predictions, labels)
        per_label = dict(zip(task.labels, f1, strict=True))
    return EvalResult(
        outputs.mean_loss,
        metrics.compute(task, predictions, labels),
        intervals,
        row_outputs.prediction_text(task, predictions[0]) if has_single_class else None,
        outputs,
        per_label,
        task.thresholds,
    )
