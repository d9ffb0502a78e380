"""PaddleNLP's BertForPretraining, or BertForMaskedLM without next-sentence prediction (NSP), with
random or loaded weights, and its loss."""

import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import load_weights, model_state
from bert_paddle.models.activations import build_bert
from bert_paddle.models.compute_mode import to_device
from bert_paddle.models.forward_pass import Batch, ForwardPass
from bert_paddle.models.kernels import dispatch
from bert_paddle.models.kernels.products import FLOAT32, Products
from bert_paddle.pretrain.args import SIZES
from bert_paddle.training.step import Objective

_EMBEDDINGS = "bert.embeddings.word_embeddings.weight"


def needed_heads(nsp: bool) -> tuple[str, ...]:
    """Prefixes of the heads' weights, which a checkpoint may lack."""
    return ("cls.predictions.", "cls.seq_relationship.") if nsp else ("cls.predictions.",)


def build_model(
    config: Mapping[str, Any],
    seed: int,
    checkpoint: load_weights.LoadedWeights | None,
    nsp: bool = True,
    need_heads: bool = False,
) -> tuple[Any, list[str]]:
    """Returns a BertForPretraining, or with nsp=False a BertForMaskedLM, whose pooler is not
    trained, and notes for the log on where its weights come from.

    config: keyword arguments of BertConfig. Without a checkpoint all weights are drawn from `seed`;
    with one, only heads (and a pooler) that it does not contain. Raises WeightsError when the
    checkpoint does not match the configuration, and with `need_heads` for one that lacks a head.
    """
    try:
        model = build_bert("BertForPretraining" if nsp else "BertForMaskedLM", config)
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
        checkpoint, grown = _grow_vocabulary(checkpoint, tensors)
        matched = _match_weights(checkpoint, shapes, needed_heads(nsp))
        _check_tied(matched.tensors)
        if need_heads and matched.new_head_reason:
            lacks_mlm = "cls.predictions" in matched.new_head_reason
            way_out = "a model with its pre-training heads" if lacks_mlm else "--nsp 0"
            raise WeightsError(
                f"the model cannot be evaluated without training ({matched.new_head_reason}): give "
                f"{way_out}"
            )
        tensors |= matched.tensors
        # One parameter with two names: a new head must not replace the loaded word embeddings.
        tensors["cls.predictions.decoder.weight"] = tensors[_EMBEDDINGS]
        notes = [*checkpoint.notes, *grown, *matched.notes]
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


def _grow_vocabulary(
    checkpoint: load_weights.LoadedWeights, initial: Mapping[str, np.ndarray]
) -> tuple[load_weights.LoadedWeights, list[str]]:
    """The checkpoint with the initial values of the word pieces that it lacks, and notes. Those are
    the last ones: words that were appended to its vocabulary."""
    rows = len(checkpoint.tensors[_EMBEDDINGS])
    missing = len(initial[_EMBEDDINGS]) - rows
    if missing <= 0:
        return checkpoint, []
    tensors = dict(checkpoint.tensors)
    for name in tensors.keys() & initial.keys():
        has_vocabulary = name == _EMBEDDINGS or name.startswith("cls.predictions.decoder")
        if has_vocabulary and tensors[name].shape[1:] == initial[name].shape[1:]:
            tensors[name] = np.concatenate([tensors[name], initial[name][rows:]])
    grown = replace(checkpoint, tensors=tensors)
    return grown, [f"{missing} new word embeddings behind the {rows} of the weights"]


def _check_tied(tensors: Mapping[str, np.ndarray]) -> None:
    """Raise WeightsError for an output layer that does not share the word embeddings, as with
    tie_word_embeddings false: PaddleNLP's BERT has one tensor for both."""
    decoder = tensors.get("cls.predictions.decoder.weight")
    if decoder is None or np.array_equal(decoder, tensors[_EMBEDDINGS], equal_nan=True):
        return
    raise WeightsError(
        "--init_from: the weights have an output layer of their own (cls.predictions.decoder), but "
        "in BERT it is the word embeddings: give a model with tie_word_embeddings true"
    )


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


def forward_pass(
    model: Any, by_kernels: bool, nsp: bool = True, products: Products = FLOAT32
) -> ForwardPass:
    """The forward pass: masked-LM logits [masked positions, vocab] and NSP logits [rows, 2]; None
    instead of these for a model without an NSP head (nsp=False). by_kernels: whether our CPU
    kernels compute it, otherwise PaddleNLP's layers.

    The vocabulary projection is computed for the masked positions only, about 15 % of all.
    """
    function: Any = _logits_by_layers if nsp else _mlm_logits_by_layers
    if by_kernels:
        by = dispatch.pretraining_logits if nsp else _mlm_logits_by_kernels
        function = functools.partial(by, products=products)
    return ForwardPass(model, function, by_kernels, products.name)


def _mlm_logits_by_kernels(model: Any, batch: Batch, products: Products) -> tuple[Any, None]:
    return dispatch.masked_lm_logits(model, batch, products), None


def _mlm_logits_by_layers(model: Any, batch: Batch) -> tuple[Any, None]:
    return _logits_by_layers(model, batch), None


def _logits_by_layers(model: Any, batch: Batch) -> Any:
    return model(
        to_device(batch["input_ids"]),
        token_type_ids=to_device(batch["segment_ids"]),
        attention_mask=to_device(batch["input_mask"]),
        masked_positions=to_device(batch["masked_positions"]),
    )
