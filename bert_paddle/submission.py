"""Build and check a GLUE submission: a zip without folders, with one prediction file per test set.

The files' format (gluebenchmark.com/faq): lines `index<TAB>prediction` after a header, indices from
0, labels as spelled in the task's files, STS-B scores from 0 to 5.
"""

import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import read_files, runtime
from bert_paddle.common.errors import DataError
from bert_paddle.glue.data import tsv
from bert_paddle.glue.tasks import GLUE, TASKS, Task, TestSet
from bert_paddle.training import run_info

HEADER = "index\tprediction"
_FOLDER = "predictions"
_MAX_FILE_SIZE = 64 << 20  # bytes, unpacked; the largest valid file has 4 MB
# Stricter than float(), which accepts "0_1" and " 2.7 ".
_SCORE_PATTERN = re.compile(r"[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # constant, so that equal predictions give equal zips
# Majority class or mean score of each official training set, used if its file is not available.
_MAJORITY_ANSWERS = {
    "CoLA": "1",
    "SST-2": "1",
    "MRPC": "1",
    "STS-B": "2.701",
    "QQP": "0",
    "MNLI": "entailment",
    "QNLI": "entailment",
    "RTE": "entailment",
    "WNLI": "0",
}
# What zipfile raises for entries that are damaged, encrypted or compressed in an unknown way.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError)
_BALANCED_TASKS = ("MNLI", "QNLI")  # class frequencies differ by less than one percent


@dataclass(frozen=True)
class SubmissionFile:
    """A prediction file in a submission, by its task and test set."""

    task: Task
    test_set: TestSet

    @property
    def name(self) -> str:
        return self.test_set.submission


SUBMISSION_FILES = {
    test_set.submission: SubmissionFile(task, test_set)
    for task in GLUE
    for test_set in task.test_sets
}


def collect(runs: Sequence[Path]) -> dict[str, bytes]:
    """Read the prediction files of runs; returns their contents by file name.

    Raises DataError with all problems: a folder without a finished run, a run on demo data, two
    runs with different predictions for a test set, a file that the server would reject.
    """
    contents: dict[str, bytes] = {}
    source_run: dict[str, Path] = {}
    problems: list[str] = []
    for run in runs:
        try:
            paths = _prediction_files(run)
        except DataError as error:
            problems.append(str(error))
            continue
        for path in paths:
            content = path.read_bytes()
            if contents.setdefault(path.name, content) != content:
                task = SUBMISSION_FILES[path.name].task.name
                problems.append(
                    f"{task}: {source_run[path.name]} and {run} have different "
                    f"{path.name} files: give one of the runs"
                )
            source_run.setdefault(path.name, run)
            problems += file_problems(SUBMISSION_FILES[path.name], content, str(path))
    if problems:
        raise DataError("; ".join(dict.fromkeys(problems)))
    return contents


def _prediction_files(run: Path) -> list[Path]:
    """The paths of a run's predictions for GLUE's test sets. Raises DataError if there are none."""
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; give the --output_dir of a run")
    run_info.check_classifier_kinds(run)
    folder = run / _FOLDER
    if not folder.is_dir():
        raise DataError(
            f"{run} has no {_FOLDER}/: run it with --do_predict"
            if any(run.glob("*.json*")) or any(run.glob("model_*"))
            else f"{run} is not a run's folder (it has no {_FOLDER}/ and no results)"
        )
    paths = [folder / name for name in SUBMISSION_FILES if (folder / name).is_file()]
    if not paths:
        raise DataError(f"{folder} has no GLUE predictions ({', '.join(SUBMISSION_FILES)})")
    results = read_files.read_json_object(run / "all_results.json")
    if results is None:
        raise DataError(
            f"{run} has no readable all_results.json: the run did not finish; predict again"
        )
    if (origin := results.get("data")) != "glue":
        other = "a demo set of invented rows" if origin == "demo" else "other data"
        raise DataError(f"{run}: its predictions are for {other}, not for GLUE's test sets")
    for path in paths:
        if _is_for_test_file(path.name, results, run):
            raise DataError(
                f"{run}: its {_FOLDER}/{path.name} is for --test_file, not for GLUE's test set: "
                "predict without --test_file"
            )
    return paths


def _is_for_test_file(name: str, results: dict[str, Any], run: Path) -> bool:
    """Whether a prediction file is for a user's --test_file that has the same name as a task's."""
    if f"predictions_{name}" in results:
        return results[f"predictions_{name}"] == "own"
    settings = run_info.read(run).get("settings")  # older all_results.json lack predictions_<file>
    test_file = settings.get("test_file") if isinstance(settings, dict) else None
    return bool(test_file) and f"{Path(str(test_file)).stem}.tsv" == name


def missing_files(contents: dict[str, bytes]) -> list[SubmissionFile]:
    """The submission's files not in `contents`."""
    return [file for name, file in SUBMISSION_FILES.items() if name not in contents]


def check_complete(contents: dict[str, bytes]) -> None:
    """Raise DataError, naming tasks and files, unless all files are present."""
    if missing := missing_files(contents):
        tasks = dict.fromkeys(file.task.name for file in missing)
        names = ", ".join(file.name for file in missing)
        raise DataError(
            f"no predictions for {', '.join(tasks)} ({names}): give their runs too, or "
            "--fill_missing for a constant answer"
        )


def fill_missing_file(
    file: SubmissionFile, data_dir: str | None, note: Callable[[str], None]
) -> bytes:
    """A prediction file with the same answer in every row; `note` is called with a message."""
    answer, source = _constant_answer(file.task, data_dir)
    note(f"{file.name}: filled with {answer} in all {file.test_set.rows} rows ({source})")
    return "\n".join([HEADER, *(f"{i}\t{answer}" for i in range(file.test_set.rows)), ""]).encode()


def _constant_answer(task: Task, data_dir: str | None) -> tuple[str, str]:
    """The majority class or the mean score of the training set, and its source, for a message."""
    task = TASKS[task.model_task or task.name]
    statistic = "the mean score" if task.is_regression else "the majority class"
    assert task.train is not None
    home, needed = runtime.bert_paddle_home(), [task.train.file]
    task_dir = tsv.find_task_dir(task, data_dir, os.environ, home, needed).folder
    if task_dir and not tsv.is_demo(task_dir):
        examples = tsv.read_task_file(task, task_dir / task.train.file, "train")
        # A subset may have a different majority.
        if len(examples) in task.official_rows(task.train.file):
            assert examples.labels is not None
            if task.is_regression:
                answer = f"{float(np.mean(examples.labels)):.3f}"
            else:
                counts = np.bincount(examples.labels, minlength=len(task.labels))
                answer = task.submission_labels[int(np.argmax(counts))]
            return answer, f"{statistic} of {task_dir / task.train.file}"
    why = f"{statistic} of the official training set, whose file was not found"
    if task.name in _BALANCED_TASKS:
        why = f"{task.name}'s classes are equally frequent in training"
    return _MAJORITY_ANSWERS[task.name], why


def make_zip(contents: dict[str, bytes]) -> bytes:
    """The zip, with files in the order of SUBMISSION_FILES; equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in SUBMISSION_FILES:
            entry = zipfile.ZipInfo(name, ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, contents[name])
    return buffer.getvalue()


def is_submission(path: Path) -> bool:
    """Whether `make_zip` made a file. Raises OSError."""
    with suppress(zipfile.BadZipFile, ValueError, NotImplementedError):
        with read_files.errors_name(path), zipfile.ZipFile(path) as archive:
            found = {(entry.filename, entry.date_time) for entry in archive.infolist()}
            return found == {(name, ZIP_DATE) for name in SUBMISSION_FILES}
    return False


def zip_problems(path: Path) -> list[str]:
    """All problems of a submission, one message each. Raises DataError if it is not a zip."""
    try:
        read_files.check_not_endless(path)
        with zipfile.ZipFile(path) as archive:
            return list(_archive_problems(archive))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder: give the zip") from None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        why = error if path.stat().st_size else "it is empty"
        raise DataError(f"{path} is not a zip file ({why})") from None


def _archive_problems(archive: zipfile.ZipFile) -> Iterator[str]:
    seen, misnamed = set[str](), set[str]()
    folders: dict[str, list[str]] = {}  # folder -> the submission files in it
    for entry in archive.infolist():
        folder, _, base = entry.filename.rpartition("/")
        if base in SUBMISSION_FILES and folder:
            folders.setdefault(f"{folder}/", []).append(base)
        elif not base and entry.is_dir():
            continue  # a folder; reported below
        elif entry.filename not in SUBMISSION_FILES:
            name = {n.lower(): n for n in SUBMISSION_FILES}.get(entry.filename.lower())
            misnamed.add(name or "")
            problem = f"must be named {name}" if name else "is not a submission file"
            yield f"{entry.filename!r} {problem}"
        elif base in seen:
            yield f"{base} occurs twice"
        if base in SUBMISSION_FILES:
            if base not in seen:
                yield from _entry_problems(archive, entry, base)
            seen.add(base)
    for name in (entry.filename for entry in archive.infolist() if entry.is_dir()):
        if not any(folder.startswith(name) for folder in folders):
            yield f"{name!r} is a folder: the files must be at the top level of the zip"
    for folder, names in folders.items():
        yield f"{', '.join(names)}: in the folder {folder!r}, but must be at the top level"
    yield from (f"{name} is missing" for name in SUBMISSION_FILES if name not in seen | misnamed)


def _entry_problems(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> list[str]:
    """Problems of a prediction file in a zip, one message each."""
    if entry.file_size > _MAX_FILE_SIZE:
        return [f"{name} has {entry.file_size} bytes, too many for a prediction file"]
    try:
        return file_problems(SUBMISSION_FILES[name], archive.read(entry), name)
    except _ZIP_ERRORS as error:
        return [f"{name} cannot be unpacked ({error})"]


def file_problems(file: SubmissionFile, content: bytes, path: str) -> list[str]:
    """What the server would reject in a prediction file: a message for each kind of problem."""
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return [f"{path} is not UTF-8 text"]
    if lines == [""]:
        return [f"{path} is empty"]
    problems = []
    if lines[-1]:
        problems.append(f"{path}:{len(lines)}: the last line does not end with a line feed")
    lines = lines if lines[-1] else lines[:-1]
    if cr_line := next((i for i, line in enumerate(lines, 1) if line.endswith("\r")), None):
        problems.append(f"{path}:{cr_line}: the line ends with CR LF instead of LF")
    if lines[0].rstrip("\r") != HEADER:
        problems.append(f"{path}:1: the header is {lines[0][:60]!r}, not {HEADER!r}")
    if len(lines) - 1 != file.test_set.rows:
        problems.append(f"{path} has {len(lines) - 1} rows, not {file.test_set.rows}")
    row_problems: dict[str, str] = {}  # kind -> message for the first row with it
    for index, line in enumerate(lines[1:]):
        for kind, message in _row_problems(file.task, index, line.rstrip("\r")):
            row_problems.setdefault(kind, f"{path}:{index + 2}: {message}")
    return problems + list(row_problems.values())


def _row_problems(task: Task, index: int, line: str) -> Iterator[tuple[str, str]]:
    """(kind, message) for each problem of a line after the header; index: expected, from 0."""
    fields = line.split("\t")
    if len(fields) != 2:
        yield "fields", f"{len(fields)} field(s) separated by a TAB, not 2"
        return
    if fields[0] != str(index):
        yield "index", f"the index is {fields[0][:40]!r}, not {index}"
    if task.score_range:
        low, high = task.score_range
        if not (_SCORE_PATTERN.fullmatch(fields[1]) and low <= float(fields[1]) <= high):
            yield "answer", f"{fields[1][:40]!r} is not a score from {low:g} to {high:g}"
    elif fields[1] not in task.submission_labels:
        yield "answer", f"{fields[1][:40]!r} is not one of {', '.join(task.submission_labels)}"
