"""Infer a task from a user's files: its name, its classes (or regression) and its metrics."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_paddle.common import limits
from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import custom_args, label_args
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.custom.columns import ChosenColumns
from bert_paddle.glue.custom.label_values import (
    MISSING_WORDS,
    differing_in_case,
    normalize_label,
)
from bert_paddle.glue.data import tsv
from bert_paddle.glue.metrics import LOSS, higher_is_better
from bert_paddle.glue.tasks import (
    CORRELATIONS,
    MATTHEWS,
    TASKS,
    Columns,
    PrimaryMetric,
    Task,
    normalize_name,
)

_ANY_SCORE = (-math.inf, math.inf)  # the score range of a regression task on a user's data
_MAX_NAMED = 3
# Words that say nothing about the task, to remove from file names such as train_reviews.csv.
_GENERIC_WORDS = re.compile(
    r"(?<![a-z0-9])(train|training|data|dataset)(?![a-z0-9])", re.IGNORECASE
)


@dataclass
class LabelColumn:
    """The labels of a file as normalized text, "" where missing.

    numbers: the number of each row. location(number): the file and the row, for messages.
    """

    texts: list[str]
    numbers: list[int]
    location: Callable[[int], str]
    path: str


def infer_labels(column: LabelColumn, args: GlueArgs, log: RunLog) -> tuple[str, ...]:
    """The class names of the training rows, in order; () for regression.

    --labels and --regression take precedence. Otherwise, if all labels are integers they are
    classes in numeric order; if all are numbers, some with decimals, they are scores; else they
    are classes in alphabetical order. Raises DataError for a single class and for rows without a
    label.
    """
    if args.regression:
        return ()
    if args.labels:
        listed = listed_classes(args.labels)
        for name in listed:
            if name not in column.texts:
                log.warning(f"{column.path}: no row of class {name}, which is in --labels")
        return listed
    _check_labels(column, [bool(text) for text in column.texts], "a class or a number")
    distinct = set(column.texts)
    if all(map(tsv.is_number, distinct)):
        if not all(math.isfinite(float(name)) and float(name).is_integer() for name in distinct):
            log.note(
                f"{column.path}: labels are numbers with decimals: regression (give --labels "
                "to use them as classes)"
            )
            return ()
        labels = tuple(sorted(distinct, key=float))
    else:
        labels = tuple(sorted(distinct))
    limits.check("CLASSES", len(labels), column.path)
    if len(labels) == 1:
        raise DataError(
            f"{column.path}: all {len(column.texts)} rows have the label {labels[0]}: there is "
            "nothing to learn (is it the right --label_column?)"
        )
    if unprintable := [name for name in labels if not name.isprintable()]:
        location = column.location(column.numbers[column.texts.index(unprintable[0])])
        raise DataError(
            f"{location}: the label {unprintable[0]!r} cannot be a class name (not printable)"
        )
    if len(labels) > max(20, len(column.texts) // 10):
        log.warning(
            f"{column.path}: {len(labels)} classes in {len(column.texts)} rows: give "
            "--regression if the labels are scores; otherwise check --label_column"
        )
    else:
        warn_unusual_classes(column, labels, log)
    return labels


def listed_classes(flag: str) -> tuple[str, ...]:
    """The classes in --labels, as labels are read from data files. Raises DataError for names that
    are the same label, and for one that means a missing label."""
    names = custom_args.split_names(flag)
    listed = tuple(normalize_label(name) for name in names)
    for i, label in enumerate(listed):
        if not label:
            raise DataError(f"--labels {flag}: {names[i]} is read as a missing label")
        if label in listed[:i]:
            first = names[listed.index(label)]
            raise DataError(f"--labels {flag}: {first} and {names[i]} are the same label, {label}")
    return listed


def unnamed_classes(outputs: int) -> tuple[str, ...]:
    """The classes of a model that does not name them; () for a regression, with one output."""
    return tuple(f"LABEL_{i}" for i in range(outputs)) if outputs > 1 else ()


def warn_unusual_classes(column: LabelColumn, labels: Sequence[str], log: RunLog) -> None:
    """Tell of classes that may be mistakes: of a single row, or equal but for their case, or words
    for a missing value."""
    counts = Counter(column.texts)
    single = [name for name in labels if counts[name] == 1]
    if single:
        listed = [
            f"{tsv.quote_value(name)} ({column.location(column.numbers[column.texts.index(name)])})"
            for name in single[:_MAX_NAMED]
        ]
        more = f" and {len(single) - _MAX_NAMED} more" if len(single) > _MAX_NAMED else ""
        log.warning(f"{column.path}: only one row has the label {', '.join(listed)}{more}")
    for first, second in differing_in_case(labels)[:_MAX_NAMED]:
        log.warning(
            f"{column.path}: the labels {first!r} and {second!r} differ only in case: they are two "
            "classes"
        )
    for name in labels:
        if name in MISSING_WORDS:
            log.warning(
                f"{column.path}: {counts[name]} row(s) have the label {name!r}, which is a class: "
                "remove them if their label is missing (or name the classes in --labels)"
            )


def encode_labels(column: LabelColumn, task: Task) -> np.ndarray:
    """The labels as int64 [n], indices into `task.labels`, or for regression float32 [n], scores.

    A class may be spelled as in `task.file_labels` or in `task.labels`. Raises DataError, naming a
    row, for a label that the task does not have.
    """
    if task.is_regression:
        low, high = task.score_range or _ANY_SCORE
        valid = [
            tsv.is_number(text) and math.isfinite(float(text)) and low <= float(text) <= high
            for text in column.texts
        ]
        within = "" if math.isinf(high) else f" from {low:g} to {high:g}"
        _check_labels(column, valid, f"a number{within}")
        return np.array([float(text) for text in column.texts], dtype=np.float32)
    index = label_indices(task)
    names = list(dict.fromkeys(task.file_labels))
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    _check_labels(column, [text in index for text in column.texts], f"one of {listed}")
    return np.array([index[text] for text in column.texts], dtype=np.int64)


def label_indices(task: Task) -> dict[str, int]:
    """Accepted spelling of a class -> its index. Raises DataError if two classes are the same label
    in a data file, such as "1" and "1.0"."""
    index: dict[str, int] = {}
    for names in (task.labels, task.file_labels):
        for i, name in enumerate(names):
            label = normalize_label(name)
            if label and index.setdefault(label, i) != i:
                raise DataError(
                    f"the model's classes {names[index[label]]!r} and {name!r} are the same label "
                    f"in a data file ({label!r}): rename one in its config.json (id2label)"
                )
    return index


def _check_labels(column: LabelColumn, valid: Sequence[bool], expected: str) -> None:
    """Raise DataError unless all labels are valid. valid: per row; expected: for the message."""
    if not all(valid):
        locations = [
            column.location(n) for n, ok in zip(column.numbers, valid, strict=True) if not ok
        ]
        raise tsv.label_error(locations, column.texts[list(valid).index(False)], expected)


def make_task(
    name: str,
    labels: tuple[str, ...],
    columns: ChosenColumns,
    metric: str | None,
    file_labels: tuple[str, ...] | None = None,
    thresholds: tuple[float, ...] = (),
) -> Task:
    """A task, still without files, for these classes (none: regression) and columns.

    metric: the value of --metric, or None. file_labels: the classes as spelled in the files, if not
    by their names. thresholds: of labels of which any number is true of a row; () for one class per
    row. Raises DataError if the metric is not for such labels.
    """
    computed, primary = choose_metrics(labels, metric, bool(thresholds))
    layout = Columns(
        columns.text,
        columns.pair,
        columns.label,
        label_columns=columns.label_columns,
        separator=columns.separator,
    )
    return Task(
        name=name,
        folder="",
        labels=labels,
        file_labels=file_labels or labels,
        metrics=computed,
        primary=primary,
        train=None,
        dev_sets=(),
        test_sets=(),
        labelled_columns=layout,
        test_columns=Columns(columns.text, columns.pair),
        score_range=None if labels else _ANY_SCORE,
        multi_label=bool(thresholds),
        thresholds=thresholds,
    )


def choose_metrics(
    labels: tuple[str, ...], metric: str | None, multi_label: bool = False
) -> tuple[tuple[str, ...], PrimaryMetric]:
    """The metrics for these classes (none: regression), and the one that selects the best step.
    multi_label: whether any number of them is true of a row.

    Raises DataError if the --metric is not for such labels.
    """
    available = label_args.CLASSIFICATION_METRICS if labels else label_args.REGRESSION_METRICS
    if multi_label:
        available = label_args.MULTI_LABEL_METRICS
    if metric is not None and metric not in available:
        label_type = "classes" if labels else "numbers"
        label_type = "several for a row" if multi_label else label_type
        raise DataError(
            f"--metric {metric}: the labels are {label_type}: choose from {', '.join(available)}"
        )
    if metric == "f1" and len(labels) > 2:
        raise DataError(
            f"--metric f1 is for two classes, and there are {len(labels)}: give f1_macro"
        )
    if not labels:
        chosen = CORRELATIONS if metric is None else (available[metric],)
        names = ("pearson", "spearmanr", "mse", *chosen)
    elif multi_label:
        chosen = (available[metric or "f1_micro"],)
        names = (*available.values(), *chosen)
    else:
        chosen = (available[metric or "accuracy"],)
        names = ("accuracy", "f1" if len(labels) == 2 else "f1_macro", *MATTHEWS, *chosen)
    computed = tuple(name for name in dict.fromkeys(names) if name != LOSS)
    return computed, PrimaryMetric(chosen, higher_is_better(chosen[0]))


def task_name(path: str) -> str:
    """A task's name, from the training file's name or, if that is generic (train.csv), from its
    folder's; "own" if both are generic. Never the name of a GLUE task.
    """
    file = Path(path).resolve()
    for text in (file.stem, file.parent.name):
        name = _GENERIC_WORDS.sub(" ", text.replace("_", " "))
        name = re.sub(r"[^\w.-]+", "_", name.strip()).strip("_.-")
        if name and normalize_name(name) not in {normalize_name(task) for task in TASKS}:
            return name[:60]
    return "own"
