"""Output of a run: log lines on stdout, notes on stderr, and metrics.jsonl.

Only the main process has an active log; in the others its methods do nothing.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.printed_lines import print_line
from bert_paddle.common.row_progress import RowProgress

METRICS_FILE = "metrics.jsonl"
_MAX_STEP = (1 << 63) - 1


class RecordSink(Protocol):
    """Receives the records of metrics.jsonl too, e.g. to write them in another format."""

    def add(self, record: Mapping[str, Any]) -> None:
        """Process one record."""
        ...

    def close(self) -> None:
        """Called after the last record."""
        ...


class RunLog:
    """Prints log lines, and writes records to metrics.jsonl.

    Users' scripts parse the log lines: fields may be appended, never inserted. Records are written
    only after `write_metrics_to` has set the folder.
    """

    def __init__(
        self, active: bool = True, stdout: TextIO | None = None, stderr: TextIO | None = None
    ):
        self.active = active
        self.stdout = stdout if stdout is not None else sys.stdout
        self.stderr = stderr if stderr is not None else sys.stderr
        self.metrics_path: Path | None = None
        self._tags: dict[str, str] = {}
        self.progress = Progress(self.stderr if active else None)
        self._sink: RecordSink | None = None

    def line(self, text: str) -> None:
        """Print a line of the documented log format to stdout."""
        if self.active:
            with self.progress.paused():
                print_line(text, self.stdout)

    def note(self, text: str) -> None:
        """Print an informational line to stderr."""
        if self.active:
            with self.progress.paused():
                print_line(text, self.stderr)

    def warning(self, text: str) -> None:
        """Print a warning to stderr."""
        self.note(f"warning: {text}")

    @contextmanager
    def row_progress(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show the progress of a phase over `total` rows on stderr. Yields a function that takes
        the number of rows done."""
        if not self.active:
            yield lambda rows: None
            return
        with self.progress.paused():
            progress = RowProgress(name, total, self.progress.stderr, self.note)
            try:
                yield progress.show
            finally:
                progress.close()

    def write_metrics_to(
        self, folder: Path, step: float = math.inf, is_evaluated: bool = True
    ) -> None:
        """Remove the records of steps after `step` from `folder`/metrics.jsonl, then append new
        ones to it. is_evaluated: False if `step` is to be evaluated anew: its evaluation is not
        kept."""
        self.metrics_path = folder / METRICS_FILE
        if self.active:
            records, other_lines = _parse_records(folder)
            if other_lines:
                self.warning(_other_lines_message(self.metrics_path, other_lines))
            kept = [
                r
                for r in records
                if r["step"] < step
                or r["step"] == step
                and (is_evaluated or r.get("kind") in ("train", "sample"))
            ]
            atomic_files.write_text(self.metrics_path, "".join(json.dumps(r) + "\n" for r in kept))

    def tag_records(self, **tags: str) -> None:
        """Add these fields to every record from now on."""
        self._tags |= tags

    def copy_records_to(self, sink: RecordSink) -> None:
        """Pass every record from now on to `sink` too, until `close_sink`."""
        self._sink = sink

    def log_metrics(self, kind: str, step: int, **values: Any) -> None:
        """Append a record to metrics.jsonl; non-finite numbers become null."""
        if self.active and self.metrics_path is not None:
            record = {"kind": kind, "step": step, **values, **self._tags}
            with self.metrics_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite_or_none(record)) + "\n")
            if self._sink is not None:
                self._sink.add(record)

    def close_sink(self) -> None:
        """Close the sink, if there is one."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records in `folder`/metrics.jsonl, without invalid lines (a crash truncates the last).
    Raises OSError if the file exists but cannot be read."""
    return _parse_records(folder)[0]


def _parse_records(folder: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The records in `folder`/metrics.jsonl, and the numbers, from 1, of the lines that are none.
    A last line without its end is not among these: so a crash leaves it."""
    if read_files.exists(path := folder / METRICS_FILE):
        read_files.check_not_endless(path, OSError)  # opening a pipe would wait
    content = read_files.read_bytes(path) or b""
    lines = content.split(b"\n")
    records, other_lines = [], []
    for number, line in enumerate(lines, 1):
        try:
            record = read_files.parse_json_object(line)
        except ValueError:
            record = {}
        step = record.get("step")
        if isinstance(step, int) and not isinstance(step, bool) and 0 <= step <= _MAX_STEP:
            records.append(record)
        elif line.strip() and number < len(lines):
            other_lines.append(number)
    return records, other_lines


def _other_lines_message(path: Path, numbers: list[int]) -> str:
    listed = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"{path}: removed what is not a record of a run: line {listed}"


def finite_or_none(value: Any) -> Any:
    """The value, also of nested dicts and lists, with NaN and infinities replaced by None: JSON has
    neither."""
    if isinstance(value, dict):
        return {key: finite_or_none(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def finite_float_or_none(value: Any) -> float | None:
    """A JSON value as a float; None if it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer too large for a float
        return None


class Progress:
    """A progress bar with loss, samples/s and remaining time; on a terminal only."""

    def __init__(self, stderr: TextIO | None):
        self.stderr = stderr if stderr is not None and stderr.isatty() else None
        self.bar: Any = None
        self.refreshed = -math.inf  # time of the last call to get_status

    def show(self, step: int, total: int, get_status: Callable[[], tuple[float, float]]) -> None:
        """Show that `step` of `total` steps are done; the last one closes the bar. get_status:
        returns the current loss and samples/s; called at most once a second, since reading the
        loss may synchronize with the GPU."""
        if self.stderr is None:
            return
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(
                total=total, initial=step - 1, file=self.stderr, unit="step", leave=False
            )
        if time.monotonic() - self.refreshed >= 1:
            loss, samples = get_status()
            self.bar.set_postfix_str(f"loss {loss:.4f}, {samples:.1f} samples/s", refresh=False)
            self.refreshed = time.monotonic()
        self.bar.update(step - self.bar.n)
        if step >= total:
            self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hide the bar while a line is printed."""
        if self.bar is not None:
            self.bar.clear()
        try:
            yield
        finally:
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
    """The training log line: `batch` and `step` from 1, `epoch` from 0, speed in steps/s.

    For a loss of several terms, `sequences` (per second, over all ranks) and each term follow.
    """
    line = (
        f"global step {step}, epoch: {epoch}, batch: {batch}, "
        f"loss: {loss:.6f}, speed: {speed:.2f} step/s"
    )
    if terms:
        line += f", {sequences:.1f} sequences/s"
        line += "".join(f", {name} loss: {value:.6f}" for name, value in terms.items())
    return line


def eval_line(loss: float, metrics: list[tuple[str, float]], tags: list[tuple[str, str]]) -> str:
    """The evaluation log line: mean loss, metrics, then tags such as ("dev", "matched")."""
    parts = [f"eval loss: {loss:.6f}"]
    parts += [f"{name}: {value:.6f}" for name, value in metrics]
    parts += [f"{name}: {value}" for name, value in tags]
    return ", ".join(parts)
