"""A base class on Paddle's AdamW: Paddle's state and checkpoint format; a subclass computes the
step."""

import functools
from typing import Any

Pairs = list[tuple[Any, Any]]  # a parameter and its gradient


@functools.cache
def batched_adamw() -> type:
    """A subclass of paddle.optimizer.AdamW that creates its moments, and then passes all pairs of a
    parameter and its gradient to `apply_gradients` at once. Built on demand: importing this module
    must not import paddle.
    """
    from paddle.optimizer import AdamW

    class BatchedAdamW(AdamW):
        def step(self) -> None:
            self._pairs: Pairs = []
            super().step()  # collects the pairs, see `_append_optimize_op`
            pairs, self._pairs = self._pairs, []
            self.apply_gradients(pairs)

        def apply_gradients(self, pairs: Pairs) -> None:
            raise NotImplementedError

        def state_tensors(self, parameter: Any) -> list[Any]:
            """Both moments and the powers of both betas, tensors."""
            moments = [self._moment1_acc_str, self._moment2_acc_str]
            names = [*moments, self._beta1_pow_acc_str, self._beta2_pow_acc_str]
            return [self._get_accumulator_master(name, parameter) for name in names]

        def _append_optimize_op(self, block: Any, pair: Any) -> None:
            self._pairs.append(pair)

    return BatchedAdamW
