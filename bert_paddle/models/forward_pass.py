"""How a model computes its outputs: chosen once, on all ranks alike, before training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class ForwardPass:
    """Computes a model's outputs for a batch.

    function(model, batch): the outputs. by_kernels: whether it uses our CPU kernels; if so, they
    compute AdamW too. products: the type of the kernels' matrix products, see kernels.products.
    """

    model: Any
    function: Callable[[Any, Batch], Any]
    by_kernels: bool
    products: str = "float32"

    def __call__(self, batch: Batch) -> Any:
        return self.function(self.model, batch)
