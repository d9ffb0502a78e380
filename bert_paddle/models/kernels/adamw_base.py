"""The base class of our AdamW optimizers: the state and its format are those of Paddle's AdamW; a
subclass computes the step for all parameters at once."""

import functools
from typing import Any

ParamsGrads = list[tuple[Any, Any]]  # parameters, each with its gradient


def learning_rate_share(parameter: Any) -> float:
    """The factor by which Paddle's optimizers multiply the learning rate of a parameter."""
    return parameter.optimize_attr["learning_rate"]


def by_learning_rate_share(params_grads: ParamsGrads) -> dict[float, ParamsGrads]:
    """The parameters and gradients by their share of the learning rate, in order."""
    groups: dict[float, ParamsGrads] = {}
    for parameter, gradient in params_grads:
        groups.setdefault(learning_rate_share(parameter), []).append((parameter, gradient))
    return groups


@functools.cache
def batched_adamw_class() -> type:
    """A subclass of paddle.optimizer.AdamW whose `step` creates missing moments as Paddle does and
    then calls `apply_gradients` once with all parameters and gradients. Built on demand, since
    importing this module must not import paddle.
    """
    from paddle.optimizer import AdamW

    class BatchedAdamW(AdamW):
        def step(self) -> None:
            self._params_grads: ParamsGrads = []
            super().step()  # calls `_append_optimize_op` for each parameter with a gradient
            params_grads, self._params_grads = self._params_grads, []
            self.apply_gradients(params_grads)

        def apply_gradients(self, params_grads: ParamsGrads) -> None:
            """Compute the optimizer step of these parameters in place."""
            raise NotImplementedError

        def state_tensors(self, parameter: Any) -> list[Any]:
            """A parameter's state: first and second moment, powers of beta1 and beta2."""
            moments = [self._moment1_acc_str, self._moment2_acc_str]
            names = [*moments, self._beta1_pow_acc_str, self._beta2_pow_acc_str]
            return [self._get_accumulator_master(name, parameter) for name in names]

        def _append_optimize_op(self, block: Any, param_and_grad: Any) -> None:
            self._params_grads.append(param_and_grad)

    return BatchedAdamW
