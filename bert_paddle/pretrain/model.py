"""PaddleNLP's BertForPretraining with fresh or given weights, and its loss."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import classifier as models
from bert_paddle.models import load_weights, paddlenlp_bert
from bert_paddle.models.compute_mode import tensor
from bert_paddle.models.kernels import dispatch as fused
from bert_paddle.pretrain.args import SIZES
from bert_paddle.training.step import Batch, Objective

HEADS = ("cls.predictions.", "cls.seq_relationship.")


def build(
    config: Mapping[str, Any], seed: int, checkpoint: load_weights.LoadedWeights | None
) -> tuple[Any, list[str]]:
    """A BertForPretraining and notes on its weights.

    config: BertConfig's values. Without a checkpoint all weights are drawn from `seed`; with one,
    only the heads that it lacks. Raises WeightsError where the checkpoint does not fit.
    """
    bert = paddlenlp_bert.bert_module()
    try:
        model = bert.BertForPretraining(bert.BertConfig(**config))
    except MemoryError:
        sizes = ", ".join(f"{name} {config[name]}" for name in SIZES)
        raise WeightsError(f"no memory for a model of {sizes}: give smaller sizes") from None
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    tensors = initial_tensors(shapes, config["initializer_range"], seed)
    if checkpoint is None:
        notes = [f"random weights from seed {seed}"]
    else:
        report = _fit(checkpoint, shapes)
        tensors |= report.tensors
        notes = [*checkpoint.notes, *report.notes]
        if report.fresh_head:
            notes.append(f"new head ({report.fresh_head})")
    models.set_tensors(model, tensors)
    return model, notes


def _fit(
    checkpoint: load_weights.LoadedWeights, shapes: Mapping[str, Sequence[int]]
) -> load_weights.MatchedWeights:
    try:
        return load_weights.match_weights(checkpoint.tensors, shapes, HEADS)
    except WeightsError as error:
        raise WeightsError(
            f"--init_from: {error} (the configuration comes from --model_name_or_path and the size "
            "flags: give the same model there)"
        ) from None


def initial_tensors(
    shapes: Mapping[str, Sequence[int]], std: float, seed: int
) -> dict[str, np.ndarray]:
    """BERT's initial weights: a normal distribution of deviation `std` cut off at two deviations,
    as google-research/bert draws them; biases 0, LayerNorm's weights 1.

    Each tensor depends on its name and `seed` alone, so it is the same in every process.
    """
    tensors = {}
    for name, shape in shapes.items():
        if name.split(".")[-1].endswith("bias"):
            tensors[name] = np.zeros(shape, np.float32)
        elif "norm" in name.lower():
            tensors[name] = np.ones(shape, np.float32)
        else:
            # Tied to the word embeddings: the same values under both names.
            drawn = name.replace("cls.predictions.decoder", "bert.embeddings.word_embeddings")
            rng = np.random.default_rng([seed, zlib.crc32(drawn.encode())])
            tensors[name] = _truncated_normal(rng, shape, std)
    return tensors


def _truncated_normal(rng: np.random.Generator, shape: Sequence[int], std: float) -> np.ndarray:
    values = rng.standard_normal(tuple(shape), np.float32)
    while (far := np.abs(values) > 2).any():
        values[far] = rng.standard_normal(int(far.sum()), np.float32)
    return values * np.float32(std)


def objective() -> Objective:
    """BERT's loss: the mean over the masked positions of the global batch, plus the mean over its
    rows of the next-sentence loss (cross-entropies, natural logarithm)."""
    import paddle.nn.functional as F

    def sums(model: Any, batch: Batch) -> dict[str, Any]:
        words, relationship = forward(model, batch)
        masked_lm_ids = tensor(batch["masked_lm_ids"])
        next_sentence_labels = tensor(batch["next_sentence_labels"])
        return {
            "mlm": F.cross_entropy(words.astype("float32"), masked_lm_ids, reduction="sum"),
            "nsp": F.cross_entropy(
                relationship.astype("float32"), next_sentence_labels, reduction="sum"
            ),
        }

    def counts(batch: Batch) -> dict[str, int]:
        if not batch:
            return {}
        return {"mlm": len(batch["masked_lm_ids"]), "nsp": len(batch["next_sentence_labels"])}

    return Objective(sums, counts, rows="nsp")


def forward(model: Any, batch: Batch) -> tuple[Any, Any]:
    """Logits over the vocabulary [masked positions, vocab] and over the two relations [rows, 2].

    The vocabulary product is made for the masked positions only, a seventh of all.
    """
    if fused.uses_kernels(model):
        return fused.pretraining_logits(model, batch)
    return model(
        tensor(batch["input_ids"]),
        token_type_ids=tensor(batch["segment_ids"]),
        attention_mask=tensor(batch["input_mask"]),
        masked_positions=tensor(batch["masked_positions"]),
    )
