"""Chooses between our kernels and PaddleNLP's layers for a model's encoder; computes the logits of
PaddleNLP's classifier and pre-training model with our kernels."""

from typing import Any

import numpy as np

from bert_paddle.common import own_cache
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.models.kernels import compile_kernels, encoder, linear
from bert_paddle.models.kernels.products import (
    BFLOAT16,
    FLOAT32,
    Products,
    bfloat16_unsupported_reason,
)

Batch = dict[str, np.ndarray]
IN_BFLOAT16 = "encoder: matrix products in bfloat16 by oneDNN"  # a line for the log


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


def choose_products(dtype: str, by_kernels: bool, log: RunLog) -> Products:
    """How the kernels multiply matrices on the CPU with --use_amp, the same on all ranks. dtype:
    --amp_dtype. by_kernels: see `choose_kernels`. Logs what was chosen."""
    reason = why_not_bfloat16(by_kernels)
    if dtype != "bfloat16":
        advice = "" if reason else ", but this one does in bfloat16: --bf16"
        reason = f"CPUs do not compute in {dtype}{advice}"
    reasons = collectives.all_gather(reason)
    if reason := next((reason for reason in reasons if reason), ""):
        log.warning(f"--use_amp has no effect on the CPU: computing in float32 ({reason})")
        return FLOAT32
    log.note(IN_BFLOAT16)
    return BFLOAT16


def why_not_bfloat16(by_kernels: bool) -> str:
    """Why this machine's CPU does not compute a model in bfloat16; "" if it does. by_kernels: see
    `choose_kernels`."""
    if not by_kernels:
        return "only this package's kernels compute in bfloat16"
    return bfloat16_unsupported_reason()


def classification_logits(model: Any, batch: Batch, products: Products = FLOAT32) -> Any:
    """The logits of a BertForSequenceClassification, a float32 tensor [rows, classes].

    batch: input_ids, input_mask, segment_ids, int64 [rows, length].
    """
    rows, length = batch["input_ids"].shape
    first_tokens = _encode(model, batch, np.arange(rows) * length, products)
    pooled = model.bert.pooler(first_tokens.unsqueeze(1))
    return model.classifier(model.dropout(pooled))


def masked_lm_logits(model: Any, batch: Batch, products: Products = FLOAT32) -> Any:
    """The logits of a BertForMaskedLM, a tensor [masked positions, vocab].

    batch: as for `pretraining_logits`.
    """
    import paddle

    positions, index = np.unique(batch["masked_positions"], return_inverse=True)
    if len(positions) == 0:  # the encoder needs a token
        positions = np.zeros(1, np.int64)
    encoded = _encode(model, batch, positions, products)
    masked = paddle.gather(encoded, paddle.to_tensor(index))
    return _mlm_head(model.cls.predictions, masked, products)


def pretraining_logits(model: Any, batch: Batch, products: Products = FLOAT32) -> tuple[Any, Any]:
    """The MLM logits [masked positions, vocab] and NSP logits [rows, 2] of a BertForPretraining.

    batch: as for `classification_logits`, with masked_positions: flat indices into [rows, length].
    """
    import paddle

    rows, length = batch["input_ids"].shape
    first, masked = np.arange(rows) * length, batch["masked_positions"]
    positions = np.union1d(first, masked)  # ascending, without duplicates
    encoded = _encode(model, batch, positions, products)
    first_index, masked_index = (
        paddle.to_tensor(np.searchsorted(positions, part)) for part in (first, masked)
    )
    pooled = model.bert.pooler(paddle.gather(encoded, first_index).unsqueeze(1))
    masked_tokens = paddle.gather(encoded, masked_index)
    mlm_logits = _mlm_head(model.cls.predictions, masked_tokens, products)
    return mlm_logits, model.cls.seq_relationship(pooled)


def _mlm_head(head: Any, hidden: Any, products: Products) -> Any:
    """The logits [n, vocab] of a BertLMPredictionHead for `hidden` [n, hidden]; its projection to
    the vocabulary is the largest product of all."""
    if products is FLOAT32 or len(hidden) == 0:
        return head(hidden)
    hidden = head.layer_norm(head.activation(head.transform(hidden)))
    kernels = encoder.kernels_for(products)
    return linear.apply(hidden, head.decoder.weight, head.decoder.bias, kernels, products)


def _encode(model: Any, batch: Batch, positions: np.ndarray, products: Products) -> Any:
    ids, mask, segments = batch["input_ids"], batch["input_mask"], batch["segment_ids"]
    return encoder.encode(model.bert, ids, mask, segments, positions, products)
