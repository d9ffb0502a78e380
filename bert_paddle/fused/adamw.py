"""AdamW by kernels.c, on all threads: a pass for the norm of the gradients, and one for the rest,
clipping included."""

import functools
from typing import Any

import numpy as np

from bert_paddle.fused.build import Kernels


@functools.cache
def by_kernels(run: Kernels) -> type:
    """A paddle.optimizer.AdamW whose arithmetic is that of kernels.c, the same up to rounding; its
    state, and how that is saved and restored, is Paddle's. For float32 on the CPU.

    `norm_of(parameters)` is the global norm of their gradients; `step` multiplies gradients by
    `gradient_scale`. A class made when asked for, since its base class is paddle's.
    """
    from paddle.optimizer import AdamW

    class FusedAdamW(AdamW):
        gradient_scale = 1.0

        def norm_of(self, parameters: Any) -> float:
            gradients = [p.grad.contiguous() for p in parameters if p.grad is not None]
            rows = [(0, g.data_ptr(), 0, 0, 0, 0, g.size, 0) for g in gradients]
            sum_of_squares = np.zeros(1)
            run("squares", np.array(rows, np.int64), sum_of_squares, len(rows))
            return float(np.sqrt(sum_of_squares[0]))

        def step(self) -> None:
            self._given: list[tuple[Any, Any]] = []
            super().step()  # makes the moments where there are none yet, and hands all pairs over
            rows = [self._row(parameter, gradient) for parameter, gradient in self._given]
            betas = self._beta1, self._beta2
            sizes = self.get_lr(), self._weight_decay, *betas, self._epsilon, self.gradient_scale
            run("adamw", np.array(rows, np.int64), len(rows), *sizes)
            self._given = []

        def _append_optimize_op(self, block: Any, pair: Any) -> None:
            parameter, gradient = pair
            self._given.append((parameter, gradient.contiguous()))

        def _row(self, parameter: Any, gradient: Any) -> tuple[int, ...]:
            moments = [self._moment1_acc_str, self._moment2_acc_str]
            kinds = [*moments, self._beta1_pow_acc_str, self._beta2_pow_acc_str]
            state = [self._get_accumulator(kind, parameter).data_ptr() for kind in kinds]
            decays = int(self._apply_decay_param_fun(parameter.name))
            return parameter.data_ptr(), gradient.data_ptr(), *state, parameter.size, decays

    return FusedAdamW
