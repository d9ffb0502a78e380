"""What defines a task: one of GLUE's (glue.tasks), or one inferred from files (glue.custom)."""

from __future__ import annotations

from dataclasses import dataclass

from bert_paddle.common.errors import UserError

# A column: its header name, several possible names, or its index (0-based).
Column = str | tuple[str, ...] | int
# What is predicted for a row.
ONE_CLASS, SCORE, LABELS = "one class", "a score", "any number of labels"


@dataclass(frozen=True)
class Columns:
    """Column layout of one split's files; every row has as many fields as the header."""

    text_a: Column
    text_b: Column | None = None
    label: Column | None = None
    header: bool = True
    count: int | None = None  # fields per row, where columns are given by index
    label_optional: bool = False  # read the label only if the file has its column
    label_columns: tuple[str, ...] = ()  # one for each label, with 0 or 1, instead of `label`
    separator: str | None = None  # between the labels in `label`


@dataclass(frozen=True)
class TrainSet:
    """Training file and its official number of rows."""

    file: str
    rows: int


@dataclass(frozen=True)
class DevSet:
    """A dev file and its official number of rows; `name` is shown in its log line, and `suffix` is
    appended to its keys in all_results.json."""

    file: str
    rows: int
    name: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class TestSet:
    """A test file, its official number of rows, and the name of its prediction file."""

    __test__ = False  # else pytest would collect the class, because of its name

    file: str
    rows: int
    submission: str
    custom: bool = False  # a user's file: predictions are written with class names


@dataclass(frozen=True)
class PrimaryMetric:
    """What selects the best step: the mean of these metrics on the first dev set."""

    names: tuple[str, ...]
    higher_is_better: bool = True


@dataclass(frozen=True)
class Task:
    """One task. `labels[i]` is the class name in a model's config, `file_labels[i]` its spelling in
    data files and submissions; both are empty for regression.

    With `multi_label`, any number of the labels is true of a row; label i is predicted where its
    probability is at least `thresholds[i]`."""

    name: str
    folder: str
    labels: tuple[str, ...]
    file_labels: tuple[str, ...]
    metrics: tuple[str, ...]
    primary: PrimaryMetric
    train: TrainSet | None
    dev_sets: tuple[DevSet, ...]
    test_sets: tuple[TestSet, ...]
    labelled_columns: Columns | None  # of the training and dev files
    test_columns: Columns
    score_range: tuple[float, float] | None = None  # regression: lowest and highest score
    skip_short_rows: bool = False  # in training and dev files, skip rows with too few fields
    in_glue: bool = False  # one of the benchmark's, whose test sets its server scores
    model_task: str = ""  # the task to fine-tune on, if it is not this one (AX: MNLI)
    # (file, rows): numbers of rows in further official releases.
    other_official_rows: tuple[tuple[str, int], ...] = ()
    multi_label: bool = False
    thresholds: tuple[float, ...] = ()

    @property
    def has_classes(self) -> bool:
        """Whether exactly one class is predicted for each row."""
        return bool(self.labels) and not self.multi_label

    @property
    def output(self) -> str:
        """What is predicted for a row: ONE_CLASS, SCORE or LABELS."""
        if self.multi_label:
            return LABELS
        return ONE_CLASS if self.labels else SCORE

    @property
    def is_regression(self) -> bool:
        """Whether a real-valued score is predicted (STS-B)."""
        return self.score_range is not None

    @property
    def is_pair(self) -> bool:
        """Whether an example has two texts."""
        return self.test_columns.text_b is not None

    @property
    def submission_labels(self) -> tuple[str, ...]:
        """Label strings of a submission, by label index."""
        return self.file_labels

    @property
    def train_file(self) -> str | None:
        """Name of the training file; None for AX, which has none."""
        return self.train.file if self.train else None

    def columns(self, split: str) -> Columns | None:
        """Layout of a split's files ("train", "dev" or "test"); None if there is no such file.

        Raises UserError for any other split name.
        """
        if split in ("train", "dev"):
            return self.labelled_columns
        if split == "test":
            return self.test_columns
        raise UserError(f"unknown split {split!r}: choose from train, dev, test")

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files of the task, training file first."""
        names = [self.train.file] if self.train else []
        names += [dev.file for dev in self.dev_sets]
        return (*names, *(test.file for test in self.test_sets))

    def official_rows(self, file: str) -> tuple[int, ...]:
        """Numbers of rows of a file in its official releases; empty for a file of another task."""
        counts = [(self.train.file, self.train.rows)] if self.train else []
        counts += [(dev.file, dev.rows) for dev in self.dev_sets]
        counts += [(test.file, test.rows) for test in self.test_sets]
        counts += self.other_official_rows
        return tuple(rows for name, rows in counts if name == file)
