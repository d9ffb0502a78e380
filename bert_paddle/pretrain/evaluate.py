"""Held-out evaluation: loss and accuracy of masked LM and NSP."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from bert_paddle.common.errors import DataError
from bert_paddle.distributed import collectives
from bert_paddle.models.forward_pass import Batch, ForwardPass


def evaluate(forward: ForwardPass, batches: Iterable[Batch], nsp: bool = True) -> dict[str, float]:
    """Evaluate a model, which must be in evaluation mode; returns the metrics over all held-out
    rows, the same on every rank. nsp: whether the model predicts next sentences; else `loss` is the
    masked-LM loss alone.

    Raises DataError if no row has a masked token: the mean of nothing is no loss.
    batches: this rank's share, as assigned by `collectives.sharded_rounds`. The sums of all batches
    are added in their original order, so that the result does not depend on the world size. Losses
    use natural logarithms; the perplexity is that of the masked tokens.
    """
    import paddle

    with paddle.no_grad():
        sums = [_sum_scores(*_logits(forward, batch), batch) for batch in batches]
    total = np.asarray(collectives.gather_shards(sums), np.float64).sum(axis=0)
    masked_tokens, rows = total[0], total[3]
    if masked_tokens == 0:
        raise DataError("no evaluated row has a masked token: there is no masked-LM loss")
    mlm_loss = float(total[1] / masked_tokens)
    metrics = {
        "loss": mlm_loss,
        "mlm_loss": mlm_loss,
        "mlm_accuracy": float(total[2] / masked_tokens),
        "perplexity": math.exp(min(mlm_loss, 700.0)),  # exp(710) overflows
    }
    if nsp:
        nsp_loss = float(total[4] / rows)
        metrics |= {"loss": mlm_loss + nsp_loss, "nsp_loss": nsp_loss}
        metrics["nsp_accuracy"] = float(total[5] / rows)
    return metrics | {"samples": int(rows)}


def _logits(forward: ForwardPass, batch: Batch) -> tuple[np.ndarray, np.ndarray | None]:
    mlm_logits, nsp_logits = forward(batch)
    return _as_numpy(mlm_logits), None if nsp_logits is None else _as_numpy(nsp_logits)


def _as_numpy(logits: Any) -> np.ndarray:
    return logits.astype("float32").numpy()


def _sum_scores(mlm_logits: np.ndarray, nsp_logits: np.ndarray | None, batch: Batch) -> np.ndarray:
    """float64 [6]: `_score` of the masked tokens (MLM), then of the rows (NSP)."""
    mlm = _score(mlm_logits, batch["masked_lm_ids"])
    nsp = (float(len(batch["input_ids"])), 0.0, 0.0)
    if nsp_logits is not None:
        nsp = _score(nsp_logits, batch["next_sentence_labels"])
    return np.array([*mlm, *nsp], np.float64)


def _score(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float, float]:
    """The number of labels, their summed cross-entropy, and the number of correct predictions.

    logits: float32 [n, classes]. labels: int64 [n].
    """
    if len(labels) == 0:
        return 0.0, 0.0, 0.0
    maximum = logits.max(axis=1)
    log_sum = maximum + np.log(np.exp(logits - maximum[:, None]).sum(axis=1, dtype=np.float64))
    label_logits = logits[np.arange(len(labels)), labels]
    correct = int((logits.argmax(axis=1) == labels).sum())
    return float(len(labels)), float((log_sum - label_logits).sum()), float(correct)
