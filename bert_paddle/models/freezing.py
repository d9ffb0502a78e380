"""Excludes the first layers and the embeddings of a model from training.

A frozen parameter has no gradient: the optimizer does not know it and keeps no state for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ParameterCounts:
    """How many parameters a model has, and how many of them are trained."""

    total: int
    trainable: int

    @property
    def some_trainable(self) -> int | None:
        """Those that are trained, if not all are."""
        return self.trainable if self.trainable < self.total else None


def freeze(
    model: Any, layers: Sequence[Any], embeddings: Any, count: int, with_embeddings: bool
) -> ParameterCounts:
    """Freeze the first `count` of the model's `layers` and, `with_embeddings`, its `embeddings`."""
    frozen = [*layers[:count], *([embeddings] if with_embeddings else [])]
    for part in frozen:
        for parameter in part.parameters():
            parameter.stop_gradient = True
    return count_parameters(model)


def count_parameters(model: Any) -> ParameterCounts:
    """The numbers of a model's parameters."""
    sizes = [(p.size, p.stop_gradient) for p in model.parameters()]
    total = sum(size for size, _ in sizes)
    return ParameterCounts(total, total - sum(size for size, is_frozen in sizes if is_frozen))
