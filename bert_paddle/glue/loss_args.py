"""The flags for the loss of a classification: a mixin for `GlueArgs` with fields and checks."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

from bert_paddle.common.flag_fields import TRAINING, OnRanks, flag
from bert_paddle.common.flag_groups import TRAIN

BALANCED = "balanced"
# By class name, or in the order of the classes.
Weights = dict[str, float] | tuple[float, ...]


@dataclasses.dataclass
class LossArgs:
    """What the training loss is, besides the mean cross-entropy."""

    class_weights: str | None = flag(
        None,
        "weights of the classes in the training loss, which is the weighted mean: balanced (the "
        "rarer, the heavier), w1,w2,... in the order of the classes, or class=w,class=w,...",
        group=TRAIN,
        comma_separated=True,
        on_ranks=OnRanks.SAME_LATER,
        needs=(TRAINING,),
        card_name="class weights",
    )
    label_smoothing_factor: float = flag(
        0.0,
        "share of each row's label that is spread evenly over all classes, in the training loss",
        group=TRAIN,
        minimum=0,
        maximum=0.99,
        on_ranks=OnRanks.SAME_LATER,
        card_name="label smoothing",
    )

    def loss_problems(self, classes: Sequence[str] | None, other_kind: str) -> Iterator[str]:
        """Problems with these flags, one message each. classes: their names, if they are known
        before the data is read; other_kind: what is predicted if it is not one class per row, such
        as "a score"; "" if that is not known or it is."""
        given = {
            "--class_weights": self.class_weights is not None,
            "--label_smoothing_factor": self.label_smoothing_factor > 0,
        }
        names = [name for name, is_given in given.items() if is_given]
        if names and other_kind:
            yield f"{', '.join(names)}: only for one class per row, and here it is {other_kind}"
        elif self.class_weights is not None:
            try:
                weights = parse_weights(self.class_weights)
                if classes and weights != BALANCED:
                    order_weights(weights, classes)
            except ValueError as error:
                yield f"--class_weights {self.class_weights}: {error}"


def parse_weights(text: str) -> Weights | str:
    """The value of --class_weights; BALANCED for that word. Raises ValueError, with a message
    without the flag's name, for anything that is no weight."""
    if text.strip().lower() == BALANCED:
        return BALANCED
    parts = [part.strip() for part in text.split(",")]
    pairs = [tuple(map(str.strip, part.rpartition("=")[::2])) for part in parts]
    numbers = tuple(_number(number) for _, number in pairs)
    names = [name for name, _ in pairs]
    if not any(names):
        return numbers
    if not all(names):
        raise ValueError("name all classes or none")
    if len(set(names)) < len(names):
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)} is named twice")
    return dict(zip(names, numbers, strict=True))


def _number(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (0 < weight < math.inf):
        raise ValueError(f"{text!r} is not a weight: give {BALANCED}, or positive numbers")
    return weight


def order_weights(weights: Weights | str, classes: Sequence[str]) -> tuple[float, ...]:
    """The weights in the order of the classes. Raises ValueError for a class that there is not, and
    for another number of weights than classes."""
    assert not isinstance(weights, str)
    listed = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    if isinstance(weights, tuple):
        if len(weights) != len(classes):
            raise ValueError(f"{len(weights)} weights for {len(classes)} classes ({listed})")
        return weights
    if unknown := [name for name in weights if name not in classes]:
        raise ValueError(f"there is no class {unknown[0]}; the classes are {listed}")
    if missing := [name for name in classes if name not in weights]:
        raise ValueError(f"there is no weight for class {missing[0]}")
    return tuple(weights[name] for name in classes)
