"""AdamW that updates many parameters in one kernel."""

import functools
from typing import Any

from bert_paddle.models.kernels import adamw_base

_CHUNK = 32 * 2048  # values that one block of threads works on


@functools.cache
def adamw() -> type:
    """A paddle.optimizer.AdamW with its own state and names of state, updated by Paddle's
    `fused_adam_`: some launches in place of one for each parameter."""

    class MultiTensorAdamW(adamw_base.adamw()):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **named: Any):
            super().__init__(*arguments, **named)
            # By parameter: the power of beta when it was first seen, and its updates since.
            self._ages: dict[str, tuple[float, int]] = {}

        def update(self, pairs: adamw_base.Pairs) -> None:
            groups: dict[Any, adamw_base.Pairs] = {}
            for pair in pairs:
                groups.setdefault(self._kind(pair[0]), []).append(pair)
            for (decays, half, *_), group in groups.items():
                _update(self, group, self._weight_decay if decays else 0.0, half)

        def _kind(self, parameter: Any) -> tuple[Any, ...]:
            """What the parameters of one call have in common. The powers of beta differ where an
            update had no gradient for a parameter, and the kernel takes those of the first; they
            are not read, since after a resume they may be on the GPU."""
            decays = self._apply_decay_param_fun
            half = self._multi_precision and self._is_dtype_fp16_or_bf16(parameter.dtype)
            if parameter.name not in self._ages:
                power = self._get_accumulator_master(self._beta1_pow_acc_str, parameter)
                self._ages[parameter.name] = power.item(), 0
            first, updates = age = self._ages[parameter.name]
            self._ages[parameter.name] = first, updates + 1
            return decays is None or decays(parameter.name), half, parameter.dtype, age

    return MultiTensorAdamW


def _update(optimizer: Any, pairs: adamw_base.Pairs, decay: float, half: bool) -> None:
    """One call of the kernel; half: the parameters have float32 masters."""
    import paddle

    parameters, gradients = [p for p, _ in pairs], [g for _, g in pairs]
    states = zip(*map(optimizer.state_of, parameters), strict=True)
    moments1, moments2, powers1, powers2 = map(list, states)
    paddle._C_ops.fused_adam_(
        parameters,
        gradients,
        optimizer._global_learning_rate(),
        moments1,
        moments2,
        None,  # the largest second moments, of AMSGrad
        powers1,
        powers2,
        [optimizer._master_weights[p.name] for p in parameters] if half else None,
        None,  # whether to skip: Paddle's `step` has asked the loss scaler
        optimizer._beta1,
        optimizer._beta2,
        optimizer._epsilon,
        _CHUNK,
        decay,
        True,  # decoupled decay
        half,
        False,  # powers of beta by parameter
        False,  # no AMSGrad
    )
