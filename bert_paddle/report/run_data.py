"""Read a run's folder for a report, tolerating missing and damaged files.

No file is trusted: a run may have been killed at any point, and its files may come from another
program. What cannot be read becomes a warning on the page. Only a folder without any metrics or
results is rejected.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_paddle.common import run_log
from bert_paddle.common.errors import OutputError
from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.training.checkpoint import STATE_FILE
from bert_paddle.training.output_lock import LOCK_FILE
from bert_paddle.training.run import RESULTS_FILE
from bert_paddle.training.run_info import RUN_FILE

_DEV, _TEST = "dev_predictions", "test_predictions_"  # prefixes of file names


@dataclass
class Lengths:
    """counts[n]: number of rows with n word pieces after truncation; truncated: number of rows that
    were longer than `max_length`."""

    counts: list[int]
    truncated: int
    max_length: int

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(self.counts)


@dataclass
class PredictionSet:
    """The predictions for a labelled data set. rows: JSON objects with text_a, label, prediction
    and optional fields (docs/REPORT.md). name: the name shown on the page."""

    name: str
    rows: list[dict[str, Any]]
    is_test: bool = False

    @property
    def has_label_sets(self) -> bool:
        """Whether any number of labels is true of a row."""
        return any(isinstance(row["label"], list) for row in self.rows)


@dataclass
class RunData:
    """The content of a run's folder; fields of a missing file are empty."""

    folder: Path
    name: str
    run_info: dict[str, Any]  # run.json
    settings: dict[str, Any]  # flag values by name
    results: dict[str, Any]  # all_results.json
    train: list[dict[str, Any]] = field(default_factory=list)  # records of metrics.jsonl
    # Records by the name of the dev set; "" if there is only one.
    evals: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)  # texts of a language model
    predictions: list[PredictionSet] = field(default_factory=list)
    lengths: Lengths | None = None
    problems: list[str] = field(default_factory=list)  # warnings for the page
    unfinished_reason: str = ""  # empty for a finished run

    @property
    def task(self) -> str:
        """The task's name, or "run"."""
        return str(self.run_info.get("task") or self.results.get("task") or "run")

    @property
    def is_of_texts(self) -> bool:
        """Whether the model continues texts, and its rows are texts without [CLS] and [SEP]."""
        return self.run_info.get("program") == "run_clm"

    @property
    def is_demo(self) -> bool:
        """Whether the run used demo data."""
        records = [*self.train[:1], *(r for records in self.evals.values() for r in records[:1])]
        sources = (self.run_info, self.results, *records)
        return any(source.get("data") == "demo" for source in sources)

    @property
    def labels(self) -> list[str]:
        """The class names; empty for a regression, or if they were not recorded."""
        labels = self.run_info.get("labels")
        return [str(label) for label in labels] if isinstance(labels, list) else []

    @property
    def has_label_sets(self) -> bool:
        """Whether any number of the labels is true of a row."""
        recorded = isinstance(self.results.get("thresholds"), dict)
        return recorded or any(dataset.has_label_sets for dataset in self.predictions)

    @property
    def not_in_comparisons(self) -> list[str]:
        """The flags that a comparison of runs does not list."""
        names = self.run_info.get("not_in_comparisons")
        return [str(name) for name in names] if isinstance(names, list) else []

    @property
    def selection_metrics(self) -> list[str]:
        """Names of the metrics that select the best step."""
        names = self.run_info.get("metric")
        return [str(name) for name in names] if isinstance(names, list) else []

    @property
    def last_step(self) -> int:
        """The last step with a record; 0 without records."""
        evaluated = (record for records in self.evals.values() for record in records)
        return max((record["step"] for record in (*self.train, *evaluated)), default=0)


def read(folder: Path) -> RunData:
    """Read a run's folder. Raises OutputError if it has no metrics or results."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give the --output_dir of a run, a folder")
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder; give the --output_dir of a run")
    problems: list[str] = []
    run_info = _read_object(folder / RUN_FILE, problems)
    results = _read_object(folder / RESULTS_FILE, problems)
    try:
        records = [_replace_surrogates(record) for record in run_log.read_metrics(folder)]
    except (OSError, ValueError) as error:
        records = []
        problems.append(f"{run_log.METRICS_FILE} cannot be read: {error}")
    if not records and not results:
        raise OutputError(_no_run_message(folder, problems))
    settings = run_info.get("settings") or _settings_of_checkpoint(folder)
    run = RunData(
        folder,
        folder.resolve().name,
        run_info,
        settings if isinstance(settings, dict) else {},
        results,
        lengths=_parse_lengths(run_info.get("lengths")),
        problems=problems,
    )
    _add_records(run, records)
    run.predictions = _read_predictions(folder, problems)
    run.unfinished_reason = _unfinished_reason(run)
    return run


def runs_inside(folder: Path) -> list[Path]:
    """The run folders in `folder`, such as a sweep's; [] if it is a run's folder itself."""
    if not folder.is_dir() or (folder / run_log.METRICS_FILE).is_file():
        return []
    return sorted(path.parent for path in folder.glob(f"*/{run_log.METRICS_FILE}"))


def _settings_of_checkpoint(folder: Path) -> Any:
    """The flags saved in the newest checkpoint, for a run without run.json; {} if there is none."""
    states = sorted(folder.glob(f"model_*/{STATE_FILE}"), key=lambda path: path.stat().st_mtime)
    return _read_object(states[-1], []).get("args") if states else {}


def _no_run_message(folder: Path, problems: list[str]) -> str:
    """Why there is nothing to report on a folder, as an error message."""
    if problems:
        return f"{folder}: {'; '.join(problems)}: there is nothing to report"
    if (folder / "config.json").is_file() and folder.name.startswith("model_"):
        return f"{folder} is a checkpoint: give the run's folder, {folder.parent}"
    if (folder / RUN_FILE).is_file() or (folder / run_log.METRICS_FILE).is_file():
        return f"{folder}: the run has no log line yet: there is nothing to report"
    return (
        f"{folder} contains no run (neither {run_log.METRICS_FILE} nor {RESULTS_FILE}): give the "
        "--output_dir of one"
    )


def _read_object(path: Path, problems: list[str]) -> dict[str, Any]:
    """The object in a JSON file. {} if the file is missing or, with a message added to `problems`,
    if it is unreadable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name} cannot be read: {str(error).splitlines()[0]}")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{path.name} does not contain a JSON object")
        return {}
    return _replace_surrogates(content)


def _replace_surrogates(value: Any) -> Any:
    """A JSON value with lone surrogates, which cannot be encoded as UTF-8, replaced by "?"."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {
            _replace_surrogates(key): _replace_surrogates(inner) for key, inner in value.items()
        }
    return [_replace_surrogates(inner) for inner in value] if isinstance(value, list) else value


def _add_records(run: RunData, records: Iterable[dict[str, Any]]) -> None:
    """Add records of metrics.jsonl to the run's lists by their "kind", evaluations by dev set.

    In a run with training, a record of step 0 was written by a later command that only evaluated.
    It is omitted, because it does not belong in the curves.
    """
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
        elif kind == "sample":
            run.samples.append(record)


def _parse_lengths(values: Any) -> Lengths | None:
    """The lengths in run.json; None if they are missing or invalid."""
    if not isinstance(values, dict) or not isinstance(values.get("counts"), list):
        return None
    counts = [finite_float_or_none(count) or 0 for count in values["counts"]]
    if sum(counts) <= 0:
        return None
    truncated = int(finite_float_or_none(values.get("cut")) or 0)
    # counts has an entry for each length from 0 to the maximum.
    return Lengths([int(count) for count in counts], truncated, len(counts) - 1)


def _read_predictions(folder: Path, problems: list[str]) -> list[PredictionSet]:
    """The predictions for labelled data sets, test sets last. Adds a message to `problems` for each
    file without a usable row."""
    datasets = []
    for path in sorted(folder.glob(f"{_DEV}*.jsonl")):
        mismatched = path.stem.endswith("_mm")
        name = "dev set, mismatched" if mismatched else "dev set"
        datasets.append(PredictionSet(name, _read_rows(path)))
    for path in sorted(folder.glob(f"{_TEST}*.jsonl")):
        name = f"test set {_replace_surrogates(path.stem.removeprefix(_TEST))}"
        datasets.append(PredictionSet(name, _read_rows(path), is_test=True))
    for dataset in datasets:
        if not dataset.rows:
            problems.append(f"the predictions of the {dataset.name} cannot be read")
    return [dataset for dataset in datasets if dataset.rows]


def _read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a predictions file that have a text, a label and a prediction."""
    rows, required = [], ("text_a", "label", "prediction")
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue  # such as the last line of a file still being copied
            if isinstance(row, dict) and all(name in row for name in required):
                rows.append(_replace_surrogates(row))
    return rows


def _unfinished_reason(run: RunData) -> str:
    """Why a run is considered unfinished, as a sentence for the page; "" if it is finished."""
    steps = run.run_info.get("steps")
    planned = finite_float_or_none(steps.get("planned")) if isinstance(steps, dict) else None
    total = f" of {planned:.0f}" if planned else ""
    if run.run_info.get("finished") or (not run.run_info and run.results):
        return ""
    last_record = f"the last record is of step {run.last_step}{total}"
    if (run.folder / LOCK_FILE).exists():
        return f"The run is still in progress, or was killed: {last_record}."
    return f"The run was not finished: {last_record}."


def by_step(records: list[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """The steps and the values of the records in which `name` is a finite number."""
    pairs = [
        (finite_float_or_none(record["step"]), finite_float_or_none(record.get(name)))
        for record in records
    ]
    points = [(step, value) for step, value in pairs if step is not None and value is not None]
    return [step for step, _ in points], [value for _, value in points]
