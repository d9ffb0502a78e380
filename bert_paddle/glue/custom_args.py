"""The flags for a user's own data: a mixin for `GlueArgs` with their fields and checks."""

import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from bert_paddle.common.flag_fields import (
    OnRanks,
    OnResume,
    PathUse,
    flag,
    flag_names,
)
from bert_paddle.glue import text_format

CUSTOM = "your own data, instead of --task_name (docs/OWN_DATA.md)"
TSV, QUOTED_TSV, CSV, JSON, JSON_LINES = "tsv", "quoted_tsv", "csv", "json", "jsonl"
FORMATS = (TSV, QUOTED_TSV, CSV, JSON, JSON_LINES)
EXTENSIONS = {".tsv": TSV, ".csv": CSV, ".json": JSON, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES}
DEFAULT_VALIDATION_SHARE = 0.1  # of the training rows; used without --validation_file

# Parts of the flags: files with rows that a GLUE task has itself, a file that replaces its test
# sets, what a GLUE task defines itself, how files are read.
_DATA_FILE, _TEST_FILE, TASK, _FORMAT = "data file", "test file", "task", "file format"
_COLUMN = "column"  # names a column that is read


def detect_format(path: str, file_format: str | None) -> str | None:
    """The format of a file, by --file_format or its extension; None for an unknown extension."""
    return file_format or EXTENSIONS.get(Path(path).suffix.lower())


def split_names(text: str | None) -> tuple[str, ...]:
    """The names in a comma-separated flag value."""
    return tuple(name.strip() for name in text.split(",")) if text else ()


def overridden_flags(
    on_command_line: Collection[str], in_config: Collection[str], own_data: Collection[str]
) -> frozenset[str]:
    """Names of the --config file's flags to ignore because the command line contradicts them.
    own_data: all flags for own data.

    --train_file or --validation_file on the command line overrides a GLUE task in the file, and
    --task_name overrides data files there, since no value on the command line could unset these.
    """
    data_files = flag_names(CustomDataArgs, part=_DATA_FILE)
    if "task_name" not in on_command_line and any(name in on_command_line for name in data_files):
        return frozenset({"task_name", "data_dir"})
    if "task_name" in on_command_line and any(
        name in in_config and name not in on_command_line for name in data_files
    ):
        return frozenset(own_data)
    return frozenset()


# The file may lie elsewhere on another host and when a run is resumed: its rows are compared.
_FILE: Any = {
    "path": PathUse.INPUT,
    "on_resume": OnResume.FREE,
    "on_ranks": OnRanks.GIVEN,
    "changes_rows": True,
}


@dataclasses.dataclass
class CustomDataArgs:
    """Which files to train on, evaluate and predict, and how to read them."""

    train_file: str | None = flag(
        None,
        "training rows: .tsv, .csv, .jsonl or .json, with named columns",
        group=CUSTOM,
        part=_DATA_FILE,
        **_FILE,
    )
    validation_file: str | None = flag(
        None,
        "rows to evaluate on, in the same formats",
        group=CUSTOM,
        part=_DATA_FILE,
        **_FILE,
    )
    test_file: str | None = flag(
        None,
        "rows to predict, in the same formats; metrics are printed if they have labels; with "
        "--task_name, it replaces the task's test sets",
        group=CUSTOM,
        part=_TEST_FILE,
        **_FILE,
    )
    validation_share: float = flag(
        -1.0,
        "share of the training rows held out for evaluation, chosen by --seed (0: none; -1: 0.1, "
        "or none with --validation_file)",
        group=CUSTOM,
        minimum=0,
        maximum=0.9,
        sentinel=-1,
        changes_rows=True,
    )
    text_column: str | None = flag(
        None,
        "column with the text (default: sentence, text, sentence1, ...)",
        group=CUSTOM,
        part=(_FORMAT, _COLUMN),
    )
    text_pair_column: str | None = flag(
        None, "column with the second text of a pair", group=CUSTOM, part=(_FORMAT, _COLUMN)
    )
    label_column: str | None = flag(
        None,
        "column with the label (default: label, labels, ...)",
        group=CUSTOM,
        part=(_FORMAT, _COLUMN),
    )
    column_names: str | None = flag(
        None,
        "a,b,c: the column names, for files without a header line",
        group=CUSTOM,
        comma_separated=True,
        part=_FORMAT,
    )
    file_format: str | None = flag(
        None,
        "format of the files (default: by their extensions); quoted_tsv: TSV quoted as CSV is",
        group=CUSTOM,
        choices=FORMATS,
        part=_FORMAT,
    )
    delimiter: str | None = flag(
        None,
        "what separates the fields of delimited files: a character, or tab, comma, semicolon, pipe "
        "or space (default: as the format says, unless all rows say otherwise)",
        group=CUSTOM,
        on_resume=OnResume.FREE,
        part=_FORMAT,
    )
    encoding: str | None = flag(
        None,
        "encoding of the files, as cp1252, gb18030 or utf-16-le (default: UTF-8, unless a file is "
        "UTF-16 or Chinese GB18030 beyond doubt)",
        group=CUSTOM,
        on_resume=OnResume.FREE,
        part=_FORMAT,
    )

    def custom_actions(self) -> tuple[bool, bool, bool]:
        """(train, evaluate, predict) to run with no --do_... flag: those that have files."""
        train, evaluate = self.train_file is not None, self.validation_file is not None
        return train, self.splits_train_file() or evaluate, bool(self.test_file)

    def resolved_validation_share(self) -> float:
        """--validation_share with its default resolved: the share of the training rows held out."""
        if self.validation_share >= 0:
            return self.validation_share
        return 0.0 if self.validation_file else DEFAULT_VALIDATION_SHARE

    def splits_train_file(self) -> bool:
        """Whether part of the training file is held out for evaluation."""
        return self.train_file is not None and self.resolved_validation_share() > 0

    def data_file_flags(self) -> list[str]:
        """Names of the data file flags that are set."""
        names = [name for part in (_DATA_FILE, _TEST_FILE) for name in self._part(part)]
        return [name for name in names if getattr(self, name) is not None]

    def _part(self, part: str) -> tuple[str, ...]:
        return flag_names(type(self), part=part)

    def custom_data_problems(self, task_name: str | None, data_dir: str | None) -> Iterator[str]:
        """Problems with these flags and their combination with --task_name and --data_dir, one
        message each."""
        files = self.data_file_flags()
        if task_name is not None:
            names = (*self._part(_DATA_FILE), *self._part(TASK))
            clashing = [f"--{name}" for name in names if getattr(self, name)]
            if clashing:
                yield (
                    f"{', '.join(clashing)} and --task_name are mutually exclusive: a run uses "
                    "either a GLUE task or your own data"
                )
        elif not files:
            yield "--task_name is required (or --train_file, for your own data)"
        elif data_dir:
            yield "--data_dir is for GLUE tasks: give full paths in --train_file and the others"
        format_flags = [f"--{name}" for name in self._part(_FORMAT) if getattr(self, name)]
        if format_flags and not files:
            yield f"{', '.join(format_flags)}: no data file is given (--train_file, --test_file)"
        for name in files:
            yield from self._file_problems(name)
        yield from self._column_problems()
        if self.validation_file and self.validation_share > 0:
            yield "--validation_file and --validation_share are both set: give one of them"

    def missing_files(self, do_train: bool, do_eval: bool, do_predict: bool) -> Iterator[str]:
        """One message for each requested action that has no file."""
        if do_train and not self.train_file:
            yield "--do_train needs --train_file"
        if do_eval and not self.validation_file and not self.splits_train_file():
            yield "--do_eval needs --validation_file, or --train_file and a --validation_share"
        if do_predict and not self.test_file:
            yield "--do_predict needs --test_file"

    def _file_problems(self, name: str) -> Iterator[str]:
        path = getattr(self, name)
        if not Path(path).is_file():
            yield f"--{name} {path}: " + ("is a folder" if Path(path).is_dir() else "no such file")
        elif detect_format(path, self.file_format) is None:
            extension = Path(path).suffix
            problem = f"unknown extension {extension}" if extension else "the name has no extension"
            yield f"--{name} {path}: {problem} ({' '.join(EXTENSIONS)}); or give --file_format"
        elif self.delimiter and detect_format(path, self.file_format) in (JSON, JSON_LINES):
            yield f"--delimiter is for delimited files: {path} is JSON"
        elif self.column_names and detect_format(path, self.file_format) in (JSON, JSON_LINES):
            yield f"--column_names is for files without a header: {path} has named fields"

    def _column_problems(self) -> Iterator[str]:
        columns = split_names(self.column_names)
        if len(set(columns)) < len(columns) or "" in columns:
            yield f"--column_names {self.column_names}: give distinct, non-empty names"
        yield from text_format.problems(self.delimiter, self.encoding)
        if self.text_pair_column and not self.text_column:
            yield "--text_pair_column needs --text_column"
        chosen = {name: column for name in self._part(_COLUMN) if (column := getattr(self, name))}
        for name, column in chosen.items():
            if columns and column not in columns:
                yield f"--{name} {column} is not among --column_names {self.column_names}"
        if len(set(chosen.values())) < len(chosen):
            flags = ", ".join(f"--{name}" for name in chosen)
            yield f"{flags} name the same column: give different ones"
