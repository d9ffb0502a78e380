"""AdamW on GPUs that updates many parameters in one kernel launch."""

import functools
from typing import Any

from bert_paddle.models.kernels import adamw_base

_CHUNK = 32 * 2048  # elements per thread block


@functools.cache
def fused_adamw() -> type:
    """A subclass of paddle.optimizer.AdamW, with the same state under the same names, that calls
    Paddle's `fused_adam_`: a few launches in place of one for each parameter."""

    class MultiTensorAdamW(adamw_base.batched_adamw()):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            # By parameter: beta1's power when it was first seen, and its steps since.
            self._ages: dict[str, tuple[float, int]] = {}

        def apply_gradients(self, pairs: adamw_base.Pairs) -> None:
            groups: dict[Any, adamw_base.Pairs] = {}
            for pair in pairs:
                groups.setdefault(self._group_key(pair[0]), []).append(pair)
            for (decayed, half, *_), group in groups.items():
                _fused_step(self, group, self._weight_decay if decayed else 0.0, half)

        def _group_key(self, parameter: Any) -> tuple[Any, ...]:
            """What the parameters of one launch must share. The kernel takes the powers of beta of
            its first parameter; they differ where a step had no gradient for a parameter. Steps are
            counted instead of reading the powers, which would synchronize with the GPU."""
            is_decayed = self._apply_decay_param_fun
            half = self._multi_precision and self._is_dtype_fp16_or_bf16(parameter.dtype)
            if parameter.name not in self._ages:
                power = self._get_accumulator_master(self._beta1_pow_acc_str, parameter)
                self._ages[parameter.name] = power.item(), 0
            first, steps = age = self._ages[parameter.name]
            self._ages[parameter.name] = first, steps + 1
            return is_decayed is None or is_decayed(parameter.name), half, parameter.dtype, age

    return MultiTensorAdamW


def _fused_step(optimizer: Any, pairs: adamw_base.Pairs, decay: float, half: bool) -> None:
    """One launch of the kernel. half: the parameters have float32 master weights."""
    import paddle

    parameters, gradients = [p for p, _ in pairs], [g for _, g in pairs]
    states = zip(*map(optimizer.state_tensors, parameters), strict=True)
    moments1, moments2, powers1, powers2 = map(list, states)
    paddle._C_ops.fused_adam_(
        parameters,
        gradients,
        optimizer._global_learning_rate(),
        moments1,
        moments2,
        None,  # maximum second moments (AMSGrad)
        powers1,
        powers2,
        [optimizer._master_weights[p.name] for p in parameters] if half else None,
        None,  # whether to skip the step: the loss scaler has decided before
        optimizer._beta1,
        optimizer._beta2,
        optimizer._epsilon,
        _CHUNK,
        decay,
        True,  # decoupled decay
        half,
        False,  # powers of beta per parameter
        False,  # no AMSGrad
    )
