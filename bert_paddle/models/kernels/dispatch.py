"""PaddleNLP's classifier and pre-training model with their encoder computed on packed rows."""

from typing import Any

import numpy as np

from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.models.kernels import encoder

Batch = dict[str, np.ndarray]


def choose_encoder(model: Any, wanted: bool, log: RunLog) -> None:
    """Decide how a model is computed, and say so where it is the slower way."""
    against = encoder.unsupported_reason(model.bert) if wanted else "--cpu_kernels 0"
    # All processes compute alike, or they would drift apart by rounding.
    everyone = collectives.all_gather(against)
    if not against and any(everyone):
        rank = next(rank for rank, one in enumerate(everyone) if one)
        against = f"rank {rank} cannot: {everyone[rank]}"
    model.by_kernels = not against
    if against and not collectives.on_gpu():
        log.note(f"encoder: PaddleNLP's layers, which take longer than our kernels ({against})")


def uses_kernels(model: Any) -> bool:
    """Whether the model is computed by our kernels: on the CPU, with a C compiler, unless `prepare`
    was told otherwise. Either way results are the same up to rounding, and dropout draws from the
    same distribution."""
    if not hasattr(model, "bert"):
        return False
    if not hasattr(model, "by_kernels"):
        model.by_kernels = not encoder.unsupported_reason(model.bert)
    return model.by_kernels


def classify(model: Any, batch: Batch) -> Any:
    """The logits [rows, classes] of a BertForSequenceClassification, a tensor.

    batch: input_ids, input_mask, segment_ids, int64 [rows, length].
    """
    rows, length = batch["input_ids"].shape
    pooled = model.bert.pooler(_encoded(model, batch, np.arange(rows) * length).unsqueeze(1))
    return model.classifier(model.dropout(pooled))


def pretraining_logits(model: Any, batch: Batch) -> tuple[Any, Any]:
    """Logits of a BertForPretraining over the vocabulary [masked positions, vocab] and over the
    two relations [rows, 2].

    batch: as for `classify`, and masked_positions, flat indices into [rows, length].
    """
    import paddle

    rows, length = batch["input_ids"].shape
    first, masked = np.arange(rows) * length, batch["masked_positions"]
    wanted = np.union1d(first, masked)
    found = _encoded(model, batch, wanted)
    places = [paddle.to_tensor(np.searchsorted(wanted, one)) for one in (first, masked)]
    pooled = model.bert.pooler(paddle.gather(found, places[0]).unsqueeze(1))
    return model.cls(paddle.gather(found, places[1]), pooled)


def _encoded(model: Any, batch: Batch, wanted: np.ndarray) -> Any:
    ids, mask, segments = batch["input_ids"], batch["input_mask"], batch["segment_ids"]
    return encoder.encode(model.bert, ids, mask, segments, wanted)
