"""Starting a program in as many processes as asked for, and ending them together.

A job is one process, or N started by `--n_gpu N` here or by `python -m paddle.distributed.launch`;
on GPUs they talk by NCCL, on the CPU by gloo.
"""

import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from bert_paddle.common import runtime, signals
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.error_exit import exit_with_one_line
from bert_paddle.common.errors import BertPaddleError, FlagError, Interrupted, RunError
from bert_paddle.distributed import collectives, shutdown
from bert_paddle.distributed.heartbeat import LostRankError


def launch(program: str, args: CommonArgs) -> None:
    """Run `program` ("module:function", called with the args) in as many processes as asked for.

    Raises FlagError when more GPUs are asked for than there are; RunError when a process dies.
    """
    signals.ignore_until_training()
    from_launcher = runtime.is_launched()
    processes = 1 if from_launcher else max(1, args.n_gpu)
    said = runtime.configure(processes, use_gpu=args.n_gpu > 0 and args.device != "cpu")
    runtime.import_paddle()
    gpus = _visible_gpus(args.n_gpu, args.device)
    if collectives.get_world().is_main:
        for note in _notes(args, gpus, from_launcher, said):
            print(note, file=sys.stderr, flush=True)
    if gpus and not from_launcher and args.n_gpu > gpus:
        raise FlagError([f"--n_gpu {args.n_gpu}, but only {gpus} GPU(s) are visible here"])
    if processes == 1:
        if from_launcher and not gpus:
            _choose_gloo()
        _run_alone(program, args)
    else:
        _spawn(program, args, processes, gpus > 0)


def _run_alone(program: str, args: CommonArgs) -> None:
    """Run the program where this process is the job, or the launcher's part of one."""

    def part() -> None:
        with exit_with_one_line(args.debug):
            _call(program, args, _end_of_a_launched_rank)

    if collectives.get_world().size > 1:
        shutdown.at_once(part)
    _call(program, args, _end_of_a_launched_rank)


def _choose_gloo() -> None:
    """Paddle's launcher names no backend where CUDA_VISIBLE_DEVICES is set, be it to nothing, or
    where the flags here say CPU; and with --master it takes no --backend."""
    endpoints = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    if len(endpoints) == collectives.get_world().size > 1:
        runtime.set_rank_environment(collectives.get_world().rank, endpoints, gpus=False)


def set_up_device(device: str = "auto", n_gpu: int = 1) -> None:
    """Make this process ready for a model, by itself: paddle imported, its device chosen.

    device: auto, cpu or gpu. Raises FlagError where a GPU is asked for and there is none.
    """
    runtime.configure(1, use_gpu=n_gpu > 0 and device != "cpu")
    runtime.import_paddle()
    _visible_gpus(n_gpu, device)


def _visible_gpus(n_gpu: int, device: str) -> int:
    import paddle

    if not paddle.is_compiled_with_cuda() or n_gpu == 0 or device == "cpu":
        count = 0
    else:
        count = paddle.device.cuda.device_count()
    if not count:
        if device == "gpu":
            raise FlagError(
                ["--device gpu, but this PaddlePaddle sees no GPU (leave --device out to use CPUs)"]
            )
        paddle.set_device("cpu")
    return count


def _notes(args: CommonArgs, gpus: int, from_launcher: bool, threads: str) -> Iterator[str]:
    if from_launcher:
        if "n_gpu" in args.given:
            size = collectives.get_world().size
            yield f"started by paddle.distributed.launch: {size} process(es), --n_gpu is ignored"
    elif not gpus and args.n_gpu > 0 and args.device == "auto":
        yield f"warning: no GPU is visible; running {args.n_gpu} process(es) on the CPU"
    if not gpus:
        yield f"CPU: {threads}"


def _call(program: str, args: CommonArgs, lost: Callable[[str], Any]) -> None:
    """Run the program as this process's part of the job. `lost` ends the process where another
    one is gone."""
    module, function = program.split(":")
    if collectives.get_world().size == 1:
        getattr(importlib.import_module(module), function)(args)
        return
    import paddle.distributed

    with _told_to_the_others():
        with runtime.suppress_lines("FLAGS", "====="):  # a list of settings made on purpose
            paddle.distributed.init_parallel_env()
        collectives.connect(lost)
        getattr(importlib.import_module(module), function)(args)


@contextlib.contextmanager
def _told_to_the_others() -> Iterator[None]:
    """Leave the job at the block's end. An error of one rank ends the others, who name it too."""
    rank = collectives.get_world().rank
    try:
        yield
    except Interrupted:
        collectives.disconnect()  # they have been asked as well
        raise
    except LostRankError as error:
        # The thread that watches over the others knows more of it and ends this process first.
        time.sleep(shutdown.SHUTDOWN_SECONDS / 2)
        collectives.disconnect(str(error))
        raise
    except (BertPaddleError, KeyboardInterrupt, BrokenPipeError) as error:
        collectives.disconnect(f"rank {rank}: {str(error) or type(error).__name__}")
        raise
    except Exception as error:
        words = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        if isinstance(error, RuntimeError) and ("gloo" in words or "nccl" in words.lower()):
            # Another process has ended or is stopped, and that one's error counts: as above.
            time.sleep(shutdown.SHUTDOWN_SECONDS / 2)
            raise LostRankError(f"rank {rank} lost the others: {words}") from error
        collectives.disconnect(f"rank {rank}: {words}")
        if isinstance(error, MemoryError):
            raise RunError(f"rank {rank}: out of memory: {words}") from error
        raise
    collectives.disconnect()


def _end_of_a_launched_rank(line: str) -> None:
    """End a process whose job has lost a rank: its main thread may wait for that one forever."""
    shutdown.finish_writing()
    print(f"error: {line}; go on with --resume_from_checkpoint auto", file=sys.stderr, flush=True)
    os._exit(1)


def _child(
    program: str, args: CommonArgs, rank: int, ports: list[int], gpus: bool, said: Any
) -> None:
    """What a spawned process runs; its errors go to the parent, which tells them once."""
    runtime.die_with_parent()
    signals.ignore_until_training()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the parent ends the job
    runtime.set_rank_environment(rank, [f"127.0.0.1:{port}" for port in ports], gpus)
    runtime.configure(len(ports), use_gpu=gpus, inherited=True)
    runtime.import_paddle()

    def lost(line: str) -> None:
        said.put((rank, line, 1, True))
        shutdown.finish_writing()
        os._exit(1)

    shutdown.at_once(lambda: _told_to_the_parent(program, args, rank, said, lost))


def _told_to_the_parent(
    program: str, args: CommonArgs, rank: int, said: Any, lost: Callable[[str], Any]
) -> None:
    second_hand = False
    try:
        with exit_with_one_line(
            args.debug, tell=lambda line, code: said.put((rank, line, code, second_hand))
        ):
            try:
                _call(program, args, lost)
            except LostRankError:
                second_hand = True
                raise
    except Exception as error:  # a fault of ours: a traceback, and a line for the parent
        traceback.print_exc()
        words = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        said.put((rank, f"rank {rank}: {words} (the traceback is above)", 1, False))
        sys.exit(1)


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
    asked: list[int] = []

    def end(number: int, frame: Any) -> None:
        if asked:
            for child in children:
                if child.pid is not None:
                    child.kill()
            sys.exit(128 + number)
        asked.append(number)
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
            # Once one has stopped as asked, the others do, unless one hangs.
            seconds = shutdown.SHUTDOWN_SECONDS if len(running) < len(children) and asked else None
            sentinels = [child.sentinel for child in running]
            if not multiprocessing.connection.wait(sentinels, seconds):
                break
            running = [child for child in running if child.is_alive()]
            if not asked and any(child.exitcode for child in children):
                raise shutdown.root_cause(children, said)
        if asked:
            raise shutdown.interrupted_error(asked[0], said)
    finally:
        shutdown.stop_processes(children)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
