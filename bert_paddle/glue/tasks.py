"""The nine GLUE tasks and the AX diagnostic set, each a frozen row of data.

A row says which files a task has, where the texts and the label stand in them, what the labels are
called, how results are scored and what the submission file is named. Nothing here reads a file;
`readers` follows the rows. Sources: Wang et al. 2018 (arXiv:1804.07461) and the files themselves.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from bert_paddle.common.errors import UserError

# Where a field stands: a header name, several names of which a file has one, or a position from 0.
Column = str | tuple[str, ...] | int


@dataclass(frozen=True)
class Columns:
    """Layout of one split's files; all rows of a file have as many fields as its header."""

    text_a: Column
    text_b: Column | None = None
    label: Column | None = None
    header: bool = True
    count: int | None = None  # fields in a row, where positions are used
    label_optional: bool = False  # read the label where the file has one, do without it elsewhere


@dataclass(frozen=True)
class TrainSet:
    """Training file and its official number of rows."""

    file: str
    rows: int


@dataclass(frozen=True)
class DevSet:
    """A dev file; `name` tells two apart in a log line, `suffix` in the keys of the results."""

    file: str
    rows: int
    name: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class TestSet:
    """A test file, and the file its predictions go to in a submission."""

    __test__ = False  # not for pytest, which collects by this prefix

    file: str
    rows: int
    submission: str
    own: bool = False  # a user's file: its predictions have the classes' names


@dataclass(frozen=True)
class Primary:
    """What the best step is chosen by: the mean of the named metrics, on the first dev set."""

    names: tuple[str, ...]
    higher_is_better: bool = True


@dataclass(frozen=True)
class Task:
    """One task. `labels[i]` is the name stored in a model's config, `file_labels[i]` the same label
    as data files and submissions spell it; both are empty for regression."""

    name: str
    folder: str
    labels: tuple[str, ...]
    file_labels: tuple[str, ...]
    metrics: tuple[str, ...]
    primary: Primary
    train: TrainSet | None
    dev_sets: tuple[DevSet, ...]
    test_sets: tuple[TestSet, ...]
    labelled_columns: Columns | None  # of train and dev
    test_columns: Columns
    score_range: tuple[float, float] | None = None  # regression: the scale of the scores
    skip_short_rows: bool = False  # in train and dev
    model_task: str = ""  # the task whose model answers this one; "" for the task itself
    other_official_rows: tuple[tuple[str, int], ...] = ()

    @property
    def is_regression(self) -> bool:
        """True where a real-valued score is predicted (STS-B)."""
        return self.score_range is not None

    @property
    def is_pair(self) -> bool:
        """True where an example has two texts."""
        return self.test_columns.text_b is not None

    @property
    def submission_labels(self) -> tuple[str, ...]:
        """Label strings of a submission, by label index: 0/1 where the files have 0/1."""
        return self.file_labels

    @property
    def train_file(self) -> str | None:
        """Name of the training file; None for AX, which has none."""
        return self.train.file if self.train else None

    def columns(self, split: str) -> Columns | None:
        """Layout of a split's files ("train", "dev" or "test"); None where there is no such file.

        Raises UserError for any other split name.
        """
        if split in ("train", "dev"):
            return self.labelled_columns
        if split == "test":
            return self.test_columns
        raise UserError(f"unknown split {split!r}; there are train, dev and test")

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files of the task, training file first."""
        names = [self.train.file] if self.train else []
        names += [dev.file for dev in self.dev_sets]
        return (*names, *(test.file for test in self.test_sets))

    def official_rows(self, file: str) -> tuple[int, ...]:
        """Row counts the official releases of a file have; empty for a file not of this task."""
        known = [(self.train.file, self.train.rows)] if self.train else []
        known += [(dev.file, dev.rows) for dev in self.dev_sets]
        known += [(test.file, test.rows) for test in self.test_sets]
        return tuple(rows for name, rows in (*known, *self.other_official_rows) if name == file)


ZERO_ONE = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
ACCURACY = ("accuracy",)
ACCURACY_F1 = ("accuracy", "f1")
MATTHEWS = ("matthews_correlation",)
CORRELATIONS = ("pearson", "spearmanr")


def _three_files(name: str, train: int, dev: int, test: int) -> dict:
    """train.tsv, dev.tsv, test.tsv and `<name>.tsv` for the submission, with their row counts."""
    return {
        "name": name,
        "folder": name,
        "train": TrainSet("train.tsv", train),
        "dev_sets": (DevSet("dev.tsv", dev),),
        "test_sets": (TestSet("test.tsv", test, f"{name}.tsv"),),
    }


def _texts(text_a: str, text_b: str | None, label: str) -> dict:
    """Columns by header name, the label in train and dev only."""
    return {
        "labelled_columns": Columns(text_a, text_b, label),
        "test_columns": Columns(text_a, text_b),
    }


_ROWS = (
    Task(
        **_three_files("CoLA", 8551, 1043, 1063),
        labels=("unacceptable", "acceptable"),
        file_labels=ZERO_ONE,
        metrics=MATTHEWS,
        primary=Primary(MATTHEWS),
        labelled_columns=Columns(text_a=3, label=1, header=False, count=4),
        test_columns=Columns("sentence"),
    ),
    Task(
        **_three_files("SST-2", 67349, 872, 1821),
        **_texts("sentence", None, "label"),
        labels=("negative", "positive"),
        file_labels=ZERO_ONE,
        metrics=ACCURACY,
        primary=Primary(ACCURACY),
    ),
    Task(
        **_three_files("MRPC", 3668, 408, 1725),
        **_texts("#1 String", "#2 String", "Quality"),
        labels=("not_equivalent", "equivalent"),
        file_labels=ZERO_ONE,
        metrics=ACCURACY_F1,
        primary=Primary(ACCURACY_F1),
    ),
    Task(
        **_three_files("STS-B", 5749, 1500, 1379),
        labels=(),
        file_labels=(),
        score_range=(0.0, 5.0),
        metrics=CORRELATIONS,
        primary=Primary(CORRELATIONS),
        labelled_columns=Columns(text_a=7, text_b=8, label=9, count=10),
        test_columns=Columns(text_a=7, text_b=8, count=9),
    ),
    Task(
        **_three_files("QQP", 363_846, 40_430, 390_965),
        **_texts("question1", "question2", "is_duplicate"),
        # The two published zips differ by three training rows: QQP.zip has 363,849 whole rows (as
        # TensorFlow Datasets 1.0.0 counts them), QQP-clean.zip 363,846.
        other_official_rows=(("train.tsv", 363_849),),
        labels=("not_duplicate", "duplicate"),
        file_labels=ZERO_ONE,
        metrics=ACCURACY_F1,
        primary=Primary(ACCURACY_F1),
        skip_short_rows=True,  # line breaks inside a few questions tore their rows in two
    ),
    Task(
        name="MNLI",
        folder="MNLI",
        **_texts("sentence1", "sentence2", "gold_label"),
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
        primary=Primary(ACCURACY),
    ),
    Task(
        **_three_files("QNLI", 104_743, 5463, 5463),
        **_texts("question", "sentence", "label"),
        labels=ENTAILMENT,
        file_labels=ENTAILMENT,
        metrics=ACCURACY,
        primary=Primary(ACCURACY),
    ),
    Task(
        **_three_files("RTE", 2490, 277, 3000),
        **_texts("sentence1", "sentence2", "label"),
        labels=ENTAILMENT,
        file_labels=ENTAILMENT,
        metrics=ACCURACY,
        primary=Primary(ACCURACY),
    ),
    Task(
        **_three_files("WNLI", 635, 71, 146),
        **_texts("sentence1", "sentence2", "label"),
        labels=("not_entailment", "entailment"),
        file_labels=ZERO_ONE,
        metrics=ACCURACY,
        primary=Primary(ACCURACY),
    ),
    Task(
        name="AX",
        folder="diagnostic",
        train=None,
        dev_sets=(),
        test_sets=(TestSet("diagnostic.tsv", 1104, "AX.tsv"),),
        labelled_columns=None,
        # The file given out for submissions has no label; the full release names its columns
        # otherwise and has one.
        test_columns=Columns(
            text_a=("sentence1", "Premise"),
            text_b=("sentence2", "Hypothesis"),
            label=("gold_label", "Label", "label"),
            label_optional=True,
        ),
        labels=NLI,
        file_labels=NLI,
        metrics=MATTHEWS,
        primary=Primary(MATTHEWS),
        model_task="MNLI",
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ROWS}


def plain(name: str) -> str:
    """A name without case, dashes, underscores: "SST-2", "sst2" and "sst_2" become "sst2"."""
    return name.strip().lower().replace("-", "").replace("_", "")


def get_task(name: str) -> Task:
    """Return the task of that name, in any case and with or without dashes and underscores.

    Raises UserError for an unknown name, with the nearest known ones and the whole list.
    """
    by_name = {plain(task.name): task for task in _ROWS}
    wanted = plain(name)
    if wanted in by_name:
        return by_name[wanted]
    spellings = by_name | {plain(task.folder): task for task in _ROWS}
    near = difflib.get_close_matches(wanted, spellings, n=2, cutoff=0.6)
    guesses = " or ".join(dict.fromkeys(spellings[match].name for match in near))
    hint = f"did you mean {guesses}? " if guesses else ""
    raise UserError(f"unknown task {name!r}; {hint}the tasks are {', '.join(TASKS)}")
