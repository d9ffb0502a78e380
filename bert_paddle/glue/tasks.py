"""The nine GLUE tasks and the AX diagnostic set, each a frozen dataclass (docs/EXTENDING.md: how
to add one).

A task defines its files, the columns with the texts and the label, the names of the labels, the
metrics and the names of its submission files. Files are read in data/tsv.py. Sources: Wang et al.
2018 (arXiv:1804.07461) and the files themselves.
"""

from __future__ import annotations

import difflib

from bert_paddle.common.errors import UserError
from bert_paddle.glue.task_definition import (
    Column,
    Columns,
    DevSet,
    PrimaryMetric,
    Task,
    TestSet,
    TrainSet,
)

__all__ = [  # with what defines a task, so that most modules import only this one
    "GLUE",
    "TASKS",
    "Column",
    "Columns",
    "DevSet",
    "PrimaryMetric",
    "Task",
    "TestSet",
    "TrainSet",
    "get_task",
    "normalize_name",
]

ZERO_ONE = ("0", "1")
ENTAILMENT = ("entailment", "not_entailment")
NLI = ("entailment", "neutral", "contradiction")
ACCURACY = ("accuracy",)
ACCURACY_F1 = ("accuracy", "f1")
MATTHEWS = ("matthews_correlation",)
CORRELATIONS = ("pearson", "spearmanr")


def _standard_files(name: str, train: int, dev: int, test: int, in_glue: bool = True) -> dict:
    """Folder, train.tsv, dev.tsv, test.tsv with their row counts, and the prediction file."""
    return {
        "in_glue": in_glue,
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
        in_glue=True,
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
        in_glue=True,
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
GLUE = tuple(task for task in _TASK_LIST if task.in_glue)


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
