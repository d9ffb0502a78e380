"""The optimizer with its decay groups, gradient clipping, and the learning-rate schedule."""

import functools
import math
from collections.abc import Sequence
from typing import Any

from bert_paddle.common.args import CommonArgs
from bert_paddle.models.kernels import adamw, compile_kernels, fused_adamw_gpu


def warmup_steps(args: CommonArgs, total: int) -> int:
    """The number of warm-up steps: --warmup_steps, or a share of the planned steps."""
    if args.warmup_steps >= 1:
        return int(args.warmup_steps)
    return math.ceil((args.warmup_steps or args.warmup_ratio) * total)


def learning_rate(step: float, total: int, peak: float, warmup: int, schedule: str) -> float:
    """The learning rate of `step` (from 1 to `total`); between two steps after a resume with
    another batch size.

    In a linear warm-up of w steps, step k has (k-1)/w of the peak; the first step has learning rate
    0, as in google-research/bert. After the warm-up, `linear` falls from the peak to peak/(total-w)
    at the last step, and would be 0 at the next; `poly` is the peak times the square root of the
    fraction of steps left, as in NVIDIA's BERT; `cosine` is half a period of the cosine, from the
    peak to 0 at the step after the last; `constant` and `constant_with_warmup` stay at the peak.
    """
    done = step - 1
    if done < warmup:
        return peak * done / warmup
    if schedule.startswith("constant"):
        return peak
    if schedule == "cosine":
        progress = min(1.0, (done - warmup) / max(1, total - warmup))
        return peak * (1 + math.cos(math.pi * progress)) / 2
    if schedule == "poly":
        return peak * math.sqrt(max(0.0, 1 - done / max(1, total)))
    return peak * max(0, total - done) / max(1, total - warmup)


def is_decayed(name: str) -> bool:
    """Whether weight decay applies to the parameter with this structured name: not to biases and
    LayerNorm, but to all others, including embeddings, as in BERT."""
    # PaddleNLP names the bias of the masked-LM output `cls.predictions.decoder_bias`.
    return not name.lower().endswith("bias") and "norm" not in name.lower()


def build_optimizer(
    model: Any, args: CommonArgs, on_gpu: bool = False, use_kernels: bool = True
) -> Any:
    """AdamW or LAMB over the model's parameters; on the CPU, AdamW by our kernels where available
    and allowed (use_kernels).

    The caller sets the learning rate and calls the optimizer's `clip_gradients(parameters, limit)`
    (see the function of that name) before every step.
    """
    import paddle

    decayed = {p.name for name, p in model.named_parameters() if is_decayed(name)}
    parameters = [p for p in model.parameters() if not p.stop_gradient]
    if args.optimizer == "lamb":
        return _with_clipping(paddle.optimizer.Lamb, on_gpu)(
            learning_rate=args.learning_rate,
            lamb_weight_decay=args.weight_decay,
            beta1=args.adam_beta1,
            beta2=args.adam_beta2,
            epsilon=args.adam_epsilon,
            parameters=parameters,
            exclude_from_weight_decay_fn=lambda p: p.name not in decayed,
            multi_precision=args.use_amp,
        )
    use_kernels = use_kernels and args.cpu_kernels and not on_gpu
    use_kernels = use_kernels and all(str(p.dtype) == "paddle.float32" for p in parameters)
    kernels = compile_kernels.load_kernels()[0] if use_kernels else None
    if kernels:
        optimizer_class = adamw.kernel_adamw_class(kernels)
    else:
        fused = on_gpu and args.fused_adamw
        paddle_class = fused_adamw_gpu.fused_adamw_class() if fused else paddle.optimizer.AdamW
        optimizer_class = _with_clipping(paddle_class, on_gpu)
    return optimizer_class(
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        beta1=args.adam_beta1,
        beta2=args.adam_beta2,
        epsilon=args.adam_epsilon,
        parameters=parameters,
        apply_decay_param_fun=lambda name: name in decayed,
        multi_precision=args.use_amp,
    )


@functools.cache
def _with_clipping(optimizer_class: type, on_gpu: bool) -> type:
    """A subclass of one of Paddle's optimizers with the method `clip_gradients`."""

    class Clipping(optimizer_class):
        def clip_gradients(self, parameters: Sequence[Any], limit: float) -> Any:
            return clip_gradients(parameters, limit, on_gpu)

    return Clipping


def clip_gradients(parameters: Sequence[Any], limit: float, on_gpu: bool) -> Any:
    """Scale all gradients so that their global norm is at most `limit` (0: no clipping). Returns
    the norm before clipping, a number or a float32 scalar tensor.

    On the CPU, where reading the norm does not wait for a device, gradients within the limit are
    not touched.
    """
    import paddle

    gradients = [p.grad for p in parameters if p.grad is not None]
    with paddle.no_grad():
        # A dot product reads each tensor once and stores no squares.
        flat_gradients = [g.astype("float32").reshape([1, -1]) for g in gradients]
        norm = paddle.sqrt(
            sum(paddle.matmul(g, g, transpose_y=True).reshape([]) for g in flat_gradients)
        )
        if limit > 0 and on_gpu:
            factor = limit / paddle.clip(norm, min=limit)  # 1 if the norm is within the limit
            for gradient in gradients:
                gradient.multiply_(factor.astype(gradient.dtype))
        elif limit > 0 and limit < float(norm) < math.inf:
            for gradient in gradients:
                gradient.scale_(limit / float(norm))
    return norm


def cancel_step_if(condition: Any, optimizer: Any, parameters: Sequence[Any]) -> None:
    """Where `condition` is true, a boolean scalar tensor, keep the next `optimizer.step()` from
    changing the weights: all gradients and this step's learning rate become 0. The moments decay.

    The host does not wait for the GPU. Paddle's own `found_inf` would, for each parameter.
    """
    import paddle

    by_dtype: dict[str, list[Any]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_dtype.setdefault(str(parameter.grad.dtype), []).append(parameter.grad)
    scale, count = paddle.ones([1], "float32"), paddle.zeros([1], "int32")
    for gradients in by_dtype.values():
        # Of the loss scaling of static graphs, used here for its one launch that overwrites all
        # gradients; NaN times 0 would be NaN. True: the loss scale does not change.
        paddle._C_ops.update_loss_scaling_(
            gradients, condition.reshape([1]), scale, count, count.clone(), 1, 1, 2.0, 0.5, True
        )
    if optimizer._global_learning_rate() is None:  # before the first step
        optimizer._create_global_learning_rate()
    rate = optimizer._global_learning_rate()
    with paddle.no_grad():
        rate.multiply_(condition.logical_not().astype(rate.dtype))
