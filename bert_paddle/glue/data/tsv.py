"""GLUE's TSV files: finding them, and reading them strictly.

The files are UTF-8, tab-separated and unquoted: a quotation mark is an ordinary character, only a
line feed ends a row, and a text keeps every character it has. A row that breaks this stops the
reading with its file and line, since a row silently lost changes every figure computed later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bert_paddle.common.errors import DataError
from bert_paddle.glue.tasks import TASKS, Column, Columns, Task, plain

BOM = b"\xef\xbb\xbf"


@dataclass
class Examples:
    """One file's examples, in the order of the file.

    `texts_b` is None for one-text tasks; `labels` is None in a test file, else int64 [n] (indices
    into `Task.labels`) or, for regression, float32 [n]. `skipped` counts rows left out.
    """

    texts_a: list[str]
    texts_b: list[str] | None
    labels: np.ndarray | None
    source: str
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.texts_a)


def load(task: Task, path: str | Path, split: str) -> Examples:
    """Read one TSV file as the task's `split` ("train", "dev" or "test").

    Raises DataError, naming `path:line` (from 1, header included), for whatever does not fit.
    """
    columns = task.columns(split)
    if columns is None:
        raise DataError(f"{task.name} has no {split} file; it has {', '.join(task.files)}")
    try:
        with open(path, "rb") as file:
            return _read(task, columns, split, file, str(path))
    except IsADirectoryError:
        raise DataError(f"{path}: a folder where a TSV file is expected") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _read(task: Task, columns: Columns, split: str, file: BinaryIO, path: str) -> Examples:
    may_skip = task.skip_short_rows and split != "test"
    first = file.readline().removeprefix(BOM)
    if not first:
        raise DataError(f"{path}: the file is empty")
    fields = _fields(first, path, 1)
    at_a, at_b, at_label, count = _positions(columns, fields, path)
    rows = enumerate(file, 2) if columns.header else enumerate(chain([first], file), 1)

    texts_a: list[str] = []
    texts_b: list[str] = []
    raw_labels: list[str] = []
    lines: list[int] = []  # of each label, for the error message
    skipped = 0
    for line, raw in rows:
        fields = _fields(raw, path, line)
        if len(fields) != count:
            if may_skip and len(fields) < count:
                skipped += 1
                continue
            raise wrong_count(path, line, fields, count)
        texts_a.append(fields[at_a])
        if at_b is not None:
            texts_b.append(fields[at_b])
        if at_label is not None:
            raw_labels.append(fields[at_label])
            lines.append(line)
    if not texts_a:
        short = f" ({skipped} rows have too few fields)" if skipped else ""
        raise DataError(f"{path}: a header and no row{short}")

    labels = None
    if at_label is not None:
        convert = _scores if task.is_regression else _indices
        labels = convert(task, raw_labels, lines, path)
    return Examples(texts_a, texts_b if at_b is not None else None, labels, path, skipped)


def _fields(raw: bytes, path: str, line: int) -> list[str]:
    """Split one line of the file, without its line end, into its fields."""
    return without_end(decoded(raw, path, line)).split("\t")


def decoded(raw: bytes, path: str, line: int) -> str:
    """One line of a file as text. Raises DataError for what is no UTF-8 text."""
    if b"\0" in raw:
        raise DataError(f"{path}:{line}: a NUL byte; this is not a text file, or a damaged one")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = f"byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line"
        raise DataError(f"{path}:{line}: not UTF-8 ({bad}); save the file as UTF-8") from None


def without_end(text: str) -> str:
    """A line without its line feed, or carriage return and line feed."""
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _positions(
    columns: Columns, first: list[str], path: str
) -> tuple[int, int | None, int | None, int]:
    """Turn a layout into positions, given the first line's fields: text a, text b, label, count."""
    count = columns.count or len(first)
    if columns.header and len(first) != count:
        raise wrong_count(path, 1, first, count)

    at_a = _position(columns.text_a, first, path)
    at_b = None if columns.text_b is None else _position(columns.text_b, first, path)
    at_label = None
    if columns.label is not None and not (
        columns.label_optional and not _has(columns.label, first)
    ):
        at_label = _position(columns.label, first, path)
        if columns.header and is_number(first[at_label]):
            raise DataError(f"{path}:1: a row where the header should be; add the header line")
    return at_a, at_b, at_label, count


def _has(column: Column, header: list[str]) -> bool:
    return isinstance(column, int) or any(name in header for name in _names(column))


def _names(column: str | tuple[str, ...]) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else column


def _position(column: Column, header: list[str], path: str) -> int:
    if isinstance(column, int):
        return column
    for name in _names(column):
        if name in header:
            return header.index(name)
    wanted = " or ".join(repr(name) for name in _names(column))
    found = shown(", ".join(header))
    raise DataError(f"{path}:1: the header has no column {wanted}; found {found}")


def _indices(task: Task, raw: Sequence[str], lines: Sequence[int], path: str) -> np.ndarray:
    """Labels of a file as indices into `task.labels`, int64 [n]."""
    index = {label: i for i, label in enumerate(task.file_labels)}
    found = [index.get(label, -1) for label in raw]
    if -1 in found:
        bad = [f"{path}:{line}" for line, i in zip(lines, found, strict=True) if i < 0]
        raise bad_labels(bad, raw[found.index(-1)], "one of " + ", ".join(index))
    return np.array(found, dtype=np.int64)


def _scores(task: Task, raw: Sequence[str], lines: Sequence[int], path: str) -> np.ndarray:
    """Scores of a file within `task.score_range`, float32 [n]."""
    low, high = task.score_range or (-np.inf, np.inf)
    # NaN fails the comparison, and so is refused with the values out of range.
    good = [is_number(text) and low <= float(text) <= high for text in raw]
    if not all(good):
        bad = [f"{path}:{line}" for line, ok in zip(lines, good, strict=True) if not ok]
        expected = f"a number from {low:g} to {high:g}"
        raise bad_labels(bad, raw[good.index(False)], expected)
    return np.array([float(text) for text in raw], dtype=np.float32)


def is_number(text: str) -> bool:
    """Whether a label is a number as files have it; "nan" and "inf" are."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def bad_labels(places: Sequence[str], text: str, expected: str) -> DataError:
    """What is said of labels that will not do: where they stand, the first one, what is wanted."""
    what = f"label {shown(text)}" if text else "an empty label"
    more = f"; {len(places)} rows of the file have such labels" if len(places) > 1 else ""
    return DataError(f"{places[0]}: {what} where {expected} is expected{more}")


def wrong_count(
    path: str, line: int, fields: Sequence[str], count: int, by: str = "tab"
) -> DataError:
    """What is said of a row with more or fewer fields than the others."""
    found = "found an empty line" if fields == [""] else f"found {len(fields)}"
    return DataError(f"{path}:{line}: expected {count} {by}-separated fields, {found}")


def shown(text: str, limit: int = 80) -> str:
    """A value for a message: quoted, on one line, cut where it is long."""
    return repr(text if len(text) <= limit else text[:limit] + "...")


@dataclass(frozen=True)
class FoundData:
    """Where a task's files are, or None; and every place looked in, each with what it lacked."""

    folder: Path | None
    looked: tuple[str, ...]


def find(
    task: Task,
    data_dir: str | None,
    environ: Mapping[str, str],
    home: str | Path,
    needed: Sequence[str] | None = None,
) -> FoundData:
    """Look for the task's folder: `data_dir`, $GLUE_DATA_DIR, then `home`/glue.

    `data_dir` is a folder of task folders, or the task's own. A place counts only where it holds
    every file of `needed` (by default the training file and the first dev file; AX: its file).
    """
    if needed is None:
        needed = task.files[:2] if task.train else task.files[:1]
    looked: list[str] = []
    roots = [
        (data_dir, "--data_dir"),
        (environ.get("GLUE_DATA_DIR"), "$GLUE_DATA_DIR"),
        (str(Path(home) / "glue"), "$BERT_PADDLE_HOME/glue"),
    ]
    for root, source in roots:
        if not root:
            continue
        candidates = _task_folders(task, Path(root), or_itself=source == "--data_dir")
        if not candidates:
            lacks = f"no folder {task.folder}" if Path(root).is_dir() else "no such folder"
            looked.append(f"{source} {root} ({lacks})")
        for folder in candidates:
            missing = [name for name in needed if not (folder / name).is_file()]
            if not missing:
                return FoundData(folder, tuple(looked))
            lacks = f"no folder {task.folder}, and " if folder == Path(root) else ""
            looked.append(f"{source} {folder} ({lacks}no {', '.join(missing)})")
    return FoundData(None, tuple(looked))


def _task_folders(task: Task, root: Path, or_itself: bool) -> list[Path]:
    """Folders under `root` named for the task, exact spelling first; then perhaps `root`."""
    names = {plain(task.folder), plain(task.name)}
    try:
        folders = [path for path in root.iterdir() if plain(path.name) in names and path.is_dir()]
    except OSError:
        return []
    folders.sort(key=lambda path: (path.name != task.folder, path.name))
    # The files of most tasks have the same names: another task's folder is not this one's.
    others = {plain(name) for t in TASKS.values() for name in (t.folder, t.name)} - names
    if or_itself and plain(root.resolve().name) not in others:
        folders.append(root)
    return folders


def is_demo(folder: str | Path) -> bool:
    """True for a folder of invented rows, which holds a file named DEMO: results say so."""
    return (Path(folder) / "DEMO").exists()
