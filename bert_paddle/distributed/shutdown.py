"""How a job of several processes ends: which of their errors is told, and nothing is left over."""

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from bert_paddle.common.errors import BertPaddleError, Interrupted, RunError, UserError

RankReport = tuple[int, str, int, bool]  # rank, line, exit code, whether it only lost another rank
# Seconds in which a file that is being written may become whole, and in which the processes of a
# job that ends may end by themselves.
SHUTDOWN_SECONDS = 10.0


def interrupted_error(number: int, said: Any) -> BertPaddleError:
    """The error of a job that a signal ended: what a child told of it."""
    lines = [line for _, line, _, second_hand in _all(said) if not second_hand]
    line = lines[0] if lines else "stopped before there was anything to save"
    name = signal.Signals(number).name
    return Interrupted(f"{name}: {line.removeprefix('SIGTERM: ')}", number)


def root_cause(children: Sequence[Any], said: Any) -> BertPaddleError:
    """The error that ended a job, of which one child has ended badly: a signal's, or what a child
    told; only when there is nothing else, that one has lost another."""
    told: list[RankReport] = []
    for _ in range(30):
        told += _all(said)
        for rank, child in enumerate(children):
            if child.exitcode is not None and child.exitcode < 0:
                name = signal.Signals(-child.exitcode).name
                hint = " (perhaps for want of memory)" if name == "SIGKILL" else ""
                return RunError(_and_the_others(f"rank {rank} ended with signal {name}{hint}"))
        for rank, line, code, second_hand in told:
            if code > 128:
                return Interrupted(line, code - 128)
            if not second_hand and code == 2:
                return UserError(line)
            if not second_hand:
                return RunError(line if line.startswith("rank ") else f"rank {rank}: {line}")
        silent = {i for i, c in enumerate(children) if c.exitcode} - {rank for rank, *_ in told}
        if silent:
            rank = min(silent)
            return RunError(
                _and_the_others(f"rank {rank} ended with exit code {children[rank].exitcode}")
            )
        time.sleep(0.1)
    return RunError(_and_the_others(told[0][1]))


def _and_the_others(words: str) -> str:
    return f"{words} and the other processes were stopped; go on with --resume_from_checkpoint auto"


def _all(said: Any) -> list[RankReport]:
    told = []
    while not said.empty():
        told.append(said.get())
    return told


def finish_writing() -> None:
    """Let this process's other threads come to their end, a checkpoint that is being written."""
    end = time.monotonic() + SHUTDOWN_SECONDS
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join(max(0.0, end - time.monotonic()))


def at_once(program: Callable[[], Any]) -> NoReturn:
    """Run the program and end this process with its exit code, without the interpreter's teardown:
    there, gloo aborts a process now and then that another one has left a moment before."""
    code: Any = 1
    try:
        program()
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finish_writing()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def stop_processes(processes: Sequence[Any]) -> None:
    """End what still runs: politely, and after a while for good (a stopped process, say)."""
    started = [process for process in processes if process.pid is not None]
    for process in started:
        if process.is_alive():
            process.terminate()
    end = time.monotonic() + SHUTDOWN_SECONDS
    for process in started:
        process.join(max(0.0, end - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
