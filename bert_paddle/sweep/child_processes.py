"""Run child processes, several at a time: environments, logs, exit codes and signals.

A slot is the right to run one child at a time, with the environment variables of that child.
"""

import contextlib
import functools
import importlib.metadata
import os
import shlex
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common import hardware, runtime
from bert_paddle.common.printed_lines import print_line
from bert_paddle.common.signals import handled_stop_signals, is_repeated

_POLL = 0.1  # seconds between polls of the children
_SAVE_SECONDS = 60  # time for a child to save a checkpoint after SIGTERM


@dataclass(frozen=True)
class ChildProcess:
    """A program to run; its output is appended to its log."""

    command: Sequence[str]
    log: Path


@dataclass
class _Running:
    """A child that is running. output_start: the size of its log file in bytes when it started."""

    child: ChildProcess
    slot: Mapping[str, str]
    output_start: int


def make_slots(processes: int, gpus: Sequence[str], parallel: int | None) -> list[dict[str, str]]:
    """The environment variables of each slot: which GPUs it uses, or how many CPU threads.

    processes: number of processes per run, each with its own GPU. parallel: number of slots; None
    for as many as there are disjoint groups of `processes` GPUs, and for one on the CPU. With more
    slots than groups, several slots use the same group.
    """
    if gpus:
        # One group of all GPUs if there are too few for a run, whose own error message explains it.
        starts = range(0, max(1, len(gpus) - processes + 1), processes)
        groups = [",".join(gpus[start : start + processes]) for start in starts]
        count = parallel or len(groups)
        return [{"CUDA_VISIBLE_DEVICES": groups[i % len(groups)]} for i in range(count)]
    if parallel is None or parallel == 1:
        return [{}]
    threads = max(1, hardware.available_cores() // (parallel * processes))
    variables = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    return [dict(variables) for _ in range(parallel)]


def visible_gpus() -> list[str]:
    """The ids of the GPUs that this process may use, in the form of CUDA_VISIBLE_DEVICES; [] with
    the CPU build of Paddle, and without a driver. Does not import Paddle. If nvidia-smi fails, says
    so on stderr and returns []."""
    try:
        importlib.metadata.version("paddlepaddle-gpu")
    except importlib.metadata.PackageNotFoundError:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu.strip() for gpu in visible.split(",") if gpu.strip()]
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        completed = subprocess.run(
            query, capture_output=True, text=True, errors="replace", timeout=60
        )
        if completed.returncode == 0:
            return completed.stdout.split()
        # nvidia-smi writes its errors to stdout.
        lines = (completed.stdout.strip() or completed.stderr.strip()).splitlines()
        problem = lines[0] if lines else f"exit code {completed.returncode}"
    except FileNotFoundError:
        return []  # no driver
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    print_line(
        f"warning: nvidia-smi failed ({problem}): the GPUs are not dealt out to the runs; name "
        "them in CUDA_VISIBLE_DEVICES",
    )
    return []


def run_children(
    children: Sequence[ChildProcess],
    slots: Sequence[Mapping[str, str]],
    on_start: Callable[[ChildProcess], None],
    on_exit: Callable[[ChildProcess, int, str], None],
) -> int | None:
    """Run all children, as many at a time as there are slots.

    on_exit receives the child, its exit code (if negative, minus the number of the signal that
    ended it) and its output. The first SIGINT or SIGTERM that this process receives sends SIGTERM
    to the children, a second one kills them. Returns the number of the first signal, or None when
    all children have run.
    """
    waiting, free_slots = deque(children), deque(slots)
    running: dict[subprocess.Popen, _Running] = {}
    with _collect_signals() as signals:
        signals_handled = 0
        try:
            while running or (waiting and not signals):
                while waiting and free_slots and not signals:
                    child, slot = waiting.popleft(), free_slots.popleft()
                    on_start(child)
                    process, output_start = _start(child, slot)
                    running[process] = _Running(child, slot, output_start)
                time.sleep(_POLL)
                if len(signals) > signals_handled:
                    signals_handled = len(signals)
                    for process in running:
                        _stop(process, kill=signals_handled > 1)
                for process in [process for process in running if process.poll() is not None]:
                    ended = running.pop(process)
                    free_slots.append(ended.slot)
                    on_exit(ended.child, process.returncode, _read_output(ended))
        finally:
            _stop_all(list(running))
        return signals[0] if signals else None


@contextlib.contextmanager
def _collect_signals() -> Iterator[list[int]]:
    """A list to which the number of each SIGINT or SIGTERM received in the block is appended. The
    previous handlers are restored afterwards."""
    numbers: list[int] = []
    first = 0.0

    def handle(number: int, frame: Any) -> None:
        nonlocal first
        if not numbers:
            first = time.monotonic()
        elif is_repeated(signal.Signals(number).name, first):
            return
        numbers.append(number)

    handlers = {number: signal.signal(number, handle) for number in handled_stop_signals()}
    try:
        yield numbers
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _start(child: ChildProcess, slot: Mapping[str, str]) -> tuple[subprocess.Popen, int]:
    """Start a child that appends its output to its log. Returns its process, and the byte of the
    log at which its output begins."""
    with child.log.open("ab") as log:
        log.write(f"# command: {shlex.join(child.command)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**runtime.child_environment(), **slot},
            preexec_fn=functools.partial(_leave_group, os.getpid()),
        )
        return process, log.tell()


def _leave_group(parent: int) -> None:
    """Run in the child: a group of its own, so that Ctrl-C reaches only the parent, which then
    stops the children."""
    os.setpgid(0, 0)
    runtime.die_with_parent(parent)


def _stop(process: subprocess.Popen, kill: bool) -> None:
    """Send SIGTERM to a child, which then saves a checkpoint and exits; or kill it and its own
    child processes."""
    with contextlib.suppress(ProcessLookupError):
        if kill:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.terminate()


def _stop_all(processes: Sequence[subprocess.Popen]) -> None:
    """Stop the children that are still running; kill those that do not exit in time."""
    for process in processes:
        _stop(process, kill=False)
    for process in processes:
        try:
            process.wait(_SAVE_SECONDS)
        except subprocess.TimeoutExpired:
            _stop(process, kill=True)
            process.wait()


def _read_output(ended: _Running) -> str:
    """What the child has printed since it started, without earlier output in its log."""
    with ended.child.log.open("rb") as log:
        log.seek(ended.output_start)
        return log.read().decode("utf-8", errors="replace")
