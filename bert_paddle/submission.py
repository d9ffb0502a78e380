"""A GLUE submission: a flat zip of one prediction file for each test set, and what is wrong with
one. The form is that of gluebenchmark.com/faq: `index<TAB>prediction`, 0-based, labels as the
task's files spell them, scores of STS-B from 0 to 5."""

import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import runtime
from bert_paddle.common.errors import DataError
from bert_paddle.glue.data import tsv
from bert_paddle.glue.tasks import TASKS, Task, TestSet
from bert_paddle.training import run_info

HEADER = "index\tprediction"
_FOLDER = "predictions"
_MOST = 64 << 20  # bytes of one file; the largest has 4 MB
_SCORE = re.compile(r"[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")  # float() takes "0_1" and " 2.7 " too
_DATE = (1980, 1, 1, 0, 0, 0)  # in the zip: the same predictions give the same bytes
# Of the official training sets, where the files themselves are not here: see `_constant`.
_MAJORITY = {
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
_DAMAGE = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError)
_BALANCED = ("MNLI", "QNLI")  # no class of theirs is ahead by a per cent


@dataclass(frozen=True)
class SubmissionFile:
    """A file of a submission: its task and test set."""

    task: Task
    test_set: TestSet

    @property
    def name(self) -> str:
        return self.test_set.submission


SUBMISSION_FILES = {
    test_set.submission: SubmissionFile(task, test_set)
    for task in TASKS.values()
    for test_set in task.test_sets
}


def collect(runs: Sequence[Path]) -> dict[str, bytes]:
    """The prediction files of runs by their names in a submission, checked.

    Raises DataError with all that is wrong: a folder that is no finished run or of demo data, two
    runs with other predictions for a task, a file that the server would refuse.
    """
    contents: dict[str, bytes] = {}
    owner: dict[str, Path] = {}
    problems: list[str] = []
    for run in runs:
        try:
            found = _predictions(run)
        except DataError as error:
            problems.append(str(error))
            continue
        for path in found:
            content = path.read_bytes()
            if contents.setdefault(path.name, content) != content:
                task = SUBMISSION_FILES[path.name].task.name
                problems.append(
                    f"{task}: {owner[path.name]} and {run} both predict {path.name}, and differ: "
                    "give one of them"
                )
            owner.setdefault(path.name, run)
            problems += file_problems(SUBMISSION_FILES[path.name], content, str(path))
    if problems:
        raise DataError("; ".join(dict.fromkeys(problems)))
    return contents


def _predictions(run: Path) -> list[Path]:
    """A run's prediction files of GLUE's test sets. Raises DataError."""
    if not run.is_dir():
        raise DataError(f"{run}: no such folder; give the --output_dir of a run")
    folder = run / _FOLDER
    if not folder.is_dir():
        raise DataError(
            f"{run} has no {_FOLDER}/: run it with --do_predict"
            if any(run.glob("*.json*")) or any(run.glob("model_*"))
            else f"{run} is not a run's folder (it has no {_FOLDER}/ and no results)"
        )
    found = [folder / name for name in SUBMISSION_FILES if (folder / name).is_file()]
    if not found:
        raise DataError(f"{folder} has no file of a GLUE task ({', '.join(SUBMISSION_FILES)})")
    try:
        results = json.loads((run / "all_results.json").read_text(encoding="utf-8"))
        kind = results.get("data")
    except (OSError, ValueError, AttributeError, RecursionError):
        raise DataError(
            f"{run} has no all_results.json that can be read: the run did not end; predict again"
        ) from None
    if kind != "glue":
        what = "a demo set of invented rows" if kind == "demo" else "other data than GLUE's"
        raise DataError(f"{run}: its predictions are of {what}, and no submission")
    for path in found:
        if _is_own(path.name, results, run):
            raise DataError(
                f"{run}: its {_FOLDER}/{path.name} is of rows of --test_file, and no submission: "
                "predict without --test_file"
            )
    return found


def _is_own(name: str, results: dict[str, Any], run: Path) -> bool:
    """Whether a prediction file is of a user's --test_file and only named like a task's."""
    if f"predictions_{name}" in results:
        return results[f"predictions_{name}"] == "own"
    settings = run_info.read(run).get("settings")  # of a run from before the results said so
    given = settings.get("test_file") if isinstance(settings, dict) else None
    return bool(given) and f"{Path(str(given)).stem}.tsv" == name


def missing(contents: dict[str, bytes]) -> list[SubmissionFile]:
    """The files that a submission needs besides."""
    return [wanted for name, wanted in SUBMISSION_FILES.items() if name not in contents]


def refuse_missing(contents: dict[str, bytes]) -> None:
    """Raise DataError, naming tasks and files, unless all are there."""
    lacking = missing(contents)
    if lacking:
        tasks = dict.fromkeys(wanted.task.name for wanted in lacking)
        names = ", ".join(wanted.name for wanted in lacking)
        raise DataError(
            f"no predictions for {', '.join(tasks)} ({names}): give their runs too, or "
            "--fill_missing for the same answer in every row"
        )


def filled(wanted: SubmissionFile, data_dir: str | None, say: Callable[[str], None]) -> bytes:
    """A prediction file that has the same answer in every row, and a word of where it is from."""
    answer, source = _constant(wanted.task, data_dir)
    say(f"{wanted.name}: filled with {answer} in all {wanted.test_set.rows} rows ({source})")
    rows = (f"{i}\t{answer}\n" for i in range(wanted.test_set.rows))
    return (HEADER + "\n" + "".join(rows)).encode()


def _constant(task: Task, data_dir: str | None) -> tuple[str, str]:
    """The majority class or the mean score of a task's training set, and where that is from."""
    task = TASKS[task.model_task or task.name]
    what = "the mean score" if task.is_regression else "the majority class"
    assert task.train is not None
    found = tsv.find(task, data_dir, os.environ, runtime.home_dir(), [task.train.file]).folder
    if found and not tsv.is_demo(found):
        examples = tsv.load(task, found / task.train.file, "train")
        # A subset may have another majority than the task.
        if len(examples) in task.official_rows(task.train.file):
            assert examples.labels is not None
            if task.is_regression:
                answer = f"{float(np.mean(examples.labels)):.3f}"
            else:
                counts = np.bincount(examples.labels, minlength=len(task.labels))
                answer = task.submission_labels[int(np.argmax(counts))]
            return answer, f"{what} of {found / task.train.file}"
    if task.name in _BALANCED:
        return _MAJORITY[task.name], f"{task.name}'s classes are equally frequent in training"
    return _MAJORITY[task.name], f"{what} of the official training set, which is not here"


def pack(contents: dict[str, bytes]) -> bytes:
    """The zip: flat, the files in the order of the tasks, the same bytes for the same files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in SUBMISSION_FILES:
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, contents[name])
    return out.getvalue()


def zip_problems(path: Path) -> list[str]:
    """Everything that is wrong with a submission; nothing for a good one. Raises DataError for
    what is no zip at all."""
    try:
        with zipfile.ZipFile(path) as archive:
            return list(_of_archive(archive))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder: give the zip") from None
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        size = path.stat().st_size
        raise DataError(f"{path} is not a zip file ({error if size else 'it is empty'})") from None


def _of_archive(archive: zipfile.ZipFile) -> Iterator[str]:
    seen, misnamed = set[str](), set[str]()
    folders: dict[str, list[str]] = {}  # those that hold files of ours, with their names
    for entry in archive.infolist():
        folder, _, base = entry.filename.rpartition("/")
        if base in SUBMISSION_FILES and folder:
            folders.setdefault(f"{folder}/", []).append(base)
        elif not base and entry.is_dir():
            continue  # told below
        elif entry.filename not in SUBMISSION_FILES:
            near = {n.lower(): n for n in SUBMISSION_FILES}.get(entry.filename.lower())
            misnamed.add(near or "")
            hint = f": it must be called {near}" if near else ", and has no use"
            yield f"{entry.filename!r} is there{hint}"
        elif base in seen:
            yield f"{base} is there twice"
        if base in SUBMISSION_FILES:
            if base not in seen:
                yield from _of_entry(archive, entry, base)
            seen.add(base)
    for name in (entry.filename for entry in archive.infolist() if entry.is_dir()):
        if not any(folder.startswith(name) for folder in folders):
            yield f"{name!r} is a folder: the files must be at the top of the zip"
    for folder, names in folders.items():
        yield f"{', '.join(names)}: in the folder {folder!r}, and must be at the top of the zip"
    yield from (f"{name} is missing" for name in SUBMISSION_FILES if name not in seen | misnamed)


def _of_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> list[str]:
    """What is wrong with a prediction file in a zip."""
    if entry.file_size > _MOST:
        return [f"{name} has {entry.file_size} bytes, far more than predictions have"]
    try:
        return file_problems(SUBMISSION_FILES[name], archive.read(entry), name)
    except _DAMAGE as error:
        return [f"{name} cannot be unpacked ({error})"]


def file_problems(wanted: SubmissionFile, content: bytes, called: str) -> list[str]:
    """What the server would refuse in a prediction file, the first fault of each kind."""
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        return [f"{called} is not UTF-8 text"]
    if lines == [""]:
        return [f"{called} is empty"]
    problems = []
    if not lines[-1]:
        lines.pop()
    else:
        problems.append(f"{called}:{len(lines)}: the last line does not end with a line feed")
    ended = next((i for i, line in enumerate(lines, 1) if line.endswith("\r")), None)
    if ended:
        problems.append(f"{called}:{ended}: the line ends with CR-LF: give LF alone")
    if lines[0].rstrip("\r") != HEADER:
        problems.append(f"{called}:1: the header is {lines[0][:60]!r}, not {HEADER!r}")
    if len(lines) - 1 != wanted.test_set.rows:
        problems.append(f"{called} has {len(lines) - 1} rows, not {wanted.test_set.rows}")
    faults: dict[str, str] = {}  # the first of each kind
    for index, line in enumerate(lines[1:]):
        for kind, words in _faults(wanted.task, index, line.rstrip("\r")):
            faults.setdefault(kind, f"{called}:{index + 2}: {words}")
    return problems + list(faults.values())


def _faults(task: Task, index: int, line: str) -> Iterator[tuple[str, str]]:
    fields = line.split("\t")
    if len(fields) != 2:
        yield "fields", f"{len(fields)} field(s) separated by a TAB, not 2"
        return
    if fields[0] != str(index):
        yield "index", f"the index is {fields[0][:40]!r}, not {index}"
    if task.score_range:
        low, high = task.score_range
        if not (_SCORE.fullmatch(fields[1]) and low <= float(fields[1]) <= high):
            yield "answer", f"{fields[1][:40]!r} is no score from {low:g} to {high:g}"
    elif fields[1] not in task.submission_labels:
        yield "answer", f"{fields[1][:40]!r} is none of {', '.join(task.submission_labels)}"
