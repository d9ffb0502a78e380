"""Programs run beside each other, a slot for each: their logs, their ends, and signals to all."""

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

_POLL = 0.1  # seconds between two looks at the children
_LAST_WORK = 60  # seconds in which one that is asked to end may save


@dataclass(frozen=True)
class ChildProcess:
    """A program to run; what it prints is appended to its log."""

    command: Sequence[str]
    log: Path


@dataclass
class _Running:
    child: ChildProcess
    slot: Mapping[str, str]
    began_at: int  # bytes of the log before this start


def slots(processes: int, gpus: Sequence[str], parallel: int | None) -> list[dict[str, str]]:
    """What the environment of runs beside each other has besides: a GPU (or several) each, or on
    the CPU a share of the cores.

    processes: of one run, each with a GPU of its own. parallel: runs at a time; None for one per
    share of the GPUs, and one on the CPU. More runs than GPUs are dealt out in turn.
    """
    if gpus:
        starts = range(0, max(1, len(gpus) - processes + 1), processes)
        shares = [",".join(gpus[first : first + processes]) for first in starts]
        count = parallel or len(shares)
        return [{"CUDA_VISIBLE_DEVICES": shares[i % len(shares)]} for i in range(count)]
    if parallel is None or parallel == 1:
        return [{}]
    threads = max(1, len(os.sched_getaffinity(0)) // (parallel * processes))
    own = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    return [dict(own) for _ in range(parallel)]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES calls them; none with the CPU
    build of Paddle, which is not imported to find out."""
    try:
        importlib.metadata.version("paddlepaddle-gpu")
    except importlib.metadata.PackageNotFoundError:
        return []
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [one.strip() for one in chosen.split(",") if one.strip()]
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return said.stdout.split()


def run_children(
    children: Sequence[ChildProcess],
    slots: Sequence[Mapping[str, str]],
    begun: Callable[[ChildProcess], None],
    ended: Callable[[ChildProcess, int, str], None],
) -> int | None:
    """Run all children, as many at a time as there are slots.

    begun: told of each that starts; ended: told its exit code (negative for a signal's number) and
    what this start printed. SIGINT and SIGTERM have the children end as after a SIGTERM of their
    own, and a second one kills them. Returns the signal's number, or None when all have run.
    """
    waiting, free = deque(children), deque(slots)
    running: dict[subprocess.Popen, _Running] = {}
    with _asked() as asked:
        told = 0
        try:
            while running or (waiting and not asked):
                while waiting and free and not asked:
                    child, slot = waiting.popleft(), free.popleft()
                    begun(child)
                    process, began_at = _start(child, slot)
                    running[process] = _Running(child, slot, began_at)
                time.sleep(_POLL)
                if len(asked) > told:
                    told = len(asked)
                    for process in running:
                        _end(process, at_once=told > 1)
                for process in [one for one in running if one.poll() is not None]:
                    done = running.pop(process)
                    free.append(done.slot)
                    ended(done.child, process.returncode, _printed(done))
        finally:
            _end_all(list(running))
        return asked[0] if asked else None


@contextlib.contextmanager
def _asked() -> Iterator[list[int]]:
    """The numbers of the SIGINTs and SIGTERMs that come inside the block."""
    numbers: list[int] = []
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {one: signal.signal(one, lambda number, _: numbers.append(number)) for one in wanted}
    try:
        yield numbers
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _start(child: ChildProcess, slot: Mapping[str, str]) -> tuple[subprocess.Popen, int]:
    """Start a child with its log; also the log's length before."""
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
            process_group=0,  # Ctrl-C is for the parent, which passes it on once
            preexec_fn=runtime.die_with_parent,
        )
        return process, log.tell()


def _end(process: subprocess.Popen, at_once: bool) -> None:
    """Ask a child to save and end; or kill it, and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        if at_once:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.terminate()


def _end_all(processes: Sequence[subprocess.Popen]) -> None:
    """Leave no child behind, whatever ends the parent."""
    for process in processes:
        _end(process, at_once=False)
    for process in processes:
        try:
            process.wait(_LAST_WORK)
        except subprocess.TimeoutExpired:
            _end(process, at_once=True)
            process.wait()


def _printed(done: _Running) -> str:
    with done.child.log.open("rb") as log:
        log.seek(done.began_at)
        return log.read().decode("utf-8", errors="replace")
