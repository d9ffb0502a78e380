"""What a training is compared by, and how far two trainings differ."""

import functools
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]  # what `Recording.finish` returns
Numbers = Mapping[str, list[float]]  # by tensor
_REFERENCE = Path(__file__).with_name("reference.json")
# A relative difference is to at least this part of the largest norm of all tensors.
_FLOOR = 1e-3
_GRADIENT_STEPS = (1, 10, 20)  # where each tensor's gradient is recorded
# Its gradient is 0 but for rounding: softmax is the same for scores that are shifted together.
_WITHOUT_GRADIENT = "k_proj.bias"


@dataclass(frozen=True)
class Deviation:
    """The largest differences between two trainings, or the largest allowed.

    loss: absolute, of any term at any step. gradient: relative, of the norm of all gradients at any
    step, and of each tensor's gradient at some. weight: relative to how far a tensor's weights have
    moved: of that distance, and of the movement along a fixed direction.
    """

    loss: float
    gradient: float
    weight: float

    def exceeded_by(self, other: "Deviation") -> list[str]:
        """The names of the numbers of `other` that are larger than these, or not finite."""
        mine, others = asdict(self), asdict(other)
        return [name for name in mine if not others[name] <= mine[name]]

    def largest(self, other: "Deviation") -> "Deviation":
        """The larger of each two numbers."""
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return Deviation(*(_max(pair) for pair in pairs))


class Recording:
    """Collects the numbers by which a training is compared."""

    def __init__(self) -> None:
        self.losses: dict[str, list[float]] = {}
        self.norms: list[float] = []
        self.gradients: dict[str, list[float]] = {}

    def add_step(self, losses: Mapping[str, Any], gradients: Mapping[str, Any]) -> None:
        """Add the mean loss of each term, and the gradients as arrays by parameter."""
        for name, loss in losses.items():
            self.losses.setdefault(name, []).append(float(loss))
        norms = {name: _norm(gradient) for name, gradient in gradients.items()}
        self.norms.append(math.hypot(*norms.values()))
        if len(self.norms) in _GRADIENT_STEPS:
            for name, norm in norms.items():
                self.gradients.setdefault(name, []).append(norm)

    def finish(self, start: Mapping[str, Any], end: Mapping[str, Any]) -> Record:
        """The record, given the weights before and after as arrays by parameter."""
        moved = {name: end[name] - start[name] for name in start}
        return {
            "losses": {name: _digits(values) for name, values in self.losses.items()},
            "norms": _digits(self.norms),
            "gradients": {name: _digits(values) for name, values in self.gradients.items()},
            "moved": {
                name: _digits([_norm(change), _along_a_direction(name, change)])
                for name, change in moved.items()
            },
        }


@functools.cache
def reference() -> dict[str, dict[str, Record]]:
    """The stored records, by optimizer and head."""
    return json.loads(_REFERENCE.read_text(encoding="utf-8"))["runs"]


def deviations(record: Record, wanted: Record) -> Deviation:
    """How far a training is from the one wanted."""
    if any(record[part].keys() != wanted[part].keys() for part in ("losses", "gradients", "moved")):
        return Deviation(math.inf, math.inf, math.inf)
    loss = _max(
        abs(a - b)
        for name, values in wanted["losses"].items()
        for a, b in zip(record["losses"][name], values, strict=True)
    )
    norms = zip(record["norms"], wanted["norms"], strict=True)
    gradients, moved = (
        _with_gradient(record[part], wanted[part]) for part in ("gradients", "moved")
    )
    in_tensors = _relative(gradients, range(len(_GRADIENT_STEPS)), scale=None)
    gradient = _max([*(abs(a - b) / b for a, b in norms), *in_tensors])
    return Deviation(loss, gradient, _max(_relative(moved, (0, 1), scale=0)))


def _with_gradient(values: Numbers, wanted: Numbers) -> list[tuple[list[float], list[float]]]:
    """The numbers of each tensor, and those wanted, without `_WITHOUT_GRADIENT`."""
    names = [name for name in wanted if not name.endswith(_WITHOUT_GRADIENT)]
    return [(values[name], wanted[name]) for name in names]


def _relative(
    pairs: Sequence[tuple[list[float], list[float]]], columns: Iterable[int], scale: int | None
) -> Iterator[float]:
    """The difference of each number, relative to the one wanted in column `scale` (None: in its
    own), or to `_FLOOR` of the largest there if that is more."""
    for column in columns:
        divisors = [abs(wanted[column if scale is None else scale]) for _, wanted in pairs]
        floor = _FLOOR * max(divisors)
        for (values, wanted), divisor in zip(pairs, divisors, strict=True):
            yield abs(values[column] - wanted[column]) / max(divisor, floor)


def _max(values: Any) -> float:
    """The largest value; infinity if one is not a number."""
    return max((value if value == value else math.inf for value in values), default=math.inf)


def _norm(array: Any) -> float:
    return math.sqrt(float((array.astype("float64") ** 2).sum()))


def _along_a_direction(name: str, change: Any) -> float:
    """The sum of a tensor's elements with signs drawn from its name."""
    import numpy as np

    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    return float((change.astype("float64") * random.choice([-1.0, 1.0], change.shape)).sum())


def _digits(values: list[float]) -> list[float]:
    """Nine digits: more than float32 has."""
    return [float(f"{value:.9g}") for value in values]
