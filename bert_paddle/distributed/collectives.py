"""Rank and world size, and collective operations on Python values.

The same code runs in any number of processes; in a single one, collective operations return their
input. `launch` starts the processes, `heartbeat` detects dead ones.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bert_paddle.common import error_exit, signals
from bert_paddle.common.errors import BertPaddleError, RunError, UserError
from bert_paddle.distributed import environment, heartbeat, joining, values

Result = TypeVar("Result")
# While one rank runs a function alone, all ranks communicate this often, so that none times out.
_POLL_SECONDS = 5.0
_channel: heartbeat.ControlChannel | None = None


@dataclass(frozen=True)
class World:
    """This process's `rank` and the world `size`; only rank 0 prints and writes files."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def get_world() -> World:
    """This process's rank and the world size, from its environment. Raises UserError if that has
    no such numbers."""
    return World(
        environment.whole_number("PADDLE_TRAINER_ID", 0),
        environment.whole_number("PADDLE_TRAINERS_NUM", 1),
    )


def on_gpu() -> bool:
    """Whether this process runs on a GPU."""
    import paddle

    return paddle.device.get_device().startswith("gpu")


def on_cpu() -> bool:
    """Whether this process runs on the CPU, not on a GPU or another device."""
    import paddle

    return paddle.device.get_device() == "cpu"


def connect(on_lost: Callable[[str], Any]) -> None:
    """Open the control channel and start heartbeats, after Paddle's own initialization. `on_lost`
    is called once, in a thread, with a one-line message that names the lost rank.

    Raises RunError if the processes cannot reach each other, UserError if they have different
    secrets.
    """
    global _channel
    world = get_world()
    host = os.environ.get("PADDLE_CURRENT_ENDPOINT", "127.0.0.1").split(":")[0]
    # Through Paddle, since the channel is not open yet: nothing of this can be trusted.
    _channel = joining.join(world.rank, world.size, host, _gather_bytes)
    _channel.start_heartbeat(on_lost)


def disconnect(reason: str = "") -> None:
    """Close the control channel. reason: the error that ends this process, sent to the other ranks;
    empty at a normal end."""
    global _channel
    if _channel is not None:
        _channel.close(reason)
        _channel = None


def all_gather(value: Any) -> list[Any]:
    """Every process's `value`, in rank order, on all processes.

    Raises RunError when a process has died or exceeds `heartbeat.collective_timeout`.
    """
    if get_world().size == 1:
        return [value]
    if _channel is None:
        raise RuntimeError("the ranks are not connected")
    # Through host memory, which need not wait for queued GPU work.
    return [values.load(data) for data in _channel.all_gather(values.dump(value))]


def _gather_bytes(data: bytes) -> list[bytes]:
    """Every process's bytes, through Paddle. Its all_gather_object would unpickle whatever arrives
    from the network."""
    import numpy as np
    import paddle
    import paddle.distributed

    def gather(array: "np.ndarray") -> "list[np.ndarray]":
        tensors: list[Any] = []
        paddle.distributed.all_gather(tensors, paddle.to_tensor(array))
        return [tensor.numpy() for tensor in tensors]

    sizes = [int(array[0]) for array in gather(np.array([len(data)], np.int64))]
    padded = np.zeros(max(sizes), np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    return [a[:size].tobytes() for a, size in zip(gather(padded), sizes, strict=True)]


def _barrier() -> None:
    """Wait for all ranks, if there is a control channel."""
    if _channel is not None:
        _channel.barrier()


def run_on_main(function: Callable[[], Result]) -> Result:
    """Call `function` on the main process only; its result is returned, or its error raised, on all
    ranks.

    The call may take any time: the ranks communicate every few seconds.
    """
    world = get_world()
    return function() if world.size == 1 else _run_on_some(world.is_main, function)[0]


def run_on_main_first(function: Callable[[], Result]) -> Result:
    """Call `function` on the main process, then on the first process of each other host, then on
    all other processes, which find the files of the first calls (a download, a cache) on disk.
    Returns this process's own result."""
    own: list[Result] = []  # results may be large, and stay in their process

    def run() -> None:
        own.append(function())

    run_on_main(run)
    world = get_world()
    if world.size > 1:
        runs_second = not world.is_main and _is_first_on_host()
        _run_on_some(runs_second, run)
        if not own:
            run()
    return own[0]


def _is_first_on_host() -> bool:
    """Whether this process has the lowest rank on its host."""
    endpoints = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    hosts = [endpoint.split(":")[0] for endpoint in endpoints]
    rank = get_world().rank
    return rank < len(hosts) and hosts.index(hosts[rank]) == rank


def _run_on_some(chosen: bool, function: Callable[[], Any]) -> list[Any]:
    """Call `function` on the processes that pass `chosen`=True. Returns, on all processes, the
    results by rank (None for the others). An error on one process is raised on all."""
    outcome: dict[str, Any] = {}
    worker = threading.Thread(target=_run_into, args=(function, outcome), daemon=True)
    if chosen:
        worker.start()
    while True:
        if chosen:
            worker.join(_POLL_SECONDS)
        # True: the call is still running.
        outcomes = all_gather(
            worker.is_alive() or (_picklable_outcome(outcome) if chosen else {"value": None})
        )
        if True not in outcomes:
            break
    if "error" in outcome:
        raise outcome["error"]
    for rank_outcome in outcomes:
        if "system_error" in rank_outcome:
            raise OSError(*rank_outcome["system_error"])
        if "user_error" in rank_outcome:
            raise UserError(rank_outcome["user_error"])
        if "run_error" in rank_outcome:
            raise RunError(rank_outcome["run_error"])
    return [rank_outcome["value"] for rank_outcome in outcomes]


def _run_into(function: Callable[[], Any], outcome: dict[str, Any]) -> None:
    """Call `function`, and store its result or error in `outcome`."""
    try:
        outcome["value"] = function()
    except BaseException as error:
        outcome["error"] = error


def _picklable_outcome(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome without exception objects, since not all of them can be pickled."""
    error = outcome.get("error")
    if error is None:
        return {"value": outcome["value"]}
    if isinstance(error, BertPaddleError) and error.exit_code == 2:
        return {"user_error": str(error)}
    rank_name = f"rank {get_world().rank}"
    if isinstance(error, OSError) and error.errno in error_exit.SYSTEM_ERRNOS:
        return {"system_error": (error.errno, f"{error.strerror} (on {rank_name})", error.filename)}
    return {"run_error": f"{rank_name}: {error}"}


def shard(items: Sequence[Result]) -> Sequence[Result]:
    """This process's shard of the items; every item is in exactly one shard."""
    world = get_world()
    return items[world.rank :: world.size]


def sharded_rounds(
    items: Sequence[Result], before_round: Callable[[int], Any] = lambda items_done: None
) -> Iterator[Result]:
    """This process's shard, to be worked on in rounds of one item per process. before_round: called
    with the number of items that all processes have finished.

    Raises StopSignal, on all ranks before the same round, when any of them has received a stop
    signal; while signals are not deferred, the signal itself does that.
    """
    world, own = get_world(), shard(items)
    for number, done in enumerate(range(0, len(items), world.size)):
        if signals.requests.are_deferred and (name := pending_stop()):
            raise signals.StopSignal(name)
        before_round(done)
        if number < len(own):
            yield own[number]


def pending_stop() -> str | None:
    """The name of a stop signal that any rank has received while signals are deferred. All ranks
    must call this together."""
    received = [name for name in all_gather(signals.requests.pending_stop()) if name]
    return min(received, default=None)


def gather_shards(results: list[Result]) -> list[Result]:
    """Merge per-shard results: one per item, in the order of the items, on all processes."""
    shards = all_gather(results)
    merged: list[Any] = [None] * sum(map(len, shards))
    for rank, rank_results in enumerate(shards):
        merged[rank :: len(shards)] = rank_results
    return merged


def all_reduce_counts(counts: dict[str, int]) -> dict[str, int]:
    """Sum each count over all processes; names may differ between processes."""
    all_counts = all_gather(counts)
    names = {name for rank_counts in all_counts for name in rank_counts}
    return {name: sum(c.get(name, 0) for c in all_counts) for name in sorted(names)}


def all_reduce_gradients(parameters: Sequence[Any]) -> None:
    """Replace each parameter's gradient by its sum over all processes, in one all-reduce.

    Missing gradients count as zeros, so that ranks without rows in this step take part too.
    """
    if get_world().size == 1:
        return
    import paddle
    import paddle.distributed

    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = paddle.zeros_like(parameter)
    if not on_gpu():  # on a GPU the all-reduce is queued, and the host does not wait
        _barrier()
    flat = paddle.concat([p.grad.astype("float32").reshape([-1]) for p in parameters])
    paddle.distributed.all_reduce(flat)
    gradients = paddle.split(flat, [p.size for p in parameters])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad.set_value(gradient.reshape(parameter.shape).astype(parameter.grad.dtype))
