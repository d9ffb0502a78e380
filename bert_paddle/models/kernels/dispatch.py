"""Chooses between our kernels and PaddleNLP's layers for a model's encoder; computes the logits of
PaddleNLP's classifier and pre-training model with our kernels."""

from typing import Any

import numpy as np

from bert_paddle.common import own_cache
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.models.kernels import compile_kernels, encoder

Batch = dict[str, np.ndarray]


def choose_kernels(model: Any, cpu_kernels: bool, log: RunLog) -> bool:
    """Whether our kernels compute the model, the same on all ranks; on a CPU, log why the slower
    layers of PaddleNLP are used.

    PaddleNLP's layers give the same results up to rounding, with dropout masks from the same
    distribution."""
    reason = encoder.unsupported_reason(model.bert) if cpu_kernels else "--cpu_kernels 0"
    # All ranks decide alike: the choice covers AdamW too, and with different implementations the
    # ranks' weights would drift apart by rounding.
    reasons = collectives.all_gather(reason)
    if not reason and any(reasons):
        rank = next(rank for rank, other in enumerate(reasons) if other)
        reason = f"rank {rank} cannot use them: {reasons[rank]}"
    if not reason and (problem := own_cache.problem(compile_kernels.CACHE_NAME)):
        log.warning(f"the cache is not used, kernels are compiled for this run alone: {problem}")
    if reason and not collectives.on_gpu():
        log.note(f"encoder: PaddleNLP's layers, slower than our kernels ({reason})")
    return not reason


def classification_logits(model: Any, batch: Batch) -> Any:
    """The logits of a BertForSequenceClassification, a tensor [rows, classes].

    batch: input_ids, input_mask, segment_ids, int64 [rows, length].
    """
    rows, length = batch["input_ids"].shape
    first_tokens = _encode(model, batch, np.arange(rows) * length)
    pooled = model.bert.pooler(first_tokens.unsqueeze(1))
    return model.classifier(model.dropout(pooled))


def masked_lm_logits(model: Any, batch: Batch) -> Any:
    """The logits of a BertForMaskedLM, a tensor [masked positions, vocab].

    batch: as for `pretraining_logits`.
    """
    import paddle

    positions, index = np.unique(batch["masked_positions"], return_inverse=True)
    if len(positions) == 0:  # the encoder needs a token
        positions = np.zeros(1, np.int64)
    encoded = _encode(model, batch, positions)
    return model.cls(paddle.gather(encoded, paddle.to_tensor(index)))


def pretraining_logits(model: Any, batch: Batch) -> tuple[Any, Any]:
    """The MLM logits [masked positions, vocab] and NSP logits [rows, 2] of a BertForPretraining.

    batch: as for `classification_logits`, with masked_positions: flat indices into [rows, length].
    """
    import paddle

    rows, length = batch["input_ids"].shape
    first, masked = np.arange(rows) * length, batch["masked_positions"]
    positions = np.union1d(first, masked)  # ascending, without duplicates
    encoded = _encode(model, batch, positions)
    first_index, masked_index = (
        paddle.to_tensor(np.searchsorted(positions, part)) for part in (first, masked)
    )
    pooled = model.bert.pooler(paddle.gather(encoded, first_index).unsqueeze(1))
    return model.cls(paddle.gather(encoded, masked_index), pooled)


def _encode(model: Any, batch: Batch, positions: np.ndarray) -> Any:
    ids, mask, segments = batch["input_ids"], batch["input_mask"], batch["segment_ids"]
    return encoder.encode(model.bert, ids, mask, segments, positions)
