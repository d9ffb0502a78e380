"""Exact evaluation: loss and perplexity over all predicted tokens, each counted once whatever the
batch size and the number of processes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bert_paddle.clm.dataset import TextDataset
from bert_paddle.clm.loss import token_losses
from bert_paddle.common.errors import RunError
from bert_paddle.distributed import collectives

_MAX_LOSS = 700.0  # exp(710) overflows


def evaluate(
    model: Any,
    dataset: TextDataset,
    batch_size: int,
    show_rows: Callable[[int], None] = lambda rows_done: None,
) -> dict[str, float]:
    """The loss, the mean cross-entropy of all predicted tokens with natural logarithms, and the
    perplexity, its exponential, of a model in evaluation mode; the same on every rank.

    Rows are batched by length and distributed over the ranks; the sums of the rows are added in
    the rows' order. show_rows: called between batches with the number of rows that all ranks have
    finished. Raises RunError if the loss is not finite, StopSignal as `collectives.sharded_rounds`.
    """
    import paddle

    order = np.argsort(-dataset.lengths, kind="stable")
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    with paddle.no_grad():
        own = [
            _row_sums(model, dataset, batch)
            for batch in collectives.sharded_rounds(
                batches, lambda done: show_rows(done * batch_size)
            )
        ]
    sums = np.zeros(len(dataset))
    sums[order] = np.concatenate(collectives.gather_shards(own))
    loss = float(sums.sum() / dataset.predicted_tokens)
    if not math.isfinite(loss):
        raise RunError(
            f"the evaluation's loss is {loss}: the weights are damaged or the training diverged; "
            "use another checkpoint"
        )
    return {"loss": loss, "perplexity": math.exp(min(loss, _MAX_LOSS))}


def _row_sums(model: Any, dataset: TextDataset, rows: np.ndarray) -> np.ndarray:
    """The summed loss of each row, float64 [rows]."""
    batch = dataset.batch(rows)
    losses = token_losses(model, batch).numpy().astype(np.float64)
    row_numbers = batch["predicted_positions"] // batch["input_ids"].shape[1]
    return np.bincount(row_numbers, weights=losses, minlength=len(rows))
