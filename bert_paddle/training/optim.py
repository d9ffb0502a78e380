"""The optimizer with its decay groups, clipping, and the learning rate by step."""

import math
from collections.abc import Sequence
from typing import Any

from bert_paddle.common.args import CommonArgs
from bert_paddle.models.kernels import adamw, fused_adamw_gpu
from bert_paddle.models.kernels import compile_kernels as build_kernels


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


def build(model: Any, args: CommonArgs, on_gpu: bool = False) -> Any:
    """AdamW or LAMB over the model's parameters; on the CPU, AdamW by our kernels where they are.

    The rate is set before every update, so that it depends on the step alone; `clip` comes before.
    """
    import paddle

    with_decay = {p.name for name, p in model.named_parameters() if decays(name)}
    parameters = [p for p in model.parameters() if not p.stop_gradient]
    if args.optimizer == "lamb":
        return paddle.optimizer.Lamb(
            learning_rate=args.learning_rate,
            lamb_weight_decay=args.weight_decay,
            epsilon=args.adam_epsilon,
            parameters=parameters,
            exclude_from_weight_decay_fn=lambda p: p.name not in with_decay,
            multi_precision=args.use_amp,
        )
    wanted = args.cpu_kernels and not on_gpu and getattr(model, "by_kernels", True)
    wanted = wanted and all(str(p.dtype) == "paddle.float32" for p in parameters)
    kernels = build_kernels.kernels()[0] if wanted else None
    kind = adamw.kernel_adamw(kernels) if kernels else paddle.optimizer.AdamW
    if on_gpu and args.fused_adamw:
        kind = fused_adamw_gpu.adamw()
    return kind(
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        epsilon=args.adam_epsilon,
        parameters=parameters,
        apply_decay_param_fun=lambda name: name in with_decay,
        multi_precision=args.use_amp,
    )


def clip(optimizer: Any, parameters: Sequence[Any], limit: float, on_gpu: bool) -> Any:
    """Scale all gradients so that their global norm is at most `limit` (0: leave them), and
    return the norm before, a number or a float32 scalar tensor.

    On the CPU, where reading a number costs nothing, gradients within the limit are not touched;
    an optimizer with `norm_of` scales the others itself while it reads them.
    """
    import paddle

    if hasattr(optimizer, "norm_of"):
        norm = optimizer.norm_of(parameters)
        optimizer.gradient_scale = limit / norm if 0 < limit < norm < math.inf else 1.0
        return norm

    gradients = [p.grad for p in parameters if p.grad is not None]
    with paddle.no_grad():
        # A product of a row and a column reads the tensor once, without a copy of its squares.
        rows = [g.astype("float32").reshape([1, -1]) for g in gradients]
        norm = paddle.sqrt(
            sum(paddle.matmul(row, row, transpose_y=True).reshape([]) for row in rows)
        )
        if limit > 0 and on_gpu:
            factor = limit / paddle.clip(norm, min=limit)
            for gradient in gradients:
                gradient.multiply_(factor.astype(gradient.dtype))
        elif limit > 0 and limit < float(norm) < math.inf:
            for gradient in gradients:
                gradient.scale_(limit / float(norm))
    return norm
