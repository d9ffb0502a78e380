"""The forward pass and the loss of fine-tuning."""

import functools
from typing import Any

from bert_paddle.models.compute_mode import to_device
from bert_paddle.models.forward_pass import Batch, ForwardPass
from bert_paddle.models.kernels import dispatch
from bert_paddle.models.kernels.products import FLOAT32, Products
from bert_paddle.training.step import Objective


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
