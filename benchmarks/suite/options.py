"""What a run was asked for: names on the command line, the rest by environment."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "training",
    "levers",
    "prediction",
    "pretraining",
    "base",
    "tokenizing",
    "start",
    "memory",
    "limit",
)
TASKS = ("SST-2", "MRPC", "QNLI")
SHARDS = "BERT_PADDLE_HDF5_DIR"
USAGE = f"""usage: bash benchmarks/run.sh [name ...]

Measures this project beside its peers. Names: {", ".join(NAMES)}; all by default.

Variables: ROUNDS  rounds, in each of which everyone has a turn (default 3)
           STEPS   training steps of 32 rows in a block (default 40)
           TASKS   of {" ".join(TASKS)}, for training and prediction (default all)
           PEERS   only these peers, by their keys in the JSON file, as "hf_best onnx" (default all)
           QUICK=1 a few steps, to see that all works; written to runs/benchmarks/
Needs GLUE_DATA_DIR (official GLUE files), for pretraining {SHARDS} (shards of length 128),
and the packaged weights all-minilm-l6-v2 under $BERT_PADDLE_HOME/models."""


class Mistake(Exception):
    """What a person got wrong, in one line."""


@dataclass(frozen=True)
class Options:
    """rows: of one block of training, steps x batch. warmup: steps before the first block."""

    names: tuple[str, ...]
    rounds: int
    steps: int
    tasks: tuple[str, ...]
    peers: tuple[str, ...]  # none: all
    quick: bool
    batch: int = 32
    threads: int = 2

    @property
    def rows(self) -> int:
        return self.steps * self.batch

    @property
    def warmup(self) -> int:
        return 1 if self.quick else 3

    @property
    def results(self) -> Path:
        return ROOT / ("runs/benchmarks" if self.quick else "benchmarks/results")


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Raises Mistake for names and numbers that are none."""
    unknown = [name for name in argv if name not in NAMES]
    if unknown:
        raise Mistake(f"no benchmark is called {', '.join(unknown)}: there are {', '.join(NAMES)}")
    quick = environ.get("QUICK", "") not in ("", "0")
    tasks = tuple(environ.get("TASKS", "").split()) or TASKS
    if strange := [task for task in tasks if task not in TASKS]:
        raise Mistake(f"TASKS: {', '.join(strange)} is not one of {' '.join(TASKS)}")
    return Options(
        names=tuple(name for name in NAMES if name in argv or not argv),
        rounds=_number(environ, "ROUNDS", 1 if quick else 3),
        steps=_number(environ, "STEPS", 3 if quick else 40),
        tasks=tasks,
        peers=tuple(environ.get("PEERS", "").split()),
        quick=quick,
    )


def folder(variable: str) -> Path:
    """The folder that an environment variable names. Raises Mistake where there is none."""
    path = Path(os.environ.get(variable) or "?")
    if not path.is_dir():
        raise Mistake(f"{variable} has to name a folder, and is {os.environ.get(variable)!r}")
    return path.resolve()


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdigit() or int(text) < 1:
        raise Mistake(f"{name} has to be a whole number from 1 on, and is {text!r}")
    return int(text)
