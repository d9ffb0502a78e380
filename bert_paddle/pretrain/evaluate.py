"""Held-out evaluation: the loss, the share of right words and of right sentence relations."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from bert_paddle.distributed import collectives
from bert_paddle.pretrain.model import forward
from bert_paddle.training.step import Batch


def evaluate(model: Any, batches: Iterable[Batch]) -> dict[str, float]:
    """Values over all held-out rows, of a model in evaluation mode, the same on all processes.

    batches: this process's share, dealt out as `dist.my_share` does; sums are added up in the
    order of all batches, so that the number of processes changes nothing. Losses are natural
    logarithms; the perplexity is of the masked words.
    """
    import paddle

    with paddle.no_grad():
        own = [_sums(*_logits(model, batch), batch) for batch in batches]
    total = np.sum(collectives.gather_shards(own), axis=0, dtype=np.float64)
    words, rows = max(1.0, total[0]), max(1.0, total[3])
    mlm_loss, nsp_loss = float(total[1] / words), float(total[4] / rows)
    return {
        "loss": mlm_loss + nsp_loss,
        "mlm_loss": mlm_loss,
        "mlm_accuracy": float(total[2] / words),
        "perplexity": math.exp(min(mlm_loss, 700.0)),
        "nsp_loss": nsp_loss,
        "nsp_accuracy": float(total[5] / rows),
        "samples": int(total[3]),
    }


def _logits(model: Any, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    words, relationship = forward(model, batch)
    return words.astype("float32").numpy(), relationship.astype("float32").numpy()


def _sums(words: np.ndarray, relationship: np.ndarray, batch: Batch) -> np.ndarray:
    """float64 [6]: count, summed loss and right answers, of masked words, then of rows."""
    parts = (
        _score(words, batch["masked_lm_ids"]),
        _score(relationship, batch["next_sentence_labels"]),
    )
    return np.array([*parts[0], *parts[1]], np.float64)


def _score(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    if len(labels) == 0:
        return 0.0, 0.0, 0.0
    top = logits.max(axis=1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1, dtype=np.float64))
    chosen = logits[np.arange(len(labels)), labels]
    right = int((logits.argmax(axis=1) == labels).sum())
    return float(len(labels)), float((log_sum - chosen).sum()), float(right)
