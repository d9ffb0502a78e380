"""Applies the flags about layers (layer_args) to a model: what is frozen, what is drawn anew, and
each parameter's share of the learning rate."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from bert_paddle.common.errors import FlagError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.layer_args import LayerArgs
from bert_paddle.models import freezing, model_state

_LAYER = re.compile(r"bert\.encoder\.layers\.(\d+)\.")
_POOLER, _EMBEDDINGS = "bert.pooler.", "bert.embeddings."


def check_layers(args: LayerArgs, layers: int) -> None:
    """Raise FlagError for more layers in the flags than the `layers` of the model."""
    if problems := list(layer_problems(args, layers)):
        raise FlagError(problems)


def layer_problems(args: LayerArgs, layers: int) -> Iterator[str]:
    """A message for each flag with more layers than the `layers` of the model."""
    counts = {name: getattr(args, name) for name in ("freeze_layers", "reinit_layers")}
    too_many = {name: count for name, count in counts.items() if count > layers}
    for name, count in too_many.items():
        yield f"--{name} {count}: the model has {_count(layers)}"
    if not too_many and args.reinit_layers and sum(counts.values()) > layers:
        yield (
            f"--freeze_layers {args.freeze_layers} and --reinit_layers {args.reinit_layers}: the "
            f"model has {_count(layers)}, and one that is drawn anew must be trained"
        )


def apply_to_model(args: LayerArgs, model: Any, seed: int, log: RunLog) -> None:
    """Draw anew and freeze what the flags say in a BertForSequenceClassification, in one line
    each."""
    layers = model.bert.encoder.layers
    if args.reinit_layers:
        _draw_anew(model, len(layers) - args.reinit_layers, seed)
        log.note(
            f"drawn anew by --seed {seed}: the last {_count(args.reinit_layers)} and the pooler"
        )
    if args.freeze_layers or args.freeze_embeddings:
        counts = freezing.freeze(
            model,
            list(layers),
            model.bert.embeddings,
            args.freeze_layers,
            args.freeze_embeddings,
        )
        parts = ["the embeddings"] if args.freeze_embeddings else []
        parts += [f"the first {_count(args.freeze_layers)}"] if args.freeze_layers else []
        log.note(
            f"frozen: {' and '.join(parts)}; {counts.trainable:,} of {counts.total:,} parameters "
            "are trained"
        )
    if args.layerwise_lr_decay != 1:
        set_learning_rate_shares(model, args.layerwise_lr_decay)
        lowest = args.layerwise_lr_decay ** (len(layers) + 1)
        log.note(
            f"learning rates: from --learning_rate for pooler and classifier down to {lowest:.4g} "
            "of it for the embeddings"
        )


def _count(layers: int) -> str:
    return "layer" if layers == 1 else f"{layers} layers"


def _draw_anew(model: Any, first: int, seed: int) -> None:
    """Give the layers from `first` on, and the pooler, the values that a new BERT has: N(0,
    initializer_range) in matrices, 1 in the weights of norms, 0 in biases."""
    tensors = {}
    for name, value in model.state_dict().items():
        layer = _LAYER.match(name)
        if not name.startswith(_POOLER) and (layer is None or int(layer[1]) < first):
            continue
        shape = tuple(value.shape)
        if len(shape) > 1:
            std = model.config.initializer_range
            tensors[name] = model_state.seeded_normal(name, shape, std, seed)
        else:
            tensors[name] = np.full(shape, float(name.endswith("weight")), np.float32)
    model_state.set_tensors(model, tensors)


def set_learning_rate_shares(model: Any, decay: float) -> None:
    """Set each parameter's share of the learning rate, which the optimizers multiply it by.

    Of L layers, layer l from 0 has decay ** (L - l), the embeddings have decay ** (L + 1); the
    pooler and the classifier have 1.
    """
    depth = len(model.bert.encoder.layers)
    for name, parameter in model.named_parameters():
        layer = _LAYER.match(name)
        if layer is not None:
            parameter.optimize_attr["learning_rate"] = decay ** (depth - int(layer[1]))
        elif name.startswith(_EMBEDDINGS):
            parameter.optimize_attr["learning_rate"] = decay ** (depth + 1)
