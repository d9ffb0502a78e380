"""A user's own files in place of a GLUE task's, or as the test set of one: docs/OWN_DATA.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import custom_args
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.custom import columns as custom_columns
from bert_paddle.glue.custom import files as custom_files
from bert_paddle.glue.custom import task as custom_task
from bert_paddle.glue.custom.columns import ChosenColumns
from bert_paddle.glue.custom.task import LabelColumn
from bert_paddle.glue.data.load import RawData
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.tasks import TASKS, DevSet, Task, TestSet, TrainSet
from bert_paddle.models import model_config
from bert_paddle.models.model_config import ModelConfig

_IN_CONFIG = "own_data"  # what a saved model's config.json calls the columns
_SPLIT = 0x5B117  # keeps the split's random numbers apart from the data order's


@dataclass
class Content:
    """A file's texts, its labels as they are spelled (None: it has none), and its columns."""

    texts_a: list[str]
    texts_b: list[str] | None
    labelled: LabelColumn | None
    columns: ChosenColumns
    path: str

    def examples(self, task: Task) -> Examples:
        """The rows for a task. Raises DataError for a label that the task has not."""
        labels = None if self.labelled is None else custom_task.values(self.labelled, task)
        return Examples(self.texts_a, self.texts_b, labels, self.path)


@dataclass(frozen=True)
class SavedTask:
    """What a fine-tuned model's folder says of its task; of a model that is to be trained anew,
    nothing. labels: as a Task has them, None where unknown. pairs: None where unknown."""

    name: str = "own"
    labels: tuple[str, ...] | None = None
    columns: ChosenColumns | None = None
    pairs: bool | None = None
    glue: Task | None = None


def read(args: GlueArgs, config: ModelConfig, log: RunLog) -> tuple[Task, RawData]:
    """The task that the flags' files make, and their rows.

    In a training the classes come from the training file; else they are the model's. Raises
    DataError for a file that does not fit.
    """
    known = SavedTask() if args.do_train else known_of(config)
    files, task = RawData(own=True), None
    if args.do_train or (args.do_eval and not args.validation_file):
        assert args.train_file
        content = load(args.train_file, args, known, log)
        known = replace(known, columns=content.columns, pairs=content.columns.pair is not None)
        if args.do_train:
            assert content.labelled
            labels = custom_task.learn(content.labelled, args, log)
            known = replace(known, name=custom_task.name_of(args.train_file), labels=labels)
        task = _task(known, args, log)
        rest, held = split(content.examples(task), args.dev_share(), args.seed)
        files.train = rest if args.do_train else None
        if args.do_eval and held is not None:
            files.dev = [(DevSet(Path(content.path).name, len(held)), held)]
    if args.do_eval and args.validation_file:
        content = load(args.validation_file, args, known, log)
        known = replace(known, columns=content.columns, pairs=content.columns.pair is not None)
        task = task or _task(known, args, log)
        examples = content.examples(task)
        files.dev = [(DevSet(Path(content.path).name, len(examples)), examples)]
    if args.do_predict:
        task = _add_test(task, known, args, files, log)
    assert task is not None
    return _with_files(task, files), files


def add_test(task: Task, args: GlueArgs, files: RawData, log: RunLog) -> None:
    """Add --test_file to a GLUE task's files, as what is to be predicted."""
    known = SavedTask(task.name, task.labels, _columns_of(task), task.is_pair, task)
    _add_test(task, known, args, files, log)


def remembered(task: Task) -> dict[str, Any]:
    """What a saved model's config.json says so that a file like the training file can be read."""
    layout = task.labelled_columns
    assert layout
    return {_IN_CONFIG: {"text": layout.text_a, "pair": layout.text_b, "label": layout.label}}


def split(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples | None]:
    """The rows without a share drawn by `seed`, and those of the share (at least one row); both in
    the order of the file. No share, or a single row: all of them, and None."""
    count = min(math.ceil(share * len(examples) - 1e-9), len(examples) - 1)
    if count < 1:
        return examples, None
    order = np.random.default_rng([_SPLIT, seed]).permutation(len(examples))
    held = np.sort(order[:count])
    rest = np.sort(order[count:])
    return _rows(examples, rest, "without those held out"), _rows(examples, held, "held out")


def _rows(examples: Examples, rows: np.ndarray, what: str) -> Examples:
    second, labels = examples.texts_b, examples.labels
    return Examples(
        [examples.texts_a[i] for i in rows],
        None if second is None else [second[i] for i in rows],
        None if labels is None else labels[rows],
        f"{examples.source} ({what})",
    )


def load(
    path: str, args: GlueArgs, known: SavedTask, log: RunLog, need_label: bool = True
) -> Content:
    """Read one file; says which of its columns are taken."""
    table = custom_files.read(path, args.file_format, custom_args.names(args.column_names))
    given = (args.text_column, args.text_pair_column, args.label_column)
    columns = custom_columns.choose(table, given, known.columns, known.pairs, need_label)
    texts: list[list[str]] = [[] for _ in columns.texts]
    labelled = LabelColumn([], [], table.place, path)
    empty = 0
    for number, row in table.rows:
        for values, column in zip(texts, columns.texts, strict=True):
            values.append(custom_columns.text_value(row, column, table, number))
        empty += not all(values[-1].strip() for values in texts)
        if columns.label is not None:
            labelled.texts.append(custom_columns.label_value(row, columns.label, table, number))
            labelled.numbers.append(number)
    log.note(f"data: {path}: {len(texts[0])} rows, {columns.told()}")
    if empty:
        log.warning(f"{path}: {empty} row(s) have an empty text")
    second = texts[1] if len(texts) > 1 else None
    return Content(texts[0], second, labelled if columns.label else None, columns, path)


def _task(known: SavedTask, args: GlueArgs, log: RunLog) -> Task:
    """The task of a run without --task_name."""
    assert known.columns
    labels = known.labels
    if not args.do_train:
        if args.labels:
            labels = custom_args.names(args.labels)
        elif args.regression:
            labels = ()
        elif known.glue:
            if args.metric is None:
                return known.glue
            computed, primary = custom_task.metrics(known.glue.labels, args.metric)
            return replace(known.glue, metrics=computed, primary=primary)
    # Two classes without names are what a configuration that names none stands for.
    labels = ("LABEL_0", "LABEL_1") if labels is None else labels
    task = custom_task.make(known.name, labels, known.columns, args.metric)
    if not labels:
        log.note("labels: numbers (a regression)")
    else:
        few = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
        f1 = f"; f1 is that of {labels[1]}" if len(labels) == 2 else ""
        log.note(f"labels: {len(labels)} classes: {few}{f1}")
    return task


def _add_test(
    task: Task | None, known: SavedTask, args: GlueArgs, files: RawData, log: RunLog
) -> Task:
    assert args.test_file
    content = load(args.test_file, args, known, log, need_label=False)
    known = replace(known, columns=content.columns)
    task = task or _task(known, args, log)
    content.labelled = _test_labels(content, task, args, log)
    name = Path(args.test_file)
    test_set = TestSet(name.name, len(content.texts_a), f"{name.stem}.tsv", own=True)
    files.test.append((task, test_set, content.examples(task)))
    return task


def _test_labels(content: Content, task: Task, args: GlueArgs, log: RunLog) -> LabelColumn | None:
    """The labels of a test file, or None where they are blanks, or -1 as in published test sets,
    or where the column was guessed, wrongly."""
    found = content.labelled
    if found is None:
        return None
    distinct, index = set(found.texts), custom_task.indices(task)
    if distinct in ({""}, {"-1"}) and not distinct & index.keys():
        log.note(f"{found.path}: no label is given ({distinct.pop() or 'all blank'}): not scored")
        return None
    if args.label_column is None and index and not distinct & index.keys():
        log.warning(
            f"{found.path}: no value of {content.columns.label!r} is a class of the model: not "
            "scored (--label_column names the label)"
        )
        return None
    return found


def _with_files(task: Task, files: RawData) -> Task:
    """The task with the sets that there are."""
    if task.name in TASKS:
        return task
    return replace(
        task,
        train=TrainSet(Path(files.train.source).name, len(files.train)) if files.train else None,
        dev_sets=tuple(dev for dev, _ in files.dev),
        test_sets=tuple(test for _, test, _ in files.test),
    )


def known_of(config: ModelConfig) -> SavedTask:
    """What the configuration of a fine-tuned model says."""
    raw = model_config.read_object(config.path)
    labels = config.values["labels"]
    if labels is not None and len(labels) == 1 or raw.get("problem_type") == "regression":
        labels = ()
    glue = TASKS.get(str(raw.get("finetuning_task")))
    if glue and labels == glue.labels:
        return SavedTask(glue.name, labels, _columns_of(glue), glue.is_pair, glue)
    columns = _columns_in(raw.get(_IN_CONFIG))
    name = str(raw.get("finetuning_task") or "own") if columns else "own"
    return SavedTask(name, labels, columns, None if columns is None else columns.pair is not None)


def _columns_in(found: Any) -> ChosenColumns | None:
    """The columns that a configuration names, if these are names."""
    if not isinstance(found, Mapping) or not isinstance(found.get("text"), str):
        return None
    pair, label = found.get("pair"), found.get("label")
    pair, label = (name if isinstance(name, str) else None for name in (pair, label))
    return ChosenColumns(found["text"], pair, label)


def _columns_of(task: Task) -> ChosenColumns | None:
    """The columns of a GLUE task's test file, where they go by one name."""
    layout = task.test_columns
    if not isinstance(layout.text_a, str) or not isinstance(layout.text_b, str | None):
        return None
    return ChosenColumns(layout.text_a, layout.text_b)
