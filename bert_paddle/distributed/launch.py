"""Starting a program in one or several processes, and ending them together.

A job is one process, or N started by `--n_gpu N` here or by `python -m paddle.distributed.launch`;
they communicate by NCCL on GPUs, by gloo on CPUs.
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
from bert_paddle.common.error_exit import disk_full_names, exit_with_one_line
from bert_paddle.common.errors import BertPaddleError, FlagError, Interrupted, RunError
from bert_paddle.common.printed_lines import print_line
from bert_paddle.distributed import (
    authentication,
    collectives,
    rank_agreement,
    rendezvous,
    shutdown,
)
from bert_paddle.distributed.device import select_device
from bert_paddle.distributed.heartbeat import LostRankError
from bert_paddle.distributed.startup_notes import startup_notes


def launch(program: str, args: CommonArgs) -> None:
    """Run `program` ("module:function", called with the args) in one or more processes.

    Raises FlagError when more GPUs are requested than visible, RunError when a process dies.
    """
    signals.ignore_until_training()
    rendezvous.check_environment()
    from_launcher = runtime.is_launched()
    if from_launcher and runtime.parent_is_paddles_launcher():
        # On a SIGTERM it dies without telling its ranks, if it was started with --backend.
        runtime.die_with_parent()
    processes = 1 if from_launcher else max(1, args.n_gpu)
    cpu_settings = runtime.configure(processes, use_gpu=args.n_gpu > 0 and args.device != "cpu")
    runtime.import_paddle()
    gpus = select_device(args.n_gpu, args.device)
    if collectives.get_world().is_main:
        for note in startup_notes(args, gpus, from_launcher, cpu_settings):
            print_line(note)
    if gpus and not from_launcher and args.n_gpu > gpus:
        raise FlagError([f"--n_gpu {args.n_gpu}, but only {gpus} GPU(s) are visible here"])
    if processes == 1:
        if from_launcher and not gpus and collectives.on_cpu():
            _choose_gloo()
        _run_in_this_process(program, args)
    else:
        _spawn(program, args, processes, gpus > 0)


def _run_in_this_process(program: str, args: CommonArgs) -> None:
    """Run the program in a job of one process, or as a rank started by Paddle's launcher."""

    def run_rank() -> None:
        with exit_with_one_line(args.debug):
            _run_program(program, args, _exit_launched_rank)

    if collectives.get_world().size > 1:
        shutdown.run_and_exit(run_rank)
    _run_program(program, args, _exit_launched_rank)


def _choose_gloo() -> None:
    """Select gloo, which Paddle's launcher does not do when CUDA_VISIBLE_DEVICES is set (even to
    nothing) or our flags select the CPU; and with --master it rejects --backend."""
    endpoints = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    if len(endpoints) == collectives.get_world().size > 1:
        runtime.set_rank_environment(collectives.get_world().rank, endpoints, gpus=False)


def _run_program(program: str, args: CommonArgs, on_lost: Callable[[str], Any]) -> None:
    """Run the program as this rank of the job. on_lost: called with a message when another rank is
    lost; ends the process."""
    module, function = program.split(":")
    if collectives.get_world().size == 1:
        with disk_full_names(args.output_dir):
            getattr(importlib.import_module(module), function)(args)
        return
    import paddle.distributed

    world, address = collectives.get_world(), rendezvous.meeting_address()
    if address is not None:
        rendezvous.wait_for_ranks(world.rank, world.size, address, print_line)
    with _report_errors_to_ranks():
        with (
            runtime.suppress_lines("FLAGS", "====="),  # paddle prints its flags
            signals.requests.ending_in_thread(on_lost),  # it waits for the other ranks in C++
        ):
            paddle.distributed.init_parallel_env()
        collectives.connect(on_lost)
        rank_agreement.check_flags(program, args)
        with disk_full_names(args.output_dir):
            getattr(importlib.import_module(module), function)(args)


@contextlib.contextmanager
def _report_errors_to_ranks() -> Iterator[None]:
    """Disconnect from the other ranks when the block ends. They get its error, and end with it."""
    rank = collectives.get_world().rank
    try:
        yield
    except Interrupted:
        collectives.disconnect()  # the other ranks stop as well
        raise
    except signals.StopSignal as stop:  # they may not have received it: they end with this line
        collectives.disconnect(f"{stop.name}: {signals.requests.status}")
        raise
    except LostRankError as error:
        # The heartbeat thread knows the cause and normally ends this process first.
        # Paddle's launcher terminates the ranks that are left: that is no request to stop.
        with signals.requests.deferred():
            time.sleep(shutdown.SHUTDOWN_SECONDS / 2)
        collectives.disconnect(str(error))
        raise
    except (BertPaddleError, KeyboardInterrupt, BrokenPipeError) as error:
        collectives.disconnect(f"rank {rank}: {str(error) or type(error).__name__}")
        raise
    except Exception as error:
        message = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        if isinstance(error, RuntimeError) and ("gloo" in message or "nccl" in message.lower()):
            # The cause is another rank, which has ended or is stopped: wait, as above.
            with signals.requests.deferred():
                time.sleep(shutdown.SHUTDOWN_SECONDS / 2)
            raise LostRankError(
                f"rank {rank} lost the connection to other ranks: {message}"
            ) from error
        collectives.disconnect(f"rank {rank}: {message}")
        if isinstance(error, MemoryError):
            raise RunError(f"rank {rank}: out of memory: {message}") from error
        raise
    with signals.requests.deferred():  # too late: the program has finished
        collectives.disconnect()


def _exit_launched_rank(line: str) -> None:
    """End a process whose job has lost a rank: its main thread may be blocked forever."""
    shutdown.wait_for_writers()
    code = signals.exit_code_of(line)  # the other rank received a stop signal
    if code is None:
        line = f"{line}; resume with --resume_from_checkpoint auto"
    print_line(f"error: {line}")
    os._exit(code or 1)


def _run_spawned_rank(
    program: str,
    args: CommonArgs,
    rank: int,
    ports: list[int],
    use_gpu: bool,
    reports: Any,
    parent: int,
    secret: str,
) -> None:
    """The main function of a spawned process. reports: a queue of `shutdown.RankReport`, from which
    the parent prints one error for all processes. parent: the parent's process id."""
    runtime.die_with_parent(parent)
    signals.ignore_until_training()
    # Ctrl-C reaches every process: the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runtime.set_rank_environment(rank, [f"127.0.0.1:{port}" for port in ports], use_gpu, secret)
    runtime.configure(len(ports), use_gpu=use_gpu, inherited=True)
    runtime.import_paddle()

    def on_lost(line: str) -> None:
        reports.put((rank, line, 1, True))
        shutdown.wait_for_writers()
        os._exit(1)

    shutdown.run_and_exit(lambda: _run_reporting_to_parent(program, args, rank, reports, on_lost))


def _run_reporting_to_parent(
    program: str, args: CommonArgs, rank: int, reports: Any, on_lost: Callable[[str], Any]
) -> None:
    is_secondary = False  # True: this rank failed only because its connection to another broke
    try:
        with exit_with_one_line(
            args.debug, report=lambda line, code: reports.put((rank, line, code, is_secondary))
        ):
            try:
                _run_program(program, args, on_lost)
            except LostRankError:
                is_secondary = True
                raise
    except Exception as error:  # a bug: print the traceback, and report a line to the parent
        traceback.print_exc()
        message = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        reports.put((rank, f"rank {rank}: {message} (the traceback is above)", 1, False))
        sys.exit(1)


def _spawn(program: str, args: CommonArgs, processes: int, use_gpu: bool) -> None:
    """Run the program in N new processes; when one of them fails, stop the others immediately.

    A stop signal is forwarded: training saves and ends after its current step, any other work ends
    immediately; a second signal kills all. SIGUSR1 is forwarded to rank 0, which informs the
    others.

    paddle.distributed.spawn is no alternative: it imports paddle before a process can set its
    thread count.
    """
    context = multiprocessing.get_context("spawn")
    ports, reports = _free_ports(processes), context.SimpleQueue()
    # Through the pipe that starts a child: others cannot read it, as they can a command line.
    secret = authentication.new_secret()
    children = [
        context.Process(
            target=_run_spawned_rank,
            args=(program, args, rank, ports, use_gpu, reports, os.getpid(), secret),
            name=f"rank {rank}",
        )
        for rank in range(processes)
    ]
    stopping = shutdown.StopForwarding(children)

    def save(number: int, frame: Any) -> None:
        if children[0].pid is not None and children[0].is_alive():
            os.kill(children[0].pid, number)

    signal.signal(signal.SIGUSR1, save)
    for number in signals.handled_stop_signals():
        signal.signal(number, stopping.handle)
    try:
        for child in children:
            if not stopping.signals:
                child.start()
        if stopping.signals:  # received while one was being started
            stopping.terminate_started()
        running = [child for child in children if child.pid is not None]
        while running:
            # After a stop signal, all exit soon after the first one does, unless one hangs.
            ending = stopping.signals and len(running) < len(children)
            timeout = shutdown.SHUTDOWN_SECONDS if ending else None
            sentinels = [child.sentinel for child in running]
            if not multiprocessing.connection.wait(sentinels, timeout):
                break
            running = [child for child in running if child.is_alive()]
            if not stopping.signals and any(child.exitcode for child in children):
                raise shutdown.root_cause(children, reports)
        if stopping.signals and any(child.exitcode != 0 for child in children):
            raise shutdown.interrupted_error(stopping.signals[0], reports)
    finally:
        shutdown.stop_processes(children)


def _free_ports(count: int) -> list[int]:
    """`count` TCP ports of this host that are currently free."""
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
