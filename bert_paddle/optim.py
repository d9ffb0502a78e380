"""The optimizer with its decay groups, and the learning rate as a function of the step."""

import math
from typing import Any

from bert_paddle.args import CommonArgs


def warmup_steps(args: CommonArgs, total: int) -> int:
    """Updates of linear warm-up: --warmup_steps, else --warmup_ratio of the planned updates."""
    return args.warmup_steps or math.ceil(args.warmup_ratio * total)


def learning_rate(step: int, total: int, peak: float, warmup: int, kind: str) -> float:
    """The rate of update `step` (from 1 to `total`).

    Linear warm-up gives update k of w the share (k-1)/w, so that the first update of a warm-up
    has rate 0, as in google-research/bert. After it: `linear` falls from the peak at the first
    update to peak/(total-w) at the last, one step before 0; `poly` is NVIDIA's power 0.5 of the
    share left of all updates; `constant` stays.
    """
    done = step - 1
    if done < warmup:
        return peak * done / warmup
    if kind == "constant":
        return peak
    if kind == "poly":
        return peak * math.sqrt(max(0.0, 1 - done / max(1, total)))
    return peak * max(0, total - done) / max(1, total - warmup)


def decays(name: str) -> bool:
    """Whether weight decay applies to the parameter of this (structured) name: all weights but
    biases and LayerNorm's, embeddings included (the BERT recipe)."""
    return name.split(".")[-1] != "bias" and "norm" not in name.lower()


def build(model: Any, args: CommonArgs) -> Any:
    """AdamW or LAMB over the model's parameters, clipping by their global norm.

    The rate is set before every update, so that it depends on the step alone.
    """
    import paddle

    clip = paddle.nn.ClipGradByGlobalNorm(args.max_grad_norm) if args.max_grad_norm > 0 else None
    with_decay = {p.name for name, p in model.named_parameters() if decays(name)}
    parameters = [p for p in model.parameters() if not p.stop_gradient]
    if args.optimizer == "lamb":
        return paddle.optimizer.Lamb(
            learning_rate=args.learning_rate,
            lamb_weight_decay=args.weight_decay,
            epsilon=args.adam_epsilon,
            parameters=parameters,
            grad_clip=clip,
            exclude_from_weight_decay_fn=lambda p: p.name not in with_decay,
            multi_precision=args.use_amp,
        )
    return paddle.optimizer.AdamW(
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        epsilon=args.adam_epsilon,
        parameters=parameters,
        grad_clip=clip,
        apply_decay_param_fun=lambda name: name in with_decay,
        multi_precision=args.use_amp,
    )
