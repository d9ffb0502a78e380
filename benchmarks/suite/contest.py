"""Contestants in rounds: each is a process that waits, and only one works at a time."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.suite import load
from benchmarks.suite.options import ROOT, Options

OURS, PEERS = ROOT / ".venv/bin/python", ROOT / ".venv-peers/bin/python"
PAUSE = 0.5  # seconds between two turns, in which caches of a CPU's clock and threads settle
_PATIENCE = 30  # seconds without an answer, after which its process is looked at
_FOREIGN = ("OMP_", "KMP_", "MKL_", "GOMP_", "MALLOC_", "FLAGS_", "RAYON_", "TOKENIZERS_", "CPU_")


@dataclass(frozen=True)
class Contestant:
    """Someone to be measured. script: relative to the repository; spec: what it is told.
    as_it_comes: in an environment that says nothing of threads."""

    key: str
    label: str
    script: str
    spec: dict[str, Any] = field(default_factory=dict)
    python: Path = PEERS
    as_it_comes: bool = False


@dataclass
class Job:
    """What was measured of several contestants. unit: of the blocks' `value`; higher_is_better.
    blocks: by contestant, in the order of the rounds."""

    name: str
    unit: str
    higher_is_better: bool
    settings: dict[str, Any]
    labels: dict[str, str]
    blocks: dict[str, list[dict[str, Any]]]
    notes: list[str] = field(default_factory=list)


def environment(threads: int | None) -> dict[str, str]:
    """This process's environment without settings of threads and memory, but for `threads`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    kept |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    kept |= {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "true"}
    if threads is not None:
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
        kept |= dict.fromkeys(names, str(threads))
    return kept


def chosen(contestants: Sequence[Contestant], options: Options) -> list[Contestant]:
    """Ours and the peers that were asked for."""
    return [
        one
        for one in contestants
        if not options.peers or one.key in options.peers or one.key.startswith("ours")
    ]


def rounds(
    job: Job, contestants: Sequence[Contestant], options: Options, scratch: Path
) -> dict[str, list[dict[str, Any]]]:
    """Everyone's blocks of all rounds, each with a `seconds`, which are also kept in the job."""
    job.labels |= {one.key: one.label for one in contestants}
    job.blocks |= {one.key: [] for one in contestants}
    with contextlib.ExitStack() as stack:
        workers = {
            one.key: stack.enter_context(Worker(one, options.threads, scratch).running())
            for one in contestants
        }
        for number in range(options.rounds):
            turns = list(workers.items())
            for key, worker in turns[number % len(turns) :] + turns[: number % len(turns)]:
                time.sleep(PAUSE)
                block = worker.block(number)
                job.blocks[key].append(block)
                say(f"{job.name}, round {number + 1}, {key}: {block['seconds']:.2f} s")
    return job.blocks


class Worker:
    """A contestant's process (benchmarks/suite/protocol.py), stopped whenever it is not its turn:
    idle threads of some libraries spin, and would take the cores from those that work."""

    def __init__(self, contestant: Contestant, threads: int, scratch: Path):
        self.contestant, self.threads = contestant, threads
        self._spec = scratch / f"{contestant.key}.json"
        self._errors = scratch / f"{contestant.key}.log"

    @contextlib.contextmanager
    def running(self) -> Iterator["Worker"]:
        """Start the process and wait until it is ready; end it behind."""
        one = self.contestant
        self._spec.write_text(json.dumps(one.spec), encoding="utf-8")
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [one.python, ROOT / one.script, self._spec],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
                env=environment(None if one.as_it_comes else self.threads),
            )
        try:
            self._answer()
            self._process.send_signal(signal.SIGSTOP)
            yield self
        finally:
            self._process.kill()
            self._process.communicate()

    def block(self, number: int) -> dict[str, Any]:
        """One turn."""
        assert self._process.stdin is not None
        watch = load.Watch(lambda: load.of_process(self._process.pid))
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        answer = self._answer()
        seen = watch.seen()
        self._process.send_signal(signal.SIGSTOP)
        return answer | seen

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while not select.select([self._process.stdout], [], [], _PATIENCE)[0]:
            if load.is_stopped(self._process.pid):
                say(f"{self.contestant.key} was stopped by others: see process {self._process.pid}")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            last = self._errors.read_text(encoding="utf-8", errors="replace").strip()
            raise RuntimeError(f"{self.contestant.key} ended:\n{last[-3000:]}")
        return json.loads(line)


def say(words: str) -> None:
    """A line on the progress of the run."""
    print(time.strftime("%H:%M:%S"), words, file=sys.stderr, flush=True)


Run = Callable[[Options, Path], Iterator[Job]]
