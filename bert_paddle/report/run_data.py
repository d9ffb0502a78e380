"""A run's folder, read for a report: what is there, told apart from what is missing or broken.

Nothing here trusts a file: a run may have been cut short anywhere, or be of another program. What
cannot be used becomes a remark on the page. Only a folder without any measurement is refused.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_paddle.common import run_log
from bert_paddle.common.errors import OutputError
from bert_paddle.training.checkpoint import STATE
from bert_paddle.training.output_lock import LOCK_FILE
from bert_paddle.training.run import RESULTS_FILE
from bert_paddle.training.run_info import RUN_FILE

_DEV, _TEST = "dev_predictions", "test_predictions_"


@dataclass
class Lengths:
    """counts[n]: rows of n word pieces, after cutting; cut: rows that were longer than `most`."""

    counts: list[int]
    cut: int
    most: int

    @property
    def rows(self) -> int:
        return sum(self.counts)


@dataclass
class Predictions:
    """A labelled set row by row: objects with text_a, label, prediction and more (docs/REPORT.md);
    name: as people call the set."""

    name: str
    rows: list[dict[str, Any]]
    is_test: bool = False


@dataclass
class RunData:
    """What a folder tells of its run; empty where it tells nothing."""

    folder: Path
    name: str
    about: dict[str, Any]  # run.json
    settings: dict[str, Any]
    results: dict[str, Any]  # all_results.json
    train: list[dict[str, Any]] = field(default_factory=list)  # records by kind, as logged
    evals: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by dev set, "" for one
    epochs: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[Predictions] = field(default_factory=list)
    lengths: Lengths | None = None
    remarks: list[str] = field(default_factory=list)
    unfinished: str = ""  # why, where it is

    @property
    def task(self) -> str:
        return str(self.about.get("task") or self.results.get("task") or "run")

    @property
    def is_demo(self) -> bool:
        records = [*self.train[:1], *(one for found in self.evals.values() for one in found[:1])]
        places = (self.about, self.results, *records)
        return any(place.get("data") == "demo" for place in places)

    @property
    def labels(self) -> list[str]:
        found = self.about.get("labels")
        return [str(label) for label in found] if isinstance(found, list) else []

    @property
    def metric(self) -> list[str]:
        """Names of what the best step is chosen by."""
        found = self.about.get("metric")
        return [str(name) for name in found] if isinstance(found, list) else []

    @property
    def last_step(self) -> int:
        evaluated = (record for found in self.evals.values() for record in found)
        return max((record["step"] for record in (*self.train, *evaluated)), default=0)


def read(folder: Path) -> RunData:
    """Read a run's folder. Raises OutputError where it holds no measurement of a run."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give the --output_dir of a run, a folder")
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder; give the --output_dir of a run")
    remarks: list[str] = []
    about = _object(folder / RUN_FILE, remarks)
    results = _object(folder / RESULTS_FILE, remarks)
    try:
        records = [_clean(record) for record in run_log.read_records(folder)]
    except (OSError, ValueError) as error:
        records = []
        remarks.append(f"{run_log.METRICS_FILE} cannot be read: {error}")
    if not records and not results:
        raise OutputError(_no_run(folder, remarks))
    settings = about.get("settings") or _trained_with(folder)
    run = RunData(
        folder,
        folder.resolve().name,
        about,
        settings if isinstance(settings, dict) else {},
        results,
        lengths=_lengths(about.get("lengths")),
        remarks=remarks,
    )
    _sort(run, records)
    run.predictions = _predictions(folder, remarks)
    run.unfinished = _unfinished(run)
    return run


def runs_inside(folder: Path) -> list[Path]:
    """The run folders right inside a folder that is none itself (a sweep's), by name."""
    if not folder.is_dir() or (folder / run_log.METRICS_FILE).is_file():
        return []
    return sorted(path.parent for path in folder.glob(f"*/{run_log.METRICS_FILE}"))


def number(value: Any) -> float | None:
    """A value as a float, where it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer beyond all floats
        return None


def _trained_with(folder: Path) -> Any:
    """The flags as a checkpoint has them: of a run from before there was a run.json."""
    states = sorted(folder.glob(f"model_*/{STATE}"), key=lambda path: path.stat().st_mtime)
    return _object(states[-1], []).get("args") if states else {}


def _no_run(folder: Path, remarks: list[str]) -> str:
    if remarks:
        return f"{folder}: {'; '.join(remarks)}: there is nothing to report"
    if (folder / "config.json").is_file() and folder.name.startswith("model_"):
        return f"{folder} is a checkpoint: give the run's folder, {folder.parent}"
    if (folder / RUN_FILE).is_file() or (folder / run_log.METRICS_FILE).is_file():
        return f"{folder}: the run ended before its first log line: there is nothing to report yet"
    return (
        f"{folder} holds no run (neither {run_log.METRICS_FILE} nor {RESULTS_FILE}): give the "
        "--output_dir of one"
    )


def _object(path: Path, remarks: list[str]) -> dict[str, Any]:
    """A JSON file's object; {} where the file is missing, and a remark where it is unusable."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        remarks.append(f"{path.name} cannot be read: {str(error).splitlines()[0]}")
        return {}
    if not isinstance(found, dict):
        remarks.append(f"{path.name} does not hold an object")
        return {}
    return _clean(found)


def _clean(value: Any) -> Any:
    """JSON values without half surrogates, which no page can be written with."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


def _sort(run: RunData, records: Iterable[dict[str, Any]]) -> None:
    """The records by kind; evaluations by dev set. One of step 0 beside a training is of a later
    command, which evaluated weights as they were: no point of the run's curves."""
    records = list(records)
    trained = any(record.get("kind") == "train" for record in records)
    for record in records:
        kind = record.get("kind")
        if trained and record["step"] == 0:
            continue
        if kind == "train":
            run.train.append(record)
        elif kind == "eval":
            run.evals.setdefault(str(record.get("dev", "")), []).append(record)
        elif kind == "epoch":
            run.epochs.append(record)


def _lengths(found: Any) -> Lengths | None:
    if not isinstance(found, dict) or not isinstance(found.get("counts"), list):
        return None
    counts, cut = [number(count) or 0 for count in found["counts"]], number(found.get("cut"))
    if sum(counts) <= 0:
        return None
    return Lengths([int(count) for count in counts], int(cut or 0), len(counts) - 1)


def _predictions(folder: Path, remarks: list[str]) -> list[Predictions]:
    """The labelled sets, test sets last."""
    found = []
    for path in sorted(folder.glob(f"{_DEV}*.jsonl")):
        mismatched = path.stem.endswith("_mm")
        found.append(Predictions("dev set, mismatched" if mismatched else "dev set", _rows(path)))
    for path in sorted(folder.glob(f"{_TEST}*.jsonl")):
        name = f"test set {_clean(path.stem.removeprefix(_TEST))}"
        found.append(Predictions(name, _rows(path), is_test=True))
    for one in found:
        if not one.rows:
            remarks.append(f"the predictions of the {one.name} cannot be read")
    return [one for one in found if one.rows]


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows that have a text, a label and a prediction."""
    rows, wanted = [], ("text_a", "label", "prediction")
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue  # the last line of a copy under way, say
            if isinstance(row, dict) and all(name in row for name in wanted):
                rows.append(_clean(row))
    return rows


def _unfinished(run: RunData) -> str:
    """Why a run counts as not finished, or ""."""
    steps = run.about.get("steps")
    planned = number(steps.get("planned")) if isinstance(steps, dict) else None
    of = f" of {planned:.0f}" if planned else ""
    if run.about.get("finished") or (not run.about and run.results):
        return ""
    here = f"the last record is of update {run.last_step}{of}"
    if (run.folder / LOCK_FILE).exists():
        return f"The run is still at work, or was killed: {here}."
    return f"The run was not finished: {here}."


def by_step(records: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of the records that have the number `name`."""
    found = [(number(record["step"]), number(record.get(name))) for record in records]
    kept = [(step, value) for step, value in found if step is not None and value is not None]
    return [step for step, _ in kept], [value for _, value in kept]
