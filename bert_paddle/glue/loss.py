"""The forward pass and the loss of fine-tuning."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from bert_paddle.glue.task_definition import LABELS, ONE_CLASS, SCORE, Task
from bert_paddle.models.compute_mode import to_device
from bert_paddle.models.forward_pass import Batch, ForwardPass
from bert_paddle.models.kernels import dispatch
from bert_paddle.models.kernels.products import FLOAT32, Products
from bert_paddle.training.step import Objective


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The cross-entropy of the classes' softmax."""
    import paddle.nn.functional as F

    return F.cross_entropy(logits, labels, reduction="sum")


def squared_error(logits: Any, labels: Any) -> Any:
    """The squared error of the score, the first output."""
    import paddle.nn.functional as F

    return F.mse_loss(logits[:, 0], labels, reduction="sum")


def binary_cross_entropy(logits: Any, labels: Any) -> Any:
    """The binary cross-entropy of each label's sigmoid, the mean over the labels."""
    import paddle.nn.functional as F

    loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    return loss / labels.shape[1]


# The loss by what is predicted for a row: functions of logits, float32 [rows, outputs], and labels,
# as `EncodedDataset.batch` has them. They return the sum over the rows, a scalar tensor.
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    ONE_CLASS: cross_entropy,
    SCORE: squared_error,
    LABELS: binary_cross_entropy,
}


def task_objective(
    task: Task, class_weights: np.ndarray | None = None, label_smoothing: float = 0.0
) -> Objective:
    """The loss to minimize for a task. class_weights, label_smoothing: of a classification, see
    `weighted_objective`."""
    if not task.has_classes or class_weights is None and label_smoothing == 0:
        return objective(task.output)
    weights = np.ones(len(task.labels), np.float32) if class_weights is None else class_weights
    return weighted_objective(weights, label_smoothing)


def objective(output: str = ONE_CLASS) -> Objective:
    """The mean over all rows of the loss of such an output, as sums and counts (see Objective)."""
    loss = LOSSES[output]

    def sums(forward: ForwardPass, batch: Batch) -> dict[str, Any]:
        logits = forward(batch).astype("float32")
        return {"loss": loss(logits, to_device(batch["labels"]))}

    def counts(batch: Batch) -> dict[str, int]:
        return {"loss": len(batch["labels"])} if batch else {}

    return Objective(sums, counts)


def weighted_objective(weights: np.ndarray, label_smoothing: float) -> Objective:
    """Cross-entropy with class weights w, float32 [classes], and label smoothing s:

        sum over rows of (1 - s) w[y] (-log p[y]) + s / classes * sum over c of w[c] (-log p[c])
        ---------------------------------------------------------------------------------------
                                     sum over rows of w[y]

    This is torch.nn.CrossEntropyLoss(weight, label_smoothing=s) and, where all weights are 1, the
    loss of transformers' LabelSmoother.
    """
    import paddle
    import paddle.nn.functional as F

    share = label_smoothing / len(weights)
    float64_weights = weights.astype(np.float64)

    def sums(forward: ForwardPass, batch: Batch) -> dict[str, Any]:
        logits = forward(batch).astype("float32")
        labels, weight = to_device(batch["labels"]), to_device(weights)
        loss = F.cross_entropy(logits, labels, weight=weight, reduction="sum")
        if share:
            spread = paddle.sum(F.log_softmax(logits) * weight)
            loss = (1 - label_smoothing) * loss - share * spread
        return {"loss": loss}

    def counts(batch: Batch) -> dict[str, float]:
        if not batch:
            return {}
        labels = batch["labels"]
        return {"loss": float(float64_weights[labels].sum()), "rows": len(labels)}

    return Objective(sums, counts, rows="rows", rows_are_a_term=False)


def forward_pass(model: Any, by_kernels: bool, products: Products = FLOAT32) -> ForwardPass:
    """The forward pass of a classifier: the logits of a batch, a tensor [rows, classes].
    by_kernels: whether our CPU kernels compute it, otherwise PaddleNLP's layers."""
    function: Any = _logits_by_layers
    if by_kernels:
        function = functools.partial(dispatch.classification_logits, products=products)
    return ForwardPass(model, function, by_kernels, products.name)


def _logits_by_layers(model: Any, batch: Batch) -> Any:
    return model(
        to_device(batch["input_ids"]),
        token_type_ids=to_device(batch["segment_ids"]),
        attention_mask=to_device(batch["input_mask"]),
    )
