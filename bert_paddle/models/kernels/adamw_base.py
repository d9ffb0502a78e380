"""Paddle's AdamW as something to build on: its state and its way of saving it, an update of one's
own."""

import functools
from typing import Any

Pairs = list[tuple[Any, Any]]


@functools.cache
def adamw() -> type:
    """A paddle.optimizer.AdamW that makes its moments, and then hands all pairs of a parameter and
    its gradient to `update` at once. A class made when asked for, since its base class is paddle's.
    """
    from paddle.optimizer import AdamW

    class Collecting(AdamW):
        def step(self) -> None:
            self._given: Pairs = []
            super().step()
            given, self._given = self._given, []
            self.update(given)

        def update(self, pairs: Pairs) -> None:
            raise NotImplementedError

        def state_of(self, parameter: Any) -> list[Any]:
            """Both moments and the powers of both betas, tensors."""
            moments = [self._moment1_acc_str, self._moment2_acc_str]
            kinds = [*moments, self._beta1_pow_acc_str, self._beta2_pow_acc_str]
            return [self._get_accumulator_master(kind, parameter) for kind in kinds]

        def _append_optimize_op(self, block: Any, pair: Any) -> None:
            self._given.append(pair)

    return Collecting
