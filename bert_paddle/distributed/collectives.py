"""This process's place in the job, and the exchange of values. The only place that knows ranks.

Written once for any number of processes: with one, every exchange is the identity. `launch` starts
the processes, `peers` knows who is still there.
"""

import os
import pickle
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bert_paddle.common import error_exit
from bert_paddle.common.errors import BertPaddleError, RunError, UserError
from bert_paddle.distributed import heartbeat

Result = TypeVar("Result")
# Seconds between two exchanges while a process works alone and the others wait.
_BEAT = 5.0
_peers: heartbeat.ControlChannel | None = None


@dataclass(frozen=True)
class World:
    """This process's place in the job: `rank` of `size`; rank 0 speaks and writes."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def get_world() -> World:
    """This process's rank and the number of processes, as its environment says."""
    return World(
        int(os.environ.get("PADDLE_TRAINER_ID", "0")),
        int(os.environ.get("PADDLE_TRAINERS_NUM", "1")),
    )


def on_gpu() -> bool:
    """Whether this process computes on a GPU."""
    import paddle

    return paddle.device.get_device().startswith("gpu")


def connect(lost: Callable[[str], Any]) -> None:
    """Take this process into the job, after Paddle's own initialisation: from now on it knows who
    lives. `lost` is called in a thread, once, with a line that names a rank that is gone.

    Raises RunError where the processes cannot reach each other.
    """
    global _peers
    world = get_world()
    host = os.environ.get("PADDLE_CURRENT_ENDPOINT", "127.0.0.1").split(":")[0]
    listener = heartbeat.Listener(host) if world.is_main else None
    address = all_gather(listener and listener.address)[0]
    _peers = listener.accept(world.size) if listener else heartbeat.connect(address, world.rank)
    _peers.watch(lost)


def disconnect(reason: str = "") -> None:
    """Take this process out of the job: at its end, or with the error that ends it."""
    global _peers
    if _peers is not None:
        _peers.leave(reason)
        _peers = None


def all_gather(value: Any) -> list[Any]:
    """Every process's `value`, in rank order, on all processes.

    Raises RunError when a process is gone or does not come in time (`peers.patience`).
    """
    if get_world().size == 1:
        return [value]
    if _peers is not None:  # by way of the host, which need not wait for a GPU's work
        return [pickle.loads(one) for one in _peers.exchange(pickle.dumps(value))]
    import paddle.distributed

    everyone: list[Any] = []
    paddle.distributed.all_gather_object(everyone, value)
    return everyone


def _barrier() -> None:
    if _peers is not None:
        _peers.meet()


def run_on_main(function: Callable[[], Result]) -> Result:
    """Call `function` on the main process alone; its result, or its error, reaches all.

    Takes as long as it takes: the others hear from the main process every few seconds.
    """
    world = get_world()
    return function() if world.size == 1 else _some_only(world.is_main, function)[0]


def run_on_main_first(function: Callable[[], Result]) -> Result:
    """Call `function` on the main process, then on the first process of each other host, then on
    the rest, which find what these left on their disk (a download, a cache)."""
    result, world = run_on_main(function), get_world()
    first = not world.is_main and _is_first_of_its_host()
    results = _some_only(first, function)
    if world.is_main:
        return result
    return results[world.rank] if first else function()


def _is_first_of_its_host() -> bool:
    endpoints = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    hosts = [endpoint.split(":")[0] for endpoint in endpoints]
    rank = get_world().rank
    return rank < len(hosts) and hosts.index(hosts[rank]) == rank


def _some_only(chosen: bool, function: Callable[[], Any]) -> list[Any]:
    """Call `function` on the chosen processes; what it returned there, by rank (None elsewhere),
    on all. An error of one of them is raised on all."""
    outcome: dict[str, Any] = {}
    worker = threading.Thread(target=_call_into, args=(function, outcome), daemon=True)
    if chosen:
        worker.start()
    while True:
        if chosen:
            worker.join(_BEAT)
        told = all_gather(worker.is_alive() or (_tellable(outcome) if chosen else {"value": None}))
        if True not in told:
            break
    if "error" in outcome:
        raise outcome["error"]
    for one in told:
        if "system_error" in one:
            raise OSError(*one["system_error"])
        if "user_error" in one:
            raise UserError(one["user_error"])
        if "run_error" in one:
            raise RunError(one["run_error"])
    return [one["value"] for one in told]


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
    where = f"rank {get_world().rank}"
    if isinstance(error, OSError) and error.errno in error_exit.SYSTEM_ERRNOS:
        return {"system_error": (error.errno, f"{error.strerror} (on {where})", error.filename)}
    return {"run_error": f"{where}: {error}"}


def shard(items: Sequence[Result]) -> Sequence[Result]:
    """This process's part of the items; every item is in one process's share."""
    world = get_world()
    return items[world.rank :: world.size]


def gather_shards(results: list[Result]) -> list[Result]:
    """The results of every process's share, in the order of the items, on all processes."""
    shares = all_gather(results)
    merged: list[Any] = [None] * sum(map(len, shares))
    for rank, share in enumerate(shares):
        merged[rank :: len(shares)] = share
    return merged


def all_reduce_counts(counts: dict[str, int]) -> dict[str, int]:
    """Each count's sum over all processes."""
    everyone = all_gather(counts)
    names = {name for one in everyone for name in one}
    return {name: sum(one.get(name, 0) for one in everyone) for name in sorted(names)}


def all_reduce_gradients(parameters: Sequence[Any]) -> None:
    """Replace each parameter's gradient by its sum over all processes, in one exchange.

    Parameters without a gradient count as zeros, so that ranks with idle rows stay in step.
    """
    if get_world().size == 1:
        return
    import paddle
    import paddle.distributed

    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = paddle.zeros_like(parameter)
    if not on_gpu():  # on a GPU the exchange is queued, and the host does not wait
        _barrier()
    flat = paddle.concat([p.grad.astype("float32").reshape([-1]) for p in parameters])
    paddle.distributed.all_reduce(flat)
    pieces = paddle.split(flat, [p.size for p in parameters])
    for parameter, piece in zip(parameters, pieces, strict=True):
        parameter.grad.set_value(piece.reshape(parameter.shape).astype(parameter.grad.dtype))
