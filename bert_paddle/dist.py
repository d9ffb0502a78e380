"""Processes: starting them, knowing one's rank, exchanging values. The only place that does.

A job is one process, or N started by `--n_gpu N` (spawn) or `python -m paddle.distributed.launch`;
on GPUs they talk by NCCL, on the CPU by gloo. What follows is written once for all of them: with
one process every exchange is the identity.
"""

import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bert_paddle import env
from bert_paddle.args import CommonArgs
from bert_paddle.errors import FlagError, RunError, UserError
from bert_paddle.exits import told_in_one_line


@dataclass(frozen=True)
class World:
    """This process's place in the job: `rank` of `size`; rank 0 speaks and writes."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0


def launch(program: str, args: CommonArgs) -> None:
    """Run `program` ("module:function", called with the args) in as many processes as asked for.

    Raises FlagError when more GPUs are asked for than there are; RunError when a process dies.
    """
    from_launcher = env.launched()
    processes = 1 if from_launcher else max(1, args.n_gpu)
    said = env.configure(processes, use_gpu=args.n_gpu > 0 and args.device != "cpu")
    env.import_paddle()
    gpus = _visible_gpus(args)
    if not from_launcher or os.environ.get("PADDLE_TRAINER_ID") == "0":
        for note in _notes(args, gpus, from_launcher, said):
            print(note, file=sys.stderr, flush=True)
    if gpus and not from_launcher and args.n_gpu > gpus:
        raise FlagError([f"--n_gpu {args.n_gpu}, but only {gpus} GPU(s) are visible here"])
    if processes == 1:
        _call(program, args)
    else:
        _spawn(program, args, processes, gpus > 0)


def _visible_gpus(args: CommonArgs) -> int:
    import paddle

    if not paddle.is_compiled_with_cuda() or args.n_gpu == 0 or args.device == "cpu":
        count = 0
    else:
        count = paddle.device.cuda.device_count()
    if not count:
        if args.device == "gpu":
            raise FlagError(
                ["--device gpu, but this PaddlePaddle sees no GPU (leave --device out to use CPUs)"]
            )
        paddle.set_device("cpu")
    return count


def _notes(args: CommonArgs, gpus: int, from_launcher: bool, threads: str) -> Iterator[str]:
    if from_launcher:
        size = os.environ.get("PADDLE_TRAINERS_NUM", "1")
        if "n_gpu" in args.given:
            yield f"started by paddle.distributed.launch: {size} process(es), --n_gpu is ignored"
    elif not gpus and args.n_gpu > 0 and args.device == "auto":
        yield f"warning: no GPU is visible; running {args.n_gpu} process(es) on the CPU"
    if not gpus:
        yield f"CPU: {threads}"


def _call(program: str, args: CommonArgs) -> None:
    module, function = program.split(":")
    world = current()
    if world.size > 1:
        import paddle.distributed

        with env.without_lines("FLAGS", "====="):  # a list of settings made on purpose
            paddle.distributed.init_parallel_env()
    getattr(importlib.import_module(module), function)(args)


def _child(
    program: str, args: CommonArgs, rank: int, ports: list[int], gpus: bool, said: Any
) -> None:
    """What a spawned process runs; its errors go to the parent, which tells them once."""
    env.join_job(rank, [f"127.0.0.1:{port}" for port in ports], gpus)
    env.configure(len(ports), use_gpu=gpus)
    env.import_paddle()
    with told_in_one_line(args.debug, tell=lambda line, code: said.put((line, code))):
        _call(program, args)


def _spawn(program: str, args: CommonArgs, processes: int, gpus: bool) -> None:
    """Run the program in N new processes; when one of them fails, end the others at once.

    Not paddle.distributed.spawn: it imports paddle before a process can choose its threads.
    """
    context = multiprocessing.get_context("spawn")
    ports, said = _free_ports(processes), context.SimpleQueue()
    children = [
        context.Process(
            target=_child, args=(program, args, rank, ports, gpus, said), name=f"rank {rank}"
        )
        for rank in range(processes)
    ]
    for child in children:
        child.start()
    running = list(children)
    try:
        while running:
            multiprocessing.connection.wait([child.sentinel for child in running])
            for child in [child for child in running if not child.is_alive()]:
                running.remove(child)
                if child.exitcode:
                    _fail(child.name, child.exitcode, said)
    finally:
        _stop(children)


def _fail(name: str, code: int, said: Any) -> None:
    """Raise the error that a child told, or one that says how it died."""
    if not said.empty():
        line, code = said.get()
        if code == 130:
            raise KeyboardInterrupt
        raise UserError(line) if code == 2 else RunError(line)
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raise RunError(
        f"{name} ended with {how} and the other processes were stopped; go on with "
        "--resume_from_checkpoint auto"
    )


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _stop(processes: Sequence[Any]) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()


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


@contextmanager
def main_first() -> Iterator[None]:
    """The main process runs the block, then the others do: for downloads and caches."""
    world = current()
    if not world.is_main:
        barrier()
    yield
    if world.is_main:
        barrier()


def barrier() -> None:
    """Wait for all processes."""
    if current().size > 1:
        import paddle.distributed

        paddle.distributed.barrier()


def sum_counts(counts: dict[str, int]) -> dict[str, int]:
    """Each count's sum over all processes."""
    everyone = gather(counts)
    names = {name for one in everyone for name in one}
    return {name: sum(one.get(name, 0) for one in everyone) for name in sorted(names)}


def gather(value: Any) -> list[Any]:
    """Every process's `value`, in rank order, on all processes."""
    if current().size == 1:
        return [value]
    import paddle.distributed

    everyone: list[Any] = []
    paddle.distributed.all_gather_object(everyone, value)
    return everyone


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


def share(value: Any) -> Any:
    """The main process's `value`, on all processes."""
    return gather(value)[0]


def apply(function: Callable[[], Any]) -> Any:
    """Call `function` on the main process alone and give its result to all."""
    return share(function() if current().is_main else None)
