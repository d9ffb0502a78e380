"""AdamW for GPUs that updates many parameters in one kernel launch."""

import functools
from typing import Any

from bert_paddle.models.kernels import adamw_base

_CHUNK = 32 * 2048  # elements per thread block


@functools.cache
def fused_adamw_class() -> type:
    """A subclass of paddle.optimizer.AdamW, with the same state under the same names, that calls
    Paddle's `fused_adam_`: a few launches instead of one per parameter."""

    class GpuFusedAdamW(adamw_base.batched_adamw_class()):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            # For each parameter: the power of beta1 when this process first updated it, and the
            # number of steps since. Parameters with equal pairs have equal powers of both betas.
            self._power_and_steps: dict[str, tuple[float, int]] = {}

        def apply_gradients(self, params_grads: adamw_base.ParamsGrads) -> None:
            groups: dict[Any, adamw_base.ParamsGrads] = {}
            for parameter, gradient in params_grads:
                key = *self._launch_settings(parameter), self._count_step(parameter)
                groups.setdefault(key, []).append((parameter, gradient))
            for (decays, multi_precision, share, *_), group in groups.items():
                weight_decay = self._weight_decay if decays else 0.0
                rate = self._global_learning_rate()
                rate = rate if share == 1 else rate * share
                _launch_fused_adam(self, group, rate, weight_decay, multi_precision)

        def _launch_settings(self, parameter: Any) -> tuple[bool, bool, float, Any]:
            """Whether weight decay applies, whether there are float32 master weights, the share of
            the learning rate, the dtype. All parameters of a launch share these."""
            decay_filter = self._apply_decay_param_fun
            decays = decay_filter is None or decay_filter(parameter.name)
            is_half = self._is_dtype_fp16_or_bf16(parameter.dtype)
            share = adamw_base.learning_rate_share(parameter)
            return decays, self._multi_precision and is_half, share, parameter.dtype

        def _count_step(self, parameter: Any) -> tuple[float, int]:
            """Count a step of the parameter; return its pair in `_power_and_steps` before that.

            A launch uses the powers of its first parameter for all its parameters. Powers differ
            between parameters if one had no gradient in some step. They are not compared directly,
            since reading them would synchronize with the GPU at every step."""
            if parameter.name not in self._power_and_steps:
                power = self._get_accumulator_master(self._beta1_pow_acc_str, parameter)
                self._power_and_steps[parameter.name] = power.item(), 0
            first_power, steps = self._power_and_steps[parameter.name]
            self._power_and_steps[parameter.name] = first_power, steps + 1
            return first_power, steps

    return GpuFusedAdamW


def _launch_fused_adam(
    optimizer: Any,
    params_grads: adamw_base.ParamsGrads,
    rate: Any,
    weight_decay: float,
    multi_precision: bool,
) -> None:
    """Compute the optimizer step of these parameters in one launch. rate: their learning rate, a
    tensor. multi_precision: they have float32 master weights."""
    import paddle

    parameters, gradients = [p for p, _ in params_grads], [g for _, g in params_grads]
    states = zip(*map(optimizer.state_tensors, parameters), strict=True)
    moments1, moments2, powers1, powers2 = map(list, states)
    paddle._C_ops.fused_adam_(
        parameters,
        gradients,
        rate,
        moments1,
        moments2,
        None,  # moments2_max, for AMSGrad only
        powers1,
        powers2,
        [optimizer._master_weights[p.name] for p in parameters] if multi_precision else None,
        None,  # skip_update: the loss scaler has already decided
        optimizer._beta1,
        optimizer._beta2,
        optimizer._epsilon,
        _CHUNK,
        weight_decay,
        True,  # use_adamw: decoupled weight decay
        multi_precision,
        False,  # use_global_beta_pow
        False,  # amsgrad
    )
