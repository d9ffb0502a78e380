"""PaddleNLP's BertForPretraining, or BertForMaskedLM without next-sentence prediction (NSP), with
random or loaded weights, and its loss."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import load_weights, model_state, paddlenlp_bert
from bert_paddle.models.compute_mode import to_device
from bert_paddle.models.forward_pass import Batch, ForwardPass
from bert_paddle.models.kernels import dispatch
from bert_paddle.pretrain.args import SIZES
from bert_paddle.training.step import Objective

# Prefixes of the weights that a checkpoint may lack.
HEADS = ("cls.predictions.", "cls.seq_relationship.")
# Only NSP uses and trains it. Models for masked LM alone have none in Hugging Face's format.
POOLER = "bert.pooler."


def build_model(
    config: Mapping[str, Any],
    seed: int,
    checkpoint: load_weights.LoadedWeights | None,
    nsp: bool = True,
) -> tuple[Any, list[str]]:
    """Returns a BertForPretraining, or with nsp=False a BertForMaskedLM, whose pooler is not
    trained, and notes for the log on where its weights come from.

    config: keyword arguments of BertConfig. Without a checkpoint all weights are drawn from `seed`;
    with one, only heads (with nsp=False the pooler too) that it does not contain. Raises
    WeightsError when the checkpoint does not match the configuration.
    """
    bert = paddlenlp_bert.bert_module()
    model_class = bert.BertForPretraining if nsp else bert.BertForMaskedLM
    try:
        model = model_class(bert.BertConfig(**config))
    except MemoryError:
        sizes = ", ".join(f"{name} {config[name]}" for name in SIZES)
        raise WeightsError(
            f"not enough memory for a model with {sizes}: give smaller sizes"
        ) from None
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    tensors = initial_tensors(shapes, config["initializer_range"], seed)
    if checkpoint is None:
        notes = [f"random weights from seed {seed}"]
    else:
        matched = _match_weights(checkpoint, shapes, HEADS if nsp else (HEADS[0], POOLER))
        tensors |= matched.tensors
        notes = [*checkpoint.notes, *matched.notes]
        if matched.new_head_reason:
            notes.append(f"new head ({matched.new_head_reason})")
    model_state.set_tensors(model, tensors)
    if not nsp:
        for parameter in model.bert.pooler.parameters():
            parameter.stop_gradient = True
    return model, notes


def _match_weights(
    checkpoint: load_weights.LoadedWeights,
    shapes: Mapping[str, Sequence[int]],
    heads: Sequence[str],
) -> load_weights.MatchedWeights:
    """The checkpoint's tensors for the model's names; errors say which flags disagree."""
    try:
        return load_weights.match_weights(checkpoint.tensors, shapes, heads)
    except WeightsError as error:
        raise WeightsError(
            f"--init_from: {error} (the configuration comes from --model_name_or_path and the size "
            "flags: give the same model as --init_from there)"
        ) from None


def initial_tensors(
    shapes: Mapping[str, Sequence[int]], std: float, seed: int
) -> dict[str, np.ndarray]:
    """BERT's initial weights: a normal distribution with standard deviation `std`, truncated at two
    standard deviations, as in google-research/bert; biases 0, LayerNorm weights 1.

    Each tensor depends only on its name and `seed`, so it is the same in every process.
    """
    tensors = {}
    for name, shape in shapes.items():
        if name.split(".")[-1].endswith("bias"):
            tensors[name] = np.zeros(shape, np.float32)
        elif "norm" in name.lower():
            tensors[name] = np.ones(shape, np.float32)
        else:
            # The decoder is tied to the word embeddings: draw the same values for both names.
            tied_name = name.replace("cls.predictions.decoder", "bert.embeddings.word_embeddings")
            rng = np.random.default_rng([seed, zlib.crc32(tied_name.encode())])
            tensors[name] = _truncated_normal(rng, shape, std)
    return tensors


def _truncated_normal(rng: np.random.Generator, shape: Sequence[int], std: float) -> np.ndarray:
    """float32; values beyond two standard deviations are drawn again."""
    values = rng.standard_normal(tuple(shape), np.float32)
    while (too_large := np.abs(values) > 2).any():
        values[too_large] = rng.standard_normal(int(too_large.sum()), np.float32)
    return values * np.float32(std)


def objective(nsp: bool = True) -> Objective:
    """BERT's loss: the masked-LM loss, averaged over the masked positions of the global batch, plus
    (with `nsp`) the next-sentence loss, averaged over its rows. Both are cross-entropies with
    natural logarithms."""
    import paddle.nn.functional as F

    def sums(forward: ForwardPass, batch: Batch) -> dict[str, Any]:
        mlm_logits, nsp_logits = forward(batch)
        masked_lm_ids = to_device(batch["masked_lm_ids"])
        terms = {"mlm": F.cross_entropy(_float32(mlm_logits), masked_lm_ids, reduction="sum")}
        if nsp:
            labels = to_device(batch["next_sentence_labels"])
            terms["nsp"] = F.cross_entropy(_float32(nsp_logits), labels, reduction="sum")
        return terms

    rows = "nsp" if nsp else "rows"

    def counts(batch: Batch) -> dict[str, int]:
        if not batch:  # no rows for this rank
            return {}
        return {"mlm": len(batch["masked_lm_ids"]), rows: len(batch["input_ids"])}

    return Objective(sums, counts, rows, rows_are_a_term=nsp)


def _float32(logits: Any) -> Any:
    return logits.astype("float32")


def forward_pass(model: Any, by_kernels: bool, nsp: bool = True) -> ForwardPass:
    """The forward pass: masked-LM logits [masked positions, vocab] and NSP logits [rows, 2]; None
    instead of these for a model without an NSP head (nsp=False). by_kernels: whether our CPU
    kernels compute it, otherwise PaddleNLP's layers.

    The vocabulary projection is computed for the masked positions only, about 15 % of all.
    """
    function = dispatch.pretraining_logits if by_kernels else _logits_by_layers
    if not nsp:
        function = _mlm_logits_by_kernels if by_kernels else _mlm_logits_by_layers
    return ForwardPass(model, function, by_kernels)


def _mlm_logits_by_kernels(model: Any, batch: Batch) -> tuple[Any, None]:
    return dispatch.masked_lm_logits(model, batch), None


def _mlm_logits_by_layers(model: Any, batch: Batch) -> tuple[Any, None]:
    return _logits_by_layers(model, batch), None


def _logits_by_layers(model: Any, batch: Batch) -> Any:
    return model(
        to_device(batch["input_ids"]),
        token_type_ids=to_device(batch["segment_ids"]),
        attention_mask=to_device(batch["input_mask"]),
        masked_positions=to_device(batch["masked_positions"]),
    )
