"""What a run says: log lines on stdout, notes on stderr, and metrics.jsonl.

Only the main process has an active log; the others' calls do nothing.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from bert_paddle.common import atomic_files

METRICS_FILE = "metrics.jsonl"


class RecordSink(Protocol):
    """Something that shows records while they are made."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Show a record."""
        ...

    def close(self) -> None:
        """There are no more."""
        ...


class RunLog:
    """Lines for people and records for programs.

    Lines are a contract (parseable): fields may be added behind, never between. Records are
    written once `keep_records` has named the folder.
    """

    def __init__(self, active: bool = True, out: TextIO | None = None, err: TextIO | None = None):
        self.active = active
        self.out = out if out is not None else sys.stdout
        self.err = err if err is not None else sys.stderr
        self.records: Path | None = None
        self.marks: dict[str, str] = {}  # put into every record
        self.progress = Progress(self.err if active else None)
        self.board: RecordSink | None = None  # where the records go as well

    def line(self, text: str) -> None:
        """A line of the contract, on stdout."""
        if self.active:
            with self.progress.aside():
                print(text, file=self.out, flush=True)

    def note(self, text: str) -> None:
        """Something worth knowing, on stderr."""
        if self.active:
            with self.progress.aside():
                print(text, file=self.err, flush=True)

    def warning(self, text: str) -> None:
        """Something that may not be what the user wants, on stderr."""
        self.note(f"warning: {text}")

    def keep_records(self, folder: Path, step: float = math.inf) -> None:
        """Write records to `folder`/metrics.jsonl, cut back to those of `step` and before."""
        self.records = folder / METRICS_FILE
        if self.active:
            kept = [r for r in read_records(folder) if r["step"] <= step]
            atomic_files.write_text(self.records, "".join(json.dumps(r) + "\n" for r in kept))

    def record(self, kind: str, step: int, **values: Any) -> None:
        """Append one object to metrics.jsonl; numbers that are none become null."""
        if self.active and self.records is not None:
            entry = {"kind": kind, "step": step, **values, **self.marks}
            with self.records.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite_or_none(entry)) + "\n")
            if self.board is not None:
                self.board.add(entry)

    def close_board(self) -> None:
        """No more records for the board."""
        if self.board is not None:
            self.board.close()
            self.board = None


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The whole records of `folder`/metrics.jsonl; a last line cut off by a crash is left out."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            records.append(entry)
    return records


def finite_or_none(value: Any) -> Any:
    """The value with NaN and infinities as None, which JSON can say."""
    if isinstance(value, dict):
        return {key: finite_or_none(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Progress:
    """A bar with the loss, samples/s and the time left, where a person looks: on a terminal, and
    nowhere else."""

    def __init__(self, err: TextIO | None):
        self.err = err if err is not None and err.isatty() else None
        self.bar: Any = None
        self.looked = -math.inf  # when `look` was called last

    def show(self, step: int, total: int, look: Callable[[], tuple[float, float]]) -> None:
        """`step` of `total` updates are done; at the last one the bar goes. look: returns the loss
        and the samples/s of late; called once a second at most, since the loss may have to come
        from a GPU."""
        if self.err is None:
            return
        if self.bar is None:
            from tqdm import tqdm

            done = step - 1
            self.bar = tqdm(total=total, initial=done, file=self.err, unit="step", leave=False)
        if time.monotonic() - self.looked >= 1:
            loss, samples = look()
            self.bar.set_postfix_str(f"loss {loss:.4f}, {samples:.1f} samples/s", refresh=False)
            self.looked = time.monotonic()
        self.bar.update(step - self.bar.n)
        if step >= total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Make room for a line."""
        if self.bar is not None:
            self.bar.clear()
        yield
        if self.bar is not None:
            self.bar.refresh()


def train_line(
    step: int,
    epoch: int,
    batch: int,
    loss: float,
    speed: float,
    terms: Mapping[str, float] | None = None,
    sequences: float = 0.0,
) -> str:
    """The training line: `batch` and `step` from 1, `epoch` from 0, speed in updates/s.

    Where the loss has several terms, they follow by name, behind the sequences/s of all cards.
    """
    line = (
        f"global step {step}, epoch: {epoch}, batch: {batch}, "
        f"loss: {loss:.6f}, speed: {speed:.2f} step/s"
    )
    if terms:
        line += f", {sequences:.1f} sequences/s"
        line += "".join(f", {name} loss: {value:.6f}" for name, value in terms.items())
    return line


def eval_line(loss: float, fields: list[tuple[str, float]], labels: list[tuple[str, str]]) -> str:
    """The evaluation line: mean loss, the metrics, then labels such as dev: matched."""
    parts = [f"eval loss: {loss:.6f}"]
    parts += [f"{name}: {value:.6f}" for name, value in fields]
    parts += [f"{name}: {value}" for name, value in labels]
    return ", ".join(parts)
