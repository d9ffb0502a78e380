"""Running several child processes at a time, one per slot: logs, exit codes and signals."""

import contextlib
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

import bert_paddle
from bert_paddle.common import runtime

_POLL = 0.1  # seconds between polls of the children
_SAVE_SECONDS = 60  # that a child has to save a checkpoint after SIGTERM


@dataclass(frozen=True)
class ChildProcess:
    """A program to run; its output is appended to its log."""

    command: Sequence[str]
    log: Path


@dataclass
class _Running:
    child: ChildProcess
    slot: Mapping[str, str]
    log_start: int  # size of the log in bytes before this start


def make_slots(processes: int, gpus: Sequence[str], parallel: int | None) -> list[dict[str, str]]:
    """The environment variables of each slot: its GPU (or GPUs), or its share of the CPU cores.

    processes: of one run, each with its own GPU. parallel: runs at a time; None for one per share
    of the GPUs, and one on the CPU. With more slots than shares, the shares are reused in turn.
    """
    if gpus:
        starts = range(0, max(1, len(gpus) - processes + 1), processes)
        shares = [",".join(gpus[first : first + processes]) for first in starts]
        count = parallel or len(shares)
        return [{"CUDA_VISIBLE_DEVICES": shares[i % len(shares)]} for i in range(count)]
    if parallel is None or parallel == 1:
        return [{}]
    threads = max(1, len(os.sched_getaffinity(0)) // (parallel * processes))
    variables = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    return [dict(variables) for _ in range(parallel)]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as in CUDA_VISIBLE_DEVICES; none with the CPU build of
    Paddle. Paddle is not imported to find out."""
    try:
        importlib.metadata.version("paddlepaddle-gpu")
    except importlib.metadata.PackageNotFoundError:
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu.strip() for gpu in visible.split(",") if gpu.strip()]
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.split()


def run_children(
    children: Sequence[ChildProcess],
    slots: Sequence[Mapping[str, str]],
    on_start: Callable[[ChildProcess], None],
    on_exit: Callable[[ChildProcess, int, str], None],
) -> int | None:
    """Run all children, as many at a time as there are slots.

    on_exit gets the exit code (a signal's number if negative) and what the child printed. SIGINT
    and SIGTERM are passed on to the children as SIGTERM; a second signal kills them. Returns the
    signal's number, or None when all children have run.
    """
    waiting, free = deque(children), deque(slots)
    running: dict[subprocess.Popen, _Running] = {}
    with _collect_signals() as signals:
        passed_on = 0
        try:
            while running or (waiting and not signals):
                while waiting and free and not signals:
                    child, slot = waiting.popleft(), free.popleft()
                    on_start(child)
                    process, log_start = _start(child, slot)
                    running[process] = _Running(child, slot, log_start)
                time.sleep(_POLL)
                if len(signals) > passed_on:
                    passed_on = len(signals)
                    for process in running:
                        _stop(process, kill=passed_on > 1)
                for process in [process for process in running if process.poll() is not None]:
                    ended = running.pop(process)
                    free.append(ended.slot)
                    on_exit(ended.child, process.returncode, _output_since_start(ended))
        finally:
            _stop_all(list(running))
        return signals[0] if signals else None


@contextlib.contextmanager
def _collect_signals() -> Iterator[list[int]]:
    """The numbers of the SIGINTs and SIGTERMs received inside the block."""
    numbers: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: numbers.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield numbers
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _start(child: ChildProcess, slot: Mapping[str, str]) -> tuple[subprocess.Popen, int]:
    """Start a child that appends to its log; returns it and the log's size before."""
    package = str(Path(bert_paddle.__file__).resolve().parent.parent)
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    with child.log.open("ab") as log:
        log.write(f"# command: {shlex.join(child.command)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **slot, "PYTHONPATH": path},
            process_group=0,  # Ctrl-C goes to the parent, which passes it on once
            preexec_fn=runtime.die_with_parent,
        )
        return process, log.tell()


def _stop(process: subprocess.Popen, kill: bool) -> None:
    """Ask a child to save and exit, or kill it and its own children."""
    with contextlib.suppress(ProcessLookupError):
        if kill:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.terminate()


def _stop_all(processes: Sequence[subprocess.Popen]) -> None:
    """Stop all children, whatever ends the parent."""
    for process in processes:
        _stop(process, kill=False)
    for process in processes:
        try:
            process.wait(_SAVE_SECONDS)
        except subprocess.TimeoutExpired:
            _stop(process, kill=True)
            process.wait()


def _output_since_start(ended: _Running) -> str:
    with ended.child.log.open("rb") as log:
        log.seek(ended.log_start)
        return log.read().decode("utf-8", errors="replace")
