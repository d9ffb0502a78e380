"""The forward pass and the loss of fine-tuning."""

from bert_paddle.models.compute_mode import to_device
from bert_paddle.models.kernels import dispatch
from bert_paddle.training.step import Batch, Objective


def objective(regression: bool) -> Objective:
    """The loss to minimize, as sums and counts over rows (see Objective): cross-entropy over the
    classes, or the squared error for regression."""
    import paddle.nn.functional as F

    def sums(model, batch: Batch) -> dict:
        logits = forward(model, batch)
        labels = to_device(batch["labels"])
        if regression:
            loss = F.mse_loss(logits[:, 0].astype("float32"), labels, reduction="sum")
        else:
            loss = F.cross_entropy(logits.astype("float32"), labels, reduction="sum")
        return {"loss": loss}

    def counts(batch: Batch) -> dict[str, int]:
        return {"loss": len(batch["labels"])} if batch else {}

    return Objective(sums, counts)


def forward(model, batch: Batch):
    """The logits of a batch: a tensor [rows, classes]."""
    if dispatch.uses_kernels(model):
        return dispatch.classification_logits(model, batch)
    return model(
        to_device(batch["input_ids"]),
        token_type_ids=to_device(batch["segment_ids"]),
        attention_mask=to_device(batch["input_mask"]),
    )
