"""The loss of causal language modeling: the cross-entropy of every token but a text's first, given
those before it in its text. Padding has no part in it."""

from typing import Any

import numpy as np

from bert_paddle.models import gpt2
from bert_paddle.models.compute_mode import to_device
from bert_paddle.models.forward_pass import Batch
from bert_paddle.training.step import Objective

TERM = "loss"


def objective(recompute: bool = False) -> Objective:
    """The mean over all predicted tokens of the global batch, with natural logarithms. recompute:
    see gpt2.hidden_states."""

    def sums(model: Any, batch: Batch) -> dict[str, Any]:
        return {TERM: token_losses(model, batch, recompute).sum()}

    def counts(batch: Batch) -> dict[str, int]:
        if not batch:  # no rows for this rank
            return {}
        return {TERM: len(batch["labels"]), "rows": len(batch["input_ids"])}

    return Objective(sums, counts, rows="rows", rows_are_a_term=False)


def token_losses(model: Any, batch: Batch, recompute: bool = False) -> Any:
    """The cross-entropy of each predicted token, a float32 tensor [n]. batch: see
    TextDataset.batch; recompute: see gpt2.hidden_states."""
    import paddle.nn.functional as F

    logits = predicted_logits(model, batch, recompute).astype("float32")
    return F.cross_entropy(logits, to_device(batch["labels"]), reduction="none").reshape([-1])


def predicted_logits(model: Any, batch: Batch, recompute: bool = False) -> Any:
    """The logits [n, vocab] at the positions after which a token is predicted: the output layer,
    most of a small model's work, does not compute padding."""
    import paddle

    gpt2.check_ids(model, batch["input_ids"])
    mask = positions = None
    if "text_numbers" in batch:
        mask = gpt2.text_mask(batch["text_numbers"])
        positions = to_device(batch["position_ids"])
    ids = to_device(batch["input_ids"])
    hidden = gpt2.hidden_states(model, ids, positions, mask, recompute=recompute)
    flat = hidden.reshape([-1, hidden.shape[-1]])
    return gpt2.logits(model, paddle.gather(flat, to_device(batch["predicted_positions"])))


def unigram_perplexity(train_tokens: np.ndarray, dev_tokens: np.ndarray, vocab_size: int) -> float:
    """The perplexity of tokens that are predicted by how often each is among the training tokens,
    with one added to each count: what a model must be below to have learned anything of order."""
    counts = np.bincount(train_tokens, minlength=vocab_size) + 1.0
    log_share = np.log(counts) - np.log(counts.sum())
    return float(np.exp(-log_share[dev_tokens].mean()))
