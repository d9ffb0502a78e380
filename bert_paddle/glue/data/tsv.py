"""Find GLUE's TSV files and read them strictly.

The files are UTF-8 and tab-separated, without quoting: a quotation mark is an ordinary character,
only a line feed ends a row, and texts are kept verbatim. A malformed row raises a DataError with
file and line, since silently skipping it would change the metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bert_paddle.common import read_files
from bert_paddle.common.errors import DataError
from bert_paddle.glue.tasks import TASKS, Column, Columns, Task, normalize_name

BOM = b"\xef\xbb\xbf"


@dataclass
class Examples:
    """One file's examples, in the order of the file.

    `texts_b` is None for single-text tasks. `labels` is int64 [n] (indices into `Task.labels`) or,
    for regression, float32 [n]; for several labels per row float32 [n, labels] of 0 and 1; None
    without labels. `source`: the file, for messages. `skipped`: the number of rows skipped. `ids`:
    the values of --id_column, `id_name`; None without it.
    """

    texts_a: list[str]
    texts_b: list[str] | None
    labels: np.ndarray | None
    source: str
    skipped: int = 0
    ids: list[str] | None = None
    id_name: str = "id"

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
        if columns.header and raw == first_line:
            raise DataError(
                f"{path}:{line}: the header line again (were files joined?): delete the line"
            )
        texts_a.append(fields[column_a])
        if column_b is not None:
            texts_b.append(fields[column_b])
        if label_column is not None:
            raw_labels.append(fields[label_column])
            label_lines.append(line)
    if not texts_a:
        hint = f" ({skipped} rows have too few fields)" if skipped else ""
        raise DataError(f"{path}: no rows after the header{hint}")

    labels = None
    if label_column is not None:
        convert = _parse_scores if task.is_regression else _parse_classes
        labels = convert(task, raw_labels, label_lines, path)
    return Examples(texts_a, texts_b if column_b is not None else None, labels, path, skipped)


def _split_fields(raw: bytes, path: str, line: int) -> list[str]:
    """Decode a line and split it at tabs. Raises DataError for bytes that are not UTF-8 text."""
    return strip_line_end(decode_line(raw, path, line)).split("\t")


def decode_line(raw: bytes, path: str, line: int) -> str:
    """One line of a file as text. Raises DataError for bytes that are not UTF-8 text."""
    if b"\0" in raw:
        raise DataError(f"{path}:{line}: a NUL byte: the file is not text, or is damaged")
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
    """The indices of the columns with text a, text b and the label (None if the layout has none),
    and the number of columns. first_row: the first line's fields, a header or not."""
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
    """The labels as indices into `task.labels`, int64 [n]. Raises DataError. lines: the line number
    of each, for messages."""
    index_of = {label: i for i, label in enumerate(task.file_labels)}
    indices = [index_of.get(label, -1) for label in raw]
    if -1 in indices:
        bad = [f"{path}:{line}" for line, i in zip(lines, indices, strict=True) if i < 0]
        raise label_error(bad, raw[indices.index(-1)], "one of " + ", ".join(index_of))
    return np.array(indices, dtype=np.int64)


def _parse_scores(task: Task, raw: Sequence[str], lines: Sequence[int], path: str) -> np.ndarray:
    """The scores, float32 [n]. Raises DataError for one outside `task.score_range`. lines: as in
    `_parse_classes`."""
    low, high = task.score_range or (-np.inf, np.inf)
    # NaN fails the comparison and is rejected like values out of range.
    valid = [is_number(text) and low <= float(text) <= high for text in raw]
    if not all(valid):
        bad = [f"{path}:{line}" for line, ok in zip(lines, valid, strict=True) if not ok]
        expected = f"a number from {low:g} to {high:g}"
        raise label_error(bad, raw[valid.index(False)], expected)
    return np.array([float(text) for text in raw], dtype=np.float32)


def is_number(text: str) -> bool:
    """Whether a label is a number in ASCII, as in "-1.5e3", "nan" or "inf". float() also accepts
    "1_0" and other scripts' digits."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def label_error(locations: Sequence[str], text: str, expected: str) -> DataError:
    """The error for invalid labels. locations: `path:line` of each; text: the first invalid
    label; expected: a description of valid ones."""
    label = f"label {quote_value(text)}" if text else "an empty label"
    more = f"; {len(locations)} rows of the file have invalid labels" if len(locations) > 1 else ""
    return DataError(f"{locations[0]}: {label} where {expected} is expected{more}")


def field_count_error(
    path: str, line: int, fields: Sequence[str], count: int, delimiter: str = "tab"
) -> DataError:
    """The error for a row that does not have `count` fields."""
    actual = "an empty line" if fields == [""] else len(fields)
    return DataError(
        f"{path}:{line}: expected {count} {delimiter}-separated fields, found {actual}"
    )


def quote_value(text: str, limit: int = 80) -> str:
    """A value for a message: quoted, on one line, truncated to `limit` characters, or fewer if most
    of them are not printable and shown by their codes."""
    shown = text[:limit]
    while len(repr(shown)) > 2 * limit:
        shown = shown[: len(shown) // 2]
    return repr(text if shown == text else f"{shown}...")


@dataclass(frozen=True)
class TaskDirSearch:
    """The folder with a task's files, or None; and, as text for messages, the places searched
    without success, each with what it lacks."""

    folder: Path | None
    rejected: tuple[str, ...]


def find_task_dir(
    task: Task,
    data_dir: str | None,
    environ: Mapping[str, str],
    home: str | Path,
    needed: Sequence[str] | None = None,
) -> TaskDirSearch:
    """Search for the task's folder in `data_dir`, $GLUE_DATA_DIR, then `home`/glue.

    `data_dir` may also be the task's folder itself. A folder is accepted only if it has all files
    in `needed` (default: the training file and the first dev file; for AX, its only file).
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
            missing = [name for name in needed if not read_files.is_file(folder / name)]
            if not missing:
                return TaskDirSearch(folder, tuple(searched))
            lacks = f"no folder {task.folder}, and " if folder == Path(root) else ""
            searched.append(f"{source} {folder} ({lacks}no {', '.join(missing)})")
    return TaskDirSearch(None, tuple(searched))


def _task_folders(task: Task, root: Path, include_root: bool) -> list[Path]:
    """The folders in `root` named like the task, the exact spelling first; then, with
    `include_root`, `root` itself, unless it is named like another task."""
    names = {normalize_name(task.folder), normalize_name(task.name)}
    try:
        folders = [
            path for path in root.iterdir() if normalize_name(path.name) in names and path.is_dir()
        ]
    except read_files.ABSENT:
        return []  # any other error is no reason to read other data
    folders.sort(key=lambda path: (path.name != task.folder, path.name))
    # Files of most tasks have the same names, so another task's folder would be accepted.
    other_tasks = {
        normalize_name(name) for t in TASKS.values() for name in (t.folder, t.name)
    } - names
    if include_root and normalize_name(root.resolve().name) not in other_tasks:
        folders.append(root)
    return folders


def is_demo(folder: str | Path) -> bool:
    """Whether a folder has a demo set of invented rows, marked by a file named DEMO."""
    return (Path(folder) / "DEMO").exists()
