"""A task of a user's own, made from the labels of its rows: classes or scores, and metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import custom_args
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.custom.columns import ChosenColumns, plain_label
from bert_paddle.glue.data import tsv
from bert_paddle.glue.tasks import CORRELATIONS, TASKS, Columns, Primary, Task, plain

ANY_SCORE = (-math.inf, math.inf)
_SAYS_NOTHING = re.compile(r"(?<![a-z0-9])(train|training|data|dataset)(?![a-z0-9])", re.IGNORECASE)


@dataclass
class LabelColumn:
    """The labels of a file as text, "" where a row has none; each row's number, and how `place`
    says where a row of that number stands."""

    texts: list[str]
    numbers: list[int]
    place: Callable[[int], str]
    path: str


def learn(found: LabelColumn, args: GlueArgs, log: RunLog) -> tuple[str, ...]:
    """The names of the classes, in order, of the training rows; none for a regression.

    --labels and --regression decide; else whole numbers and words are classes (numbers in numeric
    order, words in alphabetic order) and numbers of which some have decimals are scores. Raises
    DataError for a single class and for rows without a label.
    """
    if args.regression:
        return ()
    if args.labels:
        listed = tuple(plain_label(name) for name in custom_args.names(args.labels))
        for name in listed:
            if name not in found.texts:
                log.warning(f"{found.path}: no row of class {name}, which --labels names")
        return listed
    _refuse(found, [bool(text) for text in found.texts], "a class or a number")
    distinct = set(found.texts)
    if all(map(tsv.is_number, distinct)):
        if not all(math.isfinite(float(name)) and float(name).is_integer() for name in distinct):
            log.note(
                f"{found.path}: labels are numbers with decimals: a regression (--labels makes "
                "them classes)"
            )
            return ()
        labels = tuple(sorted(distinct, key=float))
    else:
        labels = tuple(sorted(distinct))
    if len(labels) == 1:
        raise DataError(
            f"{found.path}: all {len(found.texts)} rows are of one class, {labels[0]}: there is "
            "nothing to learn (is it the right --label_column?)"
        )
    if unprintable := [name for name in labels if not name.isprintable()]:
        place = found.place(found.numbers[found.texts.index(unprintable[0])])
        raise DataError(f"{place}: the label {unprintable[0]!r} cannot be a class's name")
    if len(labels) > max(20, len(found.texts) // 10):
        log.warning(
            f"{found.path}: {len(labels)} classes in {len(found.texts)} rows: if the labels are "
            "scores give --regression; if not, is it the right --label_column?"
        )
    return labels


def values(found: LabelColumn, task: Task) -> np.ndarray:
    """The labels as int64 [n], indices into `task.labels`, or float32 [n], scores.

    A class may be spelled as the task's files do or by its name. Raises DataError, naming the
    rows, for a label that is none of the task's.
    """
    if task.is_regression:
        low, high = task.score_range or ANY_SCORE
        good = [
            tsv.is_number(text) and math.isfinite(float(text)) and low <= float(text) <= high
            for text in found.texts
        ]
        within = "" if math.isinf(high) else f" from {low:g} to {high:g}"
        _refuse(found, good, f"a number{within}")
        return np.array([float(text) for text in found.texts], dtype=np.float32)
    index = indices(task)
    shown = list(dict.fromkeys(task.file_labels))
    few = ", ".join(shown[:20]) + (", ..." if len(shown) > 20 else "")
    _refuse(found, [text in index for text in found.texts], f"one of {few}")
    return np.array([index[text] for text in found.texts], dtype=np.int64)


def indices(task: Task) -> dict[str, int]:
    """Every spelling of a class, and its index."""
    return {
        text: i
        for names in (task.labels, task.file_labels)
        for i, name in enumerate(names)
        for text in (name, plain_label(name))
    }


def _refuse(found: LabelColumn, good: Sequence[bool], expected: str) -> None:
    if not all(good):
        bad = [found.place(n) for n, ok in zip(found.numbers, good, strict=True) if not ok]
        raise tsv.bad_labels(bad, found.texts[list(good).index(False)], expected)


def make(name: str, labels: tuple[str, ...], columns: ChosenColumns, metric: str | None) -> Task:
    """The task of data with these classes (none: a regression) and columns.

    metric: as --metric names it, or None. Raises DataError for one of the other kind.
    """
    computed, primary = metrics(labels, metric)
    layout = Columns(columns.text, columns.pair, columns.label)
    return Task(
        name=name,
        folder="",
        labels=labels,
        file_labels=labels,
        metrics=computed,
        primary=primary,
        train=None,
        dev_sets=(),
        test_sets=(),
        labelled_columns=layout,
        test_columns=Columns(columns.text, columns.pair),
        score_range=None if labels else ANY_SCORE,
    )


def metrics(labels: tuple[str, ...], metric: str | None) -> tuple[tuple[str, ...], Primary]:
    """What is computed of these classes (none: a regression), and what the best step is chosen by.

    Raises DataError for a --metric of the other kind.
    """
    kinds = custom_args.CLASS_METRICS if labels else custom_args.SCORE_METRICS
    if metric is not None and metric not in kinds:
        kind = "classes" if labels else "numbers"
        raise DataError(f"--metric {metric}: the labels are {kind}, which have {', '.join(kinds)}")
    if metric == "f1" and len(labels) > 2:
        raise DataError(f"--metric f1 is for two classes, and there are {len(labels)}: f1_macro")
    if not labels:
        scores = ("pearson", "spearmanr", "mse")
        chosen = CORRELATIONS if metric is None else (kinds[metric],)
        return scores, Primary(chosen, higher_is_better=metric != "mse")
    f1 = "f1" if len(labels) == 2 else "f1_macro"
    wanted = kinds[metric or "accuracy"]
    computed = tuple(dict.fromkeys(("accuracy", f1, "matthews_correlation", wanted)))
    return computed, Primary((wanted,))


def name_of(path: str) -> str:
    """A task's name from its training file: the file's or, where that says nothing, the folder's.

    Never the name of a GLUE task, which this is not.
    """
    file = Path(path).resolve()
    for text in (file.stem, file.parent.name):
        name = _SAYS_NOTHING.sub(" ", text.replace("_", " "))
        name = re.sub(r"[^\w.-]+", "_", name.strip()).strip("_.-")
        if name and plain(name) not in {plain(known) for known in TASKS}:
            return name[:60]
    return "own"
