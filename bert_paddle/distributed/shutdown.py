"""Ending a job of several processes: choosing the error to report, stopping the processes."""

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
from bert_paddle.common.signals import exit_code_of, is_repeated

# Rank, one-line message, exit code, is_secondary: True if this rank failed only because its
# connection to another rank broke.
RankReport = tuple[int, str, int, bool]
# Time to complete a file that is being written, and for the processes of an ending job to exit.
SHUTDOWN_SECONDS = 10.0


class StopForwarding:
    """Forwards the stop signals of a parent process, those in `signals`, to its child processes. A
    second one kills them and ends the parent."""

    def __init__(self, children: Sequence[Any]):
        self.children, self.signals = children, list[int]()
        self._first = 0.0

    def handle(self, number: int, frame: Any) -> None:
        """A signal handler."""
        if self.signals and is_repeated(signal.Signals(number).name, self._first):
            return
        if self.signals:
            for child in self.children:
                if child.pid is not None:
                    child.kill()
            sys.exit(128 + number)
        self.signals.append(number)
        self._first = time.monotonic()
        self.terminate_started()

    def terminate_started(self) -> None:
        """Terminate the children that have been started."""
        for child in self.children:
            if child.pid is not None:
                child.terminate()


def interrupted_error(signal_number: int, reports: Any) -> BertPaddleError:
    """The error of a job that a signal ended, from the ranks' reports."""
    lines = [line for _, line, _, is_secondary in _drain(reports) if not is_secondary]
    line = lines[0] if lines else "stopped before there was anything to save"
    name = signal.Signals(signal_number).name
    # A rank's own message begins with the signal it was sent; show the one the job received
    # (Ctrl-C) instead.
    if exit_code_of(line) is not None:
        line = line.partition(": ")[2]
    return Interrupted(f"{name}: {line}", signal_number)


def root_cause(children: Sequence[Any], reports: Any) -> BertPaddleError:
    """The error to report after a child has failed. In order of preference: a child was killed by
    a signal; a child's own error; a rank lost its connection to another rank."""
    received: list[RankReport] = []
    for _ in range(30):  # up to 3 seconds, until a report arrives
        received += _drain(reports)
        for rank, child in enumerate(children):
            if child.exitcode is not None and child.exitcode < 0:
                name = signal.Signals(-child.exitcode).name
                hint = " (maybe out of memory)" if name == "SIGKILL" else ""
                return RunError(_with_resume_hint(f"rank {rank} was killed by {name}{hint}"))
        for rank, line, code, is_secondary in received:
            if code > 128:  # exit codes: 128 + signal = Interrupted, 2 = UserError
                return Interrupted(line, code - 128)
            if not is_secondary and code == 2:
                return UserError(line)
            if not is_secondary:
                return RunError(line if line.startswith("rank ") else f"rank {rank}: {line}")
        failed = {rank for rank, child in enumerate(children) if child.exitcode}
        unreported = failed - {rank for rank, *_ in received}
        if unreported:
            rank = min(unreported)
            return RunError(
                _with_resume_hint(f"rank {rank} ended with exit code {children[rank].exitcode}")
            )
        time.sleep(0.1)
    return RunError(_with_resume_hint(received[0][1]))


def _with_resume_hint(message: str) -> str:
    return (
        f"{message} and the other processes were stopped; resume with --resume_from_checkpoint auto"
    )


def _drain(reports: Any) -> list[RankReport]:
    """Remove and return all reports in the queue."""
    received = []
    while not reports.empty():
        received.append(reports.get())
    return received


def wait_for_writers() -> None:
    """Wait for this process's other threads, which may be writing a checkpoint."""
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join(max(0.0, deadline - time.monotonic()))


def run_and_exit(program: Callable[[], Any]) -> NoReturn:
    """Run the program and exit with its exit code, without the interpreter's teardown, in which
    gloo sometimes aborts a process when another one has just disconnected."""
    code: Any = 1
    try:
        program()
        code = 0
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # too late: the program has finished
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    wait_for_writers()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader has closed the pipe
            stream.flush()
    # As sys.exit does: None is 0, a message is 1.
    os._exit(code if isinstance(code, int) else int(code is not None))


def stop_processes(processes: Sequence[Any]) -> None:
    """Terminate processes that still run, and kill those that do not exit in time."""
    started = [process for process in processes if process.pid is not None]
    for process in started:
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    for process in started:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
