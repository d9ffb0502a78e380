"""AdamW by kernels.c, on all threads: one pass for the gradient norm, one for clipping and the
optimizer step."""

import functools
from typing import Any

import numpy as np

from bert_paddle.models.kernels import adamw_base
from bert_paddle.models.kernels.compile_kernels import Kernels


@functools.cache
def kernel_adamw(kernels: Kernels) -> type:
    """A subclass of paddle.optimizer.AdamW, for float32 on the CPU, that computes with kernels.c:
    the same up to rounding. Its state, and saving and restoring it, are Paddle's.

    `global_grad_norm(parameters)` is the norm over all their gradients; `step` multiplies gradients
    by `gradient_scale`.
    """

    class FusedAdamW(adamw_base.batched_adamw()):  # type: ignore[misc]
        gradient_scale = 1.0

        def global_grad_norm(self, parameters: Any) -> float:
            gradients = [p.grad.contiguous() for p in parameters if p.grad is not None]
            rows = [(0, g.data_ptr(), 0, 0, 0, 0, g.size, 0) for g in gradients]
            sum_of_squares = np.zeros(1)
            kernels.run("squares", np.array(rows, np.int64), sum_of_squares, len(rows))
            return float(np.sqrt(sum_of_squares[0]))

        def apply_gradients(self, pairs: adamw_base.Pairs) -> None:
            # Kept in a list: a contiguous copy must outlive the call of the kernel.
            contiguous = [(parameter, gradient.contiguous()) for parameter, gradient in pairs]
            rows = [self._row(parameter, gradient) for parameter, gradient in contiguous]
            betas = self._beta1, self._beta2
            factors = self.get_lr(), self._weight_decay, *betas, self._epsilon, self.gradient_scale
            kernels.run("adamw", np.array(rows, np.int64), len(rows), *factors)

        def _row(self, parameter: Any, gradient: Any) -> tuple[int, ...]:
            """A `Tensor` of kernels.c."""
            state = [tensor.data_ptr() for tensor in self.state_tensors(parameter)]
            decayed = int(self._apply_decay_param_fun(parameter.name))
            return parameter.data_ptr(), gradient.data_ptr(), *state, parameter.size, decayed

    return FusedAdamW
