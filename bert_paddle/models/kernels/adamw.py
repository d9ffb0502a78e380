"""AdamW by kernels.c, on all threads: a pass for the norm of the gradients, and one for the rest,
clipping included."""

import functools
from typing import Any

import numpy as np

from bert_paddle.models.kernels import adamw_base
from bert_paddle.models.kernels.compile_kernels import Kernels


@functools.cache
def kernel_adamw(run: Kernels) -> type:
    """A paddle.optimizer.AdamW whose arithmetic is that of kernels.c, the same up to rounding; its
    state, and how that is saved and restored, is Paddle's. For float32 on the CPU.

    `norm_of(parameters)` is the global norm of their gradients; `step` multiplies gradients by
    `gradient_scale`.
    """

    class FusedAdamW(adamw_base.adamw()):  # type: ignore[misc]
        gradient_scale = 1.0

        def norm_of(self, parameters: Any) -> float:
            gradients = [p.grad.contiguous() for p in parameters if p.grad is not None]
            rows = [(0, g.data_ptr(), 0, 0, 0, 0, g.size, 0) for g in gradients]
            sum_of_squares = np.zeros(1)
            run("squares", np.array(rows, np.int64), sum_of_squares, len(rows))
            return float(np.sqrt(sum_of_squares[0]))

        def update(self, pairs: adamw_base.Pairs) -> None:
            lying = [(parameter, gradient.contiguous()) for parameter, gradient in pairs]
            rows = [self._row(parameter, gradient) for parameter, gradient in lying]
            betas = self._beta1, self._beta2
            sizes = self.get_lr(), self._weight_decay, *betas, self._epsilon, self.gradient_scale
            run("adamw", np.array(rows, np.int64), len(rows), *sizes)

        def _row(self, parameter: Any, gradient: Any) -> tuple[int, ...]:
            state = [one.data_ptr() for one in self.state_of(parameter)]
            decays = int(self._apply_decay_param_fun(parameter.name))
            return parameter.data_ptr(), gradient.data_ptr(), *state, parameter.size, decays

    return FusedAdamW
