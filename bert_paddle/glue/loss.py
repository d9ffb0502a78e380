"""The forward pass and the loss of fine-tuning."""

import functools
from typing import Any

import numpy as np

from bert_paddle.glue.task_definition import Task
from bert_paddle.models.compute_mode import to_device
from bert_paddle.models.forward_pass import Batch, ForwardPass
from bert_paddle.models.kernels import dispatch
from bert_paddle.models.kernels.products import FLOAT32, Products
from bert_paddle.training.step import Objective


def task_objective(
    task: Task, class_weights: np.ndarray | None = None, label_smoothing: float = 0.0
) -> Objective:
    """The loss to minimize for a task. class_weights, label_smoothing: of a classification, see
    `weighted_objective`."""
    if task.multi_label:
        return multi_label_objective()
    if class_weights is None and label_smoothing == 0:
        return objective(task.is_regression)
    weights = np.ones(len(task.labels), np.float32) if class_weights is None else class_weights
    return weighted_objective(weights, label_smoothing)


def objective(regression: bool) -> Objective:
    """The loss to minimize, as sums and counts over rows (see Objective): cross-entropy over the
    classes, or the squared error for regression."""
    import paddle.nn.functional as F

    def sums(forward: ForwardPass, batch: Batch) -> dict[str, Any]:
        logits = forward(batch)
        labels = to_device(batch["labels"])
        if regression:
            loss = F.mse_loss(logits[:, 0].astype("float32"), labels, reduction="sum")
        else:
            loss = F.cross_entropy(logits.astype("float32"), labels, reduction="sum")
        return {"loss": loss}

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


def multi_label_objective() -> Objective:
    """Binary cross-entropy of each label's sigmoid, the mean over rows and labels."""
    import paddle.nn.functional as F

    def sums(forward: ForwardPass, batch: Batch) -> dict[str, Any]:
        labels = to_device(batch["labels"])
        logits = forward(batch).astype("float32")
        loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        return {"loss": loss / labels.shape[1]}

    def counts(batch: Batch) -> dict[str, int]:
        return {"loss": len(batch["labels"])} if batch else {}

    return Objective(sums, counts)


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
