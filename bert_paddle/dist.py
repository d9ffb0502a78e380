"""This process's place in the job, and the exchange of values. The only place that knows ranks.

Written once for any number of processes: with one, every exchange is the identity. `launch` starts
the processes.
"""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bert_paddle.errors import BertPaddleError, RunError, UserError

Result = TypeVar("Result")
# Seconds between two signs of life of a process that works alone; gloo gives up after 30.
_BEAT = 5.0


@dataclass(frozen=True)
class World:
    """This process's place in the job: `rank` of `size`; rank 0 speaks and writes."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def current() -> World:
    """This process's rank and the number of processes, as its environment says."""
    return World(
        int(os.environ.get("PADDLE_TRAINER_ID", "0")),
        int(os.environ.get("PADDLE_TRAINERS_NUM", "1")),
    )


def on_gpu() -> bool:
    """Whether this process computes on a GPU."""
    import paddle

    return paddle.device.get_device().startswith("gpu")


def gather(value: Any) -> list[Any]:
    """Every process's `value`, in rank order, on all processes."""
    if current().size == 1:
        return [value]
    import paddle.distributed

    everyone: list[Any] = []
    paddle.distributed.all_gather_object(everyone, value)
    return everyone


def main_only(function: Callable[[], Result]) -> Result:
    """Call `function` on the main process alone; its result, or its error, reaches all.

    Takes as long as it takes: the others hear from the main process every few seconds.
    """
    world = current()
    if world.size == 1:
        return function()
    outcome: dict[str, Any] = {}
    worker = threading.Thread(target=_call_into, args=(function, outcome), daemon=True)
    if world.is_main:
        worker.start()
    told = None
    while told is None:
        if world.is_main:
            worker.join(_BEAT)
        told = gather(None if not world.is_main or worker.is_alive() else _tellable(outcome))[0]
    if "error" in outcome:
        raise outcome["error"]
    if told.get("user_error"):
        raise UserError(told["user_error"])
    if told.get("run_error"):
        raise RunError(told["run_error"])
    return told["value"]


def _call_into(function: Callable[[], Any], outcome: dict[str, Any]) -> None:
    try:
        outcome["value"] = function()
    except BaseException as error:
        outcome["error"] = error


def _tellable(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome without exception objects, which do not all survive the journey."""
    error = outcome.get("error")
    if error is None:
        return {"value": outcome["value"]}
    if isinstance(error, BertPaddleError) and error.exit_code == 2:
        return {"user_error": str(error)}
    return {"run_error": f"rank 0: {error}"}


def main_first(function: Callable[[], Result]) -> Result:
    """Call `function` on the main process, then on the others, which find what it left (a
    download, a cache)."""
    result = main_only(function)
    return result if current().is_main else function()


def my_share(items: Sequence[Result]) -> Sequence[Result]:
    """This process's part of the items; every item is in one process's share."""
    world = current()
    return items[world.rank :: world.size]


def merge(results: list[Result]) -> list[Result]:
    """The results of every process's share, in the order of the items, on all processes."""
    shares = gather(results)
    merged: list[Any] = [None] * sum(map(len, shares))
    for rank, share in enumerate(shares):
        merged[rank :: len(shares)] = share
    return merged


def sum_counts(counts: dict[str, int]) -> dict[str, int]:
    """Each count's sum over all processes."""
    everyone = gather(counts)
    names = {name for one in everyone for name in one}
    return {name: sum(one.get(name, 0) for one in everyone) for name in sorted(names)}


def sum_gradients(parameters: Sequence[Any]) -> None:
    """Replace each parameter's gradient by its sum over all processes, in one exchange.

    Parameters without a gradient count as zeros, so that ranks with idle rows stay in step.
    """
    if current().size == 1:
        return
    import paddle
    import paddle.distributed

    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = paddle.zeros_like(parameter)
    flat = paddle.concat([p.grad.astype("float32").reshape([-1]) for p in parameters])
    paddle.distributed.all_reduce(flat)
    pieces = paddle.split(flat, [p.size for p in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad.set_value(piece.reshape(parameter.shape).astype(parameter.grad.dtype))
