"""Find GLUE's TSV files and read them strictly.

The files are UTF-8, tab-separated and unquoted: a quotation mark is an ordinary character, only a
line feed ends a row, and texts are kept verbatim. A malformed row raises an error with file and
line, since silently skipping it would change every metric computed later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bert_paddle.common.errors import DataError
from bert_paddle.glue.tasks import TASKS, Column, Columns, Task, normalize_name

BOM = b"\xef\xbb\xbf"


@dataclass
class Examples:
    """One file's examples, in the order of the file.

    `texts_b` is None for single-text tasks; `labels` is None in a test file, else int64 [n]
    (indices into `Task.labels`) or, for regression, float32 [n]. `skipped` counts skipped rows.
    """

    texts_a: list[str]
    texts_b: list[str] | None
    labels: np.ndarray | None
    source: str
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.texts_a)


def read_task_file(task: Task, path: str | Path, split: str) -> Examples:
    """Read one TSV file as the task's `split` ("train", "dev" or "test").

    Raises DataError, naming `path:line` (from 1, header included), for a malformed file.
    """
    columns = task.columns(split)
    if columns is None:
        raise DataError(f"{task.name} has no {split} file; it has {', '.join(task.files)}")
    try:
        with open(path, "rb") as file:
            return _parse(task, columns, split, file, str(path))
    except IsADirectoryError:
        raise DataError(f"{path}: a folder where a TSV file is expected") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _parse(task: Task, columns: Columns, split: str, file: BinaryIO, path: str) -> Examples:
    skip_short = task.skip_short_rows and split != "test"
    first_line = file.readline().removeprefix(BOM)
    if not first_line:
        raise DataError(f"{path}: the file is empty")
    fields = _split_fields(first_line, path, 1)
    column_a, column_b, label_column, count = _column_indices(columns, fields, path)
    rows = enumerate(file, 2) if columns.header else enumerate(chain([first_line], file), 1)

    texts_a: list[str] = []
    texts_b: list[str] = []
    raw_labels: list[str] = []
    label_lines: list[int] = []  # line number of each label, for error messages
    skipped = 0
    for line, raw in rows:
        fields = _split_fields(raw, path, line)
        if len(fields) != count:
            if skip_short and len(fields) < count:
                skipped += 1
                continue
            raise field_count_error(path, line, fields, count)
        texts_a.append(fields[column_a])
        if column_b is not None:
            texts_b.append(fields[column_b])
        if label_column is not None:
            raw_labels.append(fields[label_column])
            label_lines.append(line)
    if not texts_a:
        hint = f" ({skipped} rows have too few fields)" if skipped else ""
        raise DataError(f"{path}: a header and no row{hint}")

    labels = None
    if label_column is not None:
        convert = _parse_scores if task.is_regression else _parse_classes
        labels = convert(task, raw_labels, label_lines, path)
    return Examples(texts_a, texts_b if column_b is not None else None, labels, path, skipped)


def _split_fields(raw: bytes, path: str, line: int) -> list[str]:
    """The fields of one line, without its line end."""
    return strip_line_end(decode_line(raw, path, line)).split("\t")


def decode_line(raw: bytes, path: str, line: int) -> str:
    """One line of a file as text. Raises DataError for bytes that are not UTF-8 text."""
    if b"\0" in raw:
        raise DataError(f"{path}:{line}: a NUL byte; this is not a text file, or a damaged one")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        position = f"byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line"
        raise DataError(f"{path}:{line}: not UTF-8 ({position}); save the file as UTF-8") from None


def strip_line_end(text: str) -> str:
    """A line without its LF or CR LF."""
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _column_indices(
    columns: Columns, first_row: list[str], path: str
) -> tuple[int, int | None, int | None, int]:
    """Indices of text a, text b and the label, and the number of columns. first_row: the fields of
    the first line, the header where the layout has one."""
    count = columns.count or len(first_row)
    if columns.header and len(first_row) != count:
        raise field_count_error(path, 1, first_row, count)

    column_a = _column_index(columns.text_a, first_row, path)
    column_b = None if columns.text_b is None else _column_index(columns.text_b, first_row, path)
    label_column = None
    if columns.label is not None and not (
        columns.label_optional and not _has_column(columns.label, first_row)
    ):
        label_column = _column_index(columns.label, first_row, path)
        if columns.header and is_number(first_row[label_column]):
            raise DataError(f"{path}:1: a row where the header should be; add the header line")
    return column_a, column_b, label_column, count


def _has_column(column: Column, header: list[str]) -> bool:
    return isinstance(column, int) or any(name in header for name in _accepted_names(column))


def _accepted_names(column: str | tuple[str, ...]) -> tuple[str, ...]:
    return (column,) if isinstance(column, str) else column


def _column_index(column: Column, header: list[str], path: str) -> int:
    if isinstance(column, int):
        return column
    for name in _accepted_names(column):
        if name in header:
            return header.index(name)
    names = " or ".join(repr(name) for name in _accepted_names(column))
    columns = quote_value(", ".join(header))
    raise DataError(f"{path}:1: the header has no column {names}; found {columns}")


def _parse_classes(task: Task, raw: Sequence[str], lines: Sequence[int], path: str) -> np.ndarray:
    """Labels of a file as indices into `task.labels`, int64 [n]."""
    index_of = {label: i for i, label in enumerate(task.file_labels)}
    indices = [index_of.get(label, -1) for label in raw]
    if -1 in indices:
        bad = [f"{path}:{line}" for line, i in zip(lines, indices, strict=True) if i < 0]
        raise label_error(bad, raw[indices.index(-1)], "one of " + ", ".join(index_of))
    return np.array(indices, dtype=np.int64)


def _parse_scores(task: Task, raw: Sequence[str], lines: Sequence[int], path: str) -> np.ndarray:
    """Scores of a file within `task.score_range`, float32 [n]."""
    low, high = task.score_range or (-np.inf, np.inf)
    # NaN fails the comparison and is rejected like values out of range.
    valid = [is_number(text) and low <= float(text) <= high for text in raw]
    if not all(valid):
        bad = [f"{path}:{line}" for line, ok in zip(lines, valid, strict=True) if not ok]
        expected = f"a number from {low:g} to {high:g}"
        raise label_error(bad, raw[valid.index(False)], expected)
    return np.array([float(text) for text in raw], dtype=np.float32)


def is_number(text: str) -> bool:
    """Whether a label is a plain ASCII number ("nan" and "inf" are; "1_0" is not)."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def label_error(places: Sequence[str], text: str, expected: str) -> DataError:
    """The error for invalid labels. places: `path:line` of each; text: the first one."""
    label = f"label {quote_value(text)}" if text else "an empty label"
    more = f"; {len(places)} rows of the file have such labels" if len(places) > 1 else ""
    return DataError(f"{places[0]}: {label} where {expected} is expected{more}")


def field_count_error(
    path: str, line: int, fields: Sequence[str], count: int, by: str = "tab"
) -> DataError:
    """The error for a row with more or fewer fields than the header."""
    found = "found an empty line" if fields == [""] else f"found {len(fields)}"
    return DataError(f"{path}:{line}: expected {count} {by}-separated fields, {found}")


def quote_value(text: str, limit: int = 80) -> str:
    """A value for a message: quoted, on one line, truncated to `limit` characters."""
    return repr(text if len(text) <= limit else text[:limit] + "...")


@dataclass(frozen=True)
class TaskDirSearch:
    """The folder of a task's files, or None; and every place searched without success, each with
    what it lacks."""

    folder: Path | None
    searched: tuple[str, ...]


def find_task_dir(
    task: Task,
    data_dir: str | None,
    environ: Mapping[str, str],
    home: str | Path,
    needed: Sequence[str] | None = None,
) -> TaskDirSearch:
    """Look for the task's folder: `data_dir`, $GLUE_DATA_DIR, then `home`/glue.

    `data_dir` is a folder of task folders, or the task's folder itself. A folder is accepted only
    with every file of `needed` (by default the training file and the first dev file; AX: its
    file).
    """
    if needed is None:
        needed = task.files[:2] if task.train else task.files[:1]
    searched: list[str] = []
    roots = [
        (data_dir, "--data_dir"),
        (environ.get("GLUE_DATA_DIR"), "$GLUE_DATA_DIR"),
        (str(Path(home) / "glue"), "$BERT_PADDLE_HOME/glue"),
    ]
    for root, source in roots:
        if not root:
            continue
        candidates = _task_folders(task, Path(root), include_root=source == "--data_dir")
        if not candidates:
            lacks = f"no folder {task.folder}" if Path(root).is_dir() else "no such folder"
            searched.append(f"{source} {root} ({lacks})")
        for folder in candidates:
            missing = [name for name in needed if not (folder / name).is_file()]
            if not missing:
                return TaskDirSearch(folder, tuple(searched))
            lacks = f"no folder {task.folder}, and " if folder == Path(root) else ""
            searched.append(f"{source} {folder} ({lacks}no {', '.join(missing)})")
    return TaskDirSearch(None, tuple(searched))


def _task_folders(task: Task, root: Path, include_root: bool) -> list[Path]:
    """Folders under `root` named like the task, exact spelling first; then, if asked, `root`."""
    names = {normalize_name(task.folder), normalize_name(task.name)}
    try:
        folders = [
            path for path in root.iterdir() if normalize_name(path.name) in names and path.is_dir()
        ]
    except OSError:
        return []
    folders.sort(key=lambda path: (path.name != task.folder, path.name))
    # Most tasks' files have the same names, so another task's folder must not be taken.
    other_tasks = {
        normalize_name(name) for t in TASKS.values() for name in (t.folder, t.name)
    } - names
    if include_root and normalize_name(root.resolve().name) not in other_tasks:
        folders.append(root)
    return folders


def is_demo(folder: str | Path) -> bool:
    """Whether a folder holds the demo set of invented rows, marked by a file named DEMO."""
    return (Path(folder) / "DEMO").exists()
