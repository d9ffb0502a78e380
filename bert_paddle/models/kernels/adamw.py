"""AdamW computed by adamw.c on all threads: one pass over memory for the gradient norm, one for
clipping and the optimizer step."""

import functools
import math
from typing import Any

import numpy as np

from bert_paddle.models.kernels import adamw_base
from bert_paddle.models.kernels.compile_kernels import Kernels


@functools.cache
def kernel_adamw_class(kernels: Kernels) -> type:
    """A subclass of paddle.optimizer.AdamW for float32 on the CPU whose step is computed by
    adamw.c. Results equal Paddle's up to rounding; the state's format is Paddle's.

    Clipping does not touch the gradients: it sets the factor by which `step` multiplies them.
    """

    class CpuKernelAdamW(adamw_base.batched_adamw_class()):  # type: ignore[misc]
        _gradient_scale = 1.0

        def clip_gradients(self, parameters: Any, limit: float) -> float:
            """See training.optim.clip_gradients."""
            gradients = [p.grad.contiguous() for p in parameters if p.grad is not None]
            # `Tensor` structs of adamw.c; `squares` reads only the gradient and its size.
            structs = [(0, g.data_ptr(), 0, 0, 0, 0, g.size, 0) for g in gradients]
            sum_of_squares = np.zeros(1)
            kernels.run("squares", np.array(structs, np.int64), sum_of_squares, len(structs))
            norm = float(np.sqrt(sum_of_squares[0]))
            self._gradient_scale = limit / norm if 0 < limit < norm < math.inf else 1.0
            return norm

        def apply_gradients(self, params_grads: adamw_base.ParamsGrads) -> None:
            # Kept in a list: contiguous copies must not be freed before the kernel returns.
            contiguous = [(parameter, grad.contiguous()) for parameter, grad in params_grads]
            for share, group in adamw_base.by_learning_rate_share(contiguous).items():
                structs = [self._tensor_struct(parameter, grad) for parameter, grad in group]
                rates = self.get_lr() * share, self._weight_decay, self._beta1, self._beta2
                scalars = *rates, self._epsilon, self._gradient_scale
                kernels.run("adamw", np.array(structs, np.int64), len(structs), *scalars)

        def _tensor_struct(self, parameter: Any, gradient: Any) -> tuple[int, ...]:
            """The fields of a `Tensor` struct of adamw.c."""
            state = [tensor.data_ptr() for tensor in self.state_tensors(parameter)]
            decays = int(self._apply_decay_param_fun(parameter.name))
            return parameter.data_ptr(), gradient.data_ptr(), *state, parameter.size, decays

    return CpuKernelAdamW
