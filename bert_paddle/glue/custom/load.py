"""Read a user's files instead of a GLUE task's, or as its test set (docs/OWN_DATA.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import custom_args, text_format, thresholds
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.custom import class_names, header_check, label_sets
from bert_paddle.glue.custom import columns as custom_columns
from bert_paddle.glue.custom import files as custom_files
from bert_paddle.glue.custom import task as custom_task
from bert_paddle.glue.custom.columns import ChosenColumns
from bert_paddle.glue.custom.dev_split import split_dev_rows
from bert_paddle.glue.custom.files import Table
from bert_paddle.glue.custom.label_sets import LabelSets
from bert_paddle.glue.custom.label_values import MISSING_WORDS
from bert_paddle.glue.custom.saved_task import SavedTask, glue_test_columns, saved_task
from bert_paddle.glue.custom.task import LabelColumn
from bert_paddle.glue.data.load import RawData
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.tasks import TASKS, DevSet, Task, TestSet, TrainSet
from bert_paddle.models import load_weights
from bert_paddle.models.model_config import ModelConfig


@dataclass
class CustomFile:
    """A file's texts, its labels as spelled in the file (None: no labels), and its columns."""

    texts_a: list[str]
    texts_b: list[str] | None
    label_column: LabelColumn | LabelSets | None
    columns: ChosenColumns
    path: str
    ids: list[str] | None = None  # the values of --id_column, id_name
    id_name: str = "id"

    def examples(self, task: Task) -> Examples:
        """The rows with their labels encoded for a task. Raises DataError for a label that the task
        does not have, and for a label of the task without a column beside the others'."""
        column = self.label_column
        labels = None
        if isinstance(column, LabelSets):
            label_sets.check_complete(self.columns, task, self.path)
            labels = label_sets.encode_labels(column, task)
        elif column is not None:
            labels = custom_task.encode_labels(column, task)
        return Examples(
            self.texts_a, self.texts_b, labels, self.path, ids=self.ids, id_name=self.id_name
        )


def read_custom_data(args: GlueArgs, config: ModelConfig, log: RunLog) -> tuple[Task, RawData]:
    """The task defined by the data files in the flags, and the files' rows.

    When training, the classes come from the training file, otherwise from the model. Raises
    DataError for a file that is malformed or incompatible with the model.
    """
    saved = _task_to_read(args, config)
    if saved.labels is None and not (args.do_train or args.labels or args.regression):
        outputs = load_weights.count_outputs(config.path.parent) or 2
        saved = replace(saved, labels=custom_task.unnamed_classes(outputs))
    data, task = RawData(custom=True), None
    if args.do_train or (args.do_eval and not args.validation_file):
        assert args.train_file
        file = read_file(args.train_file, args, saved, log)
        saved = replace(saved, columns=file.columns, pairs=file.columns.pair is not None)
        if args.do_train:
            assert file.label_column
            if isinstance(file.label_column, LabelSets):
                labels = label_sets.infer_labels(file.label_column, file.columns, args, log)
            else:
                labels = custom_task.infer_labels(file.label_column, args, log)
            saved = replace(saved, name=custom_task.task_name(args.train_file), labels=labels)
        task = _build_task(saved, args, log)
        train_rows, dev_rows = split_dev_rows(
            file.examples(task), args.resolved_validation_share(), args.seed
        )
        if dev_rows is None and args.do_eval and not args.validation_file:
            raise DataError(
                f"{args.train_file} has one row, of which none can be held out: give "
                "--validation_file, or --validation_share 0 to train without evaluation"
            )
        data.train = train_rows if args.do_train else None
        if args.do_eval and dev_rows is not None:
            data.dev = [(DevSet(Path(file.path).name, len(dev_rows)), dev_rows)]
    if args.do_eval and args.validation_file:
        file = read_file(args.validation_file, args, saved, log)
        saved = replace(saved, columns=file.columns, pairs=file.columns.pair is not None)
        task = task or _build_task(saved, args, log)
        examples = file.examples(task)
        data.dev = [(DevSet(Path(file.path).name, len(examples)), examples)]
    if args.do_predict:
        task = _add_test_set(task, saved, args, data, log)
    assert task is not None
    return _with_data_sets(task, data), data


def _task_to_read(args: GlueArgs, config: ModelConfig) -> SavedTask:
    """What is known of the task before a file is read. Raises DataError if the flags are for
    several labels per row, and the model to evaluate is not, and for a --threshold without them."""
    if args.do_train:
        return SavedTask(multi_label=args.asks_for_multi_label)
    saved = saved_task(config)
    if args.asks_for_multi_label and not saved.multi_label:
        raise DataError(
            f"{config.path.parent} was fine-tuned on one label per row: several labels per row "
            "need a model for them (problem_type multi_label_classification), or --do_train"
        )
    if args.threshold is not None and not saved.multi_label:
        raise DataError(
            "--threshold is for several labels per row, and "
            f"{config.path.parent} was fine-tuned on one"
        )
    return saved


def add_test_file(task: Task, args: GlueArgs, data: RawData, log: RunLog) -> None:
    """Add --test_file to a GLUE task's data, as the test set to predict."""
    columns = glue_test_columns(task)
    saved = SavedTask(task.name, task.labels, None, columns, task.is_pair, task)
    _add_test_set(task, saved, args, data, log)


def read_file(
    path: str, args: GlueArgs, saved: SavedTask, log: RunLog, need_label: bool = True
) -> CustomFile:
    """Read one file, and log which columns are used. Raises DataError for a malformed file."""
    reading = custom_files.Reading(
        args.file_format,
        custom_args.split_names(args.column_names),
        text_format.delimiter_character(args.delimiter),
        args.encoding,
    )
    table = custom_files.open_table(path, reading, log.note)
    requested = (args.text_column, args.text_pair_column, args.label_column)
    given = {*requested, *(saved.columns.texts if saved.columns else ())}
    # Files to train on and evaluate need no ids; a test file is the one that needs no labels.
    id_column = None if need_label else args.id_column
    others = table if id_column is None else custom_columns.without_ids(table, id_column, given)
    columns = _choose_columns(others, requested, args, saved, need_label)
    if table.has_header:
        header_check.check_header_is_no_row(table, columns, given, log)
    texts: list[list[str]] = [[] for _ in columns.texts]
    label_column = LabelColumn([], [], table.location, path)
    sets = LabelSets([], label_column.numbers, table.location, path)
    ids: list[str] | None = None if id_column is None else []
    empty_texts = numbers_as_texts = 0
    unusual_texts: dict[str, int] = {}
    for number, row in table.rows:
        for values, column in zip(texts, columns.texts, strict=True):
            values.append(custom_columns.read_text(row, column, table, number))
            numbers_as_texts += not isinstance(row[column], str)
        empty_texts += not all(values[-1].strip() for values in texts)
        for text in (values[-1] for values in texts):
            if text in MISSING_WORDS or text in columns.texts:
                unusual_texts[text] = unusual_texts.get(text, 0) + 1
        label_column.numbers.append(number)
        if ids is not None and id_column is not None:
            ids.append(custom_columns.read_id(row, id_column, table, number))
        if saved.multi_label and columns.has_labels:
            sets.rows.append(label_sets.read_labels(row, columns, table, number))
        elif columns.label is not None:
            label_column.texts.append(custom_columns.read_label(row, columns.label, table, number))
    if args.column_names:
        classes = custom_task.listed_classes(args.labels) if args.labels else saved.labels or ()
        header_check.check_no_header_row(
            table, texts, label_column.texts, label_column.numbers, classes
        )
    log.note(f"data: {path}: {len(texts[0])} rows, {columns.describe()}")
    if numbers_as_texts:
        log.warning(f"{path}: {numbers_as_texts} text(s) are JSON numbers: used as text")
    if empty_texts:
        log.warning(f"{path}: {empty_texts} row(s) have an empty text")
    for text, count in unusual_texts.items():
        reason = "the column's name" if text in columns.texts else "a missing value"
        log.warning(f"{path}: {count} row(s) have the text {text!r}: {reason}? It is used as text")
    texts_b = texts[1] if len(texts) > 1 else None
    labels = (sets if saved.multi_label else label_column) if columns.has_labels else None
    return CustomFile(texts[0], texts_b, labels, columns, path, ids, id_column or "id")


def _choose_columns(
    table: Table,
    requested: tuple[str | None, str | None, str | None],
    args: GlueArgs,
    saved: SavedTask,
    need_label: bool,
) -> ChosenColumns:
    """The columns of a file, with those of several labels per row. See `choose_columns`."""
    known = saved.columns
    if not saved.multi_label:
        return custom_columns.choose_columns(table, requested, known, saved.pairs, need_label)
    given = custom_args.split_names(args.label_columns)
    if not given and known and requested[2] is None and args.label_separator is None:
        given = known.label_columns
    if given:
        others, found = label_sets.take_label_columns(table, given, need_label)
        columns = custom_columns.choose_columns(others, requested, known, saved.pairs, False)
        return replace(columns, label=None, label_columns=found)
    columns = custom_columns.choose_columns(table, requested, known, saved.pairs, need_label)
    return replace(columns, separator=args.separator or (known.separator if known else None))


def _build_task(saved: SavedTask, args: GlueArgs, log: RunLog) -> Task:
    """The task of a run without --task_name; logs its labels."""
    assert saved.columns
    labels, file_labels = saved.labels, saved.file_labels
    if not args.do_train:
        if args.labels:
            labels, file_labels = custom_task.listed_classes(args.labels), None
        elif args.regression:
            labels = ()
        elif saved.glue_task:
            if args.metric is None:
                return saved.glue_task
            metrics, primary = custom_task.choose_metrics(saved.glue_task.labels, args.metric)
            return replace(saved.glue_task, metrics=metrics, primary=primary)
    assert labels is not None
    if args.label_names:
        labels, file_labels = class_names.named_classes(args.label_names, labels), labels
    limits = _thresholds(saved, labels, args) if saved.multi_label else ()
    task = custom_task.make_task(
        saved.name, labels, saved.columns, args.metric, file_labels, limits
    )
    if saved.multi_label:
        listed = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
        log.note(f"labels: any number per row of {len(labels)}: {listed}")
    elif not labels:
        log.note("labels: numbers (regression)")
    else:
        listed = ", ".join(labels[:20]) + (", ..." if len(labels) > 20 else "")
        f1 = f"; f1 is computed for {labels[1]}" if len(labels) == 2 else ""
        log.note(f"labels: {len(labels)} classes: {listed}{f1}")
    return task


def _thresholds(saved: SavedTask, labels: tuple[str, ...], args: GlueArgs) -> tuple[float, ...]:
    """The thresholds to begin with: those of the flag, of the model, or the default."""
    of_model = saved.thresholds if saved.labels == labels else ()
    try:
        return thresholds.of_labels(args.fixed_thresholds() or of_model, labels)
    except ValueError as error:
        raise DataError(f"--threshold: {error}") from None


def _add_test_set(
    task: Task | None, saved: SavedTask, args: GlueArgs, data: RawData, log: RunLog
) -> Task:
    """Add --test_file to `data`; returns its task, built here if `task` is None."""
    assert args.test_file
    file = read_file(args.test_file, args, saved, log, need_label=False)
    saved = replace(saved, columns=file.columns)
    task = task or _build_task(saved, args, log)
    if args.predict_probabilities and task.is_regression:
        raise DataError(f"--predict_probabilities is for classes, and {task.name} predicts numbers")
    if isinstance(file.label_column, LabelSets):
        file.label_column = label_sets.known_labels(file.label_column, log)
    elif file.label_column is not None:
        file.label_column = _test_labels(file.label_column, file.columns, task, args, log)
    path = Path(args.test_file)
    test_set = TestSet(path.name, len(file.texts_a), f"{path.stem}.tsv", custom=True)
    data.test.append((task, test_set, file.examples(task)))
    return task


def _test_labels(
    column: LabelColumn, columns: ChosenColumns, task: Task, args: GlueArgs, log: RunLog
) -> LabelColumn | None:
    """The labels of a test file; None, with a log line, if all are blank, if all are -1 (as in
    published test sets), or if no value of an inferred label column is a class of the task."""
    distinct, index = set(column.texts), custom_task.label_indices(task)
    if distinct in ({""}, {"-1"}) and not distinct & index.keys():
        log.note(f"{column.path}: no labels ({distinct.pop() or 'all blank'}): not scored")
        return None
    if args.label_column is None and index and not distinct & index.keys():
        log.warning(
            f"{column.path}: no value in {columns.label!r} is a class of the model: not "
            "scored (use --label_column to choose the column)"
        )
        return None
    return column


def _with_data_sets(task: Task, data: RawData) -> Task:
    """The task with this run's data sets as its files; a GLUE task is returned unchanged."""
    if task.name in TASKS:
        return task
    return replace(
        task,
        train=TrainSet(Path(data.train.source).name, len(data.train)) if data.train else None,
        dev_sets=tuple(dev for dev, _ in data.dev),
        test_sets=tuple(test for _, test, _ in data.test),
    )
