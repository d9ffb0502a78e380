"""The nine GLUE tasks and the AX diagnostic set, each a frozen dataclass.

A task defines its files, the columns with the texts and the label, the names of the labels, the
metrics and the names of its submission files. Files are read in data/tsv.py. Sources: Wang et al.
2018 (arXiv:1804.07461) and the files themselves.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from bert_paddle.common.errors import UserError

# A column: its header name, several possible names, or its index (0-based).
Column = str | tuple[str, ...] | int


@dataclass(frozen=True)
class Columns:
    """Column layout of one split's files; every row has as many fields as the header."""

    text_a: Column
    text_b: Column | None = None
    label: Column | None = None
    header: bool = True
    count: int | None = None  # fields per row, where columns are given by index
    label_optional: bool = False  # read the label only if the file has its column


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
    data files and submissions; both are empty for regression."""

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
    model_task: str = ""  # the task to fine-tune on, if it is not this one (AX: MNLI)
    # (file, rows): numbers of rows in further official releases.
    other_official_rows: tuple[tuple[str, int], ...] = ()

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


ZERO_ONE = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
ACCURACY = ("accuracy",)
ACCURACY_F1 = ("accuracy", "f1")
MATTHEWS = ("matthews_correlation",)
CORRELATIONS = ("pearson", "spearmanr")


def _standard_files(name: str, train: int, dev: int, test: int) -> dict:
    """Folder, train.tsv, dev.tsv, test.tsv with their row counts, and the submission file."""
    return {
        "name": name,
        "folder": name,
        "train": TrainSet("train.tsv", train),
        "dev_sets": (DevSet("dev.tsv", dev),),
        "test_sets": (TestSet("test.tsv", test, f"{name}.tsv"),),
    }


def _header_columns(text_a: str, text_b: str | None, label: str) -> dict:
    """Columns by header name; only train and dev have the label."""
    return {
        "labelled_columns": Columns(text_a, text_b, label),
        "test_columns": Columns(text_a, text_b),
    }


_TASK_LIST = (
    Task(
        **_standard_files("CoLA", 8551, 1043, 1063),
        labels=("unacceptable", "acceptable"),
        file_labels=ZERO_ONE,
        metrics=MATTHEWS,
        primary=PrimaryMetric(MATTHEWS),
        labelled_columns=Columns(text_a=3, label=1, header=False, count=4),
        test_columns=Columns("sentence"),
    ),
    Task(
        **_standard_files("SST-2", 67349, 872, 1821),
        **_header_columns("sentence", None, "label"),
        labels=("negative", "positive"),
        file_labels=ZERO_ONE,
        metrics=ACCURACY,
        primary=PrimaryMetric(ACCURACY),
    ),
    Task(
        **_standard_files("MRPC", 3668, 408, 1725),
        **_header_columns("#1 String", "#2 String", "Quality"),
        labels=("not_equivalent", "equivalent"),
        file_labels=ZERO_ONE,
        metrics=ACCURACY_F1,
        primary=PrimaryMetric(ACCURACY_F1),
    ),
    Task(
        **_standard_files("STS-B", 5749, 1500, 1379),
        labels=(),
        file_labels=(),
        score_range=(0.0, 5.0),
        metrics=CORRELATIONS,
        primary=PrimaryMetric(CORRELATIONS),
        labelled_columns=Columns(text_a=7, text_b=8, label=9, count=10),
        test_columns=Columns(text_a=7, text_b=8, count=9),
    ),
    Task(
        **_standard_files("QQP", 363_846, 40_430, 390_965),
        **_header_columns("question1", "question2", "is_duplicate"),
        # The two published zips differ by three training rows: QQP.zip has 363,849 complete rows
        # (as in TensorFlow Datasets 1.0.0), QQP-clean.zip 363,846.
        other_official_rows=(("train.tsv", 363_849),),
        labels=("not_duplicate", "duplicate"),
        file_labels=ZERO_ONE,
        metrics=ACCURACY_F1,
        primary=PrimaryMetric(ACCURACY_F1),
        skip_short_rows=True,  # a few rows are broken by line feeds in a question
    ),
    Task(
        name="MNLI",
        folder="MNLI",
        **_header_columns("sentence1", "sentence2", "gold_label"),
        train=TrainSet("train.tsv", 392_702),
        dev_sets=(
            DevSet("dev_matched.tsv", 9815, "matched"),
            DevSet("dev_mismatched.tsv", 9832, "mismatched", "_mm"),
        ),
        test_sets=(
            TestSet("test_matched.tsv", 9796, "MNLI-m.tsv"),
            TestSet("test_mismatched.tsv", 9847, "MNLI-mm.tsv"),
        ),
        labels=NLI,
        file_labels=NLI,
        metrics=ACCURACY,
        primary=PrimaryMetric(ACCURACY),
    ),
    Task(
        **_standard_files("QNLI", 104_743, 5463, 5463),
        **_header_columns("question", "sentence", "label"),
        labels=ENTAILMENT,
        file_labels=ENTAILMENT,
        metrics=ACCURACY,
        primary=PrimaryMetric(ACCURACY),
    ),
    Task(
        **_standard_files("RTE", 2490, 277, 3000),
        **_header_columns("sentence1", "sentence2", "label"),
        labels=ENTAILMENT,
        file_labels=ENTAILMENT,
        metrics=ACCURACY,
        primary=PrimaryMetric(ACCURACY),
    ),
    Task(
        **_standard_files("WNLI", 635, 71, 146),
        **_header_columns("sentence1", "sentence2", "label"),
        labels=("not_entailment", "entailment"),
        file_labels=ZERO_ONE,
        metrics=ACCURACY,
        primary=PrimaryMetric(ACCURACY),
    ),
    Task(
        name="AX",
        folder="diagnostic",
        train=None,
        dev_sets=(),
        test_sets=(TestSet("diagnostic.tsv", 1104, "AX.tsv"),),
        labelled_columns=None,
        # The file for submissions has no label; the full release has, under other column names.
        test_columns=Columns(
            text_a=("sentence1", "Premise"),
            text_b=("sentence2", "Hypothesis"),
            label=("gold_label", "Label", "label"),
            label_optional=True,
        ),
        labels=NLI,
        file_labels=NLI,
        metrics=MATTHEWS,
        primary=PrimaryMetric(MATTHEWS),
        model_task="MNLI",
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _TASK_LIST}


def normalize_name(name: str) -> str:
    """The name in lower case without dashes and underscores: "SST-2" and "sst_2" become "sst2"."""
    return name.strip().lower().replace("-", "").replace("_", "")


def get_task(name: str) -> Task:
    """Return the task by its name, in any case and with or without dashes and underscores.

    Raises UserError for an unknown name, with the nearest task names and the full list.
    """
    by_name = {normalize_name(task.name): task for task in _TASK_LIST}
    normalized = normalize_name(name)
    if normalized in by_name:
        return by_name[normalized]
    spellings = by_name | {normalize_name(task.folder): task for task in _TASK_LIST}
    matches = difflib.get_close_matches(normalized, spellings, n=2)  # mnli-mm: no typing mistake
    guesses = " or ".join(dict.fromkeys(spellings[match].name for match in matches))
    hint = f"did you mean {guesses}? " if guesses else ""
    raise UserError(f"unknown task {name!r}; {hint}the tasks are {', '.join(TASKS)}")
