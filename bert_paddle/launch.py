"""Starting a program in as many processes as asked for, and ending them together.

A job is one process, or N started by `--n_gpu N` here or by `python -m paddle.distributed.launch`;
on GPUs they talk by NCCL, on the CPU by gloo.
"""

import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from bert_paddle import dist, env, signals
from bert_paddle.args import CommonArgs
from bert_paddle.errors import BertPaddleError, FlagError, Interrupted, RunError, UserError
from bert_paddle.exits import told_in_one_line


def launch(program: str, args: CommonArgs) -> None:
    """Run `program` ("module:function", called with the args) in as many processes as asked for.

    Raises FlagError when more GPUs are asked for than there are; RunError when a process dies.
    """
    signals.ignore_until_training()
    from_launcher = env.launched()
    processes = 1 if from_launcher else max(1, args.n_gpu)
    said = env.configure(processes, use_gpu=args.n_gpu > 0 and args.device != "cpu")
    env.import_paddle()
    gpus = _visible_gpus(args)
    if dist.current().is_main:
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
        if "n_gpu" in args.given:
            size = dist.current().size
            yield f"started by paddle.distributed.launch: {size} process(es), --n_gpu is ignored"
    elif not gpus and args.n_gpu > 0 and args.device == "auto":
        yield f"warning: no GPU is visible; running {args.n_gpu} process(es) on the CPU"
    if not gpus:
        yield f"CPU: {threads}"


def _call(program: str, args: CommonArgs) -> None:
    module, function = program.split(":")
    if dist.current().size > 1:
        import paddle.distributed

        with env.without_lines("FLAGS", "====="):  # a list of settings made on purpose
            paddle.distributed.init_parallel_env()
    getattr(importlib.import_module(module), function)(args)


def _child(
    program: str, args: CommonArgs, rank: int, ports: list[int], gpus: bool, said: Any
) -> None:
    """What a spawned process runs; its errors go to the parent, which tells them once."""
    env.die_with_parent()
    signals.ignore_until_training()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the parent ends the job
    env.join_job(rank, [f"127.0.0.1:{port}" for port in ports], gpus)
    env.configure(len(ports), use_gpu=gpus, inherited=True)
    env.import_paddle()
    with told_in_one_line(args.debug, tell=lambda line, code: said.put((line, code))):
        try:
            _call(program, args)
        except RuntimeError as error:
            if "gloo" not in str(error).lower() and "nccl" not in str(error).lower():
                raise
            # Most often another process has ended and this one notices: that one's error counts.
            raise RunError(f"rank {rank} lost the others: {str(error).splitlines()[0]}") from error


def _spawn(program: str, args: CommonArgs, processes: int, gpus: bool) -> None:
    """Run the program in N new processes; when one of them fails, end the others at once.

    SIGTERM and SIGINT are passed on: a training ends after its update, saved; anything else ends
    at once, and so does all at a second one. SIGUSR1 goes to rank 0, which tells the others.

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
    ending: list[int] = []

    def end(number: int, frame: Any) -> None:
        if ending:
            for child in children:
                if child.pid is not None:
                    child.kill()
            sys.exit(128 + number)
        ending.append(number)
        for child in children:
            if child.pid is not None:
                child.terminate()

    def save(number: int, frame: Any) -> None:
        if children[0].pid is not None and children[0].is_alive():
            os.kill(children[0].pid, number)

    for number, handler in ((signal.SIGTERM, end), (signal.SIGINT, end), (signal.SIGUSR1, save)):
        signal.signal(number, handler)
    try:
        for child in children:
            child.start()
        running = list(children)
        while running:
            multiprocessing.connection.wait([child.sentinel for child in running])
            for child in [child for child in running if not child.is_alive()]:
                running.remove(child)
                if child.exitcode and not ending:
                    _fail(child.name, child.exitcode, said)
        if ending:
            raise _ended(ending[0], said)
    finally:
        _stop(children)


def _ended(number: int, said: Any) -> BertPaddleError:
    """The error of a job that a signal ended: what a child told of it."""
    line = said.get()[0] if not said.empty() else "stopped before there was anything to save"
    name = signal.Signals(number).name
    return Interrupted(f"{name}: {line.removeprefix('SIGTERM: ')}", number)


def _fail(name: str, code: int, said: Any) -> None:
    """Raise the error that a child told, or one that says how it died."""
    if code > 0 and not said.empty():
        line, code = said.get()
        if code > 128:
            raise Interrupted(line, code - 128)
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
    started = [process for process in processes if process.pid is not None]
    for process in started:
        if process.is_alive():
            process.terminate()
    for process in started:
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()
