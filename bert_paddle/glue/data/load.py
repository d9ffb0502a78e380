"""The data of a run: find or download the task's files, read and tokenize them."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from bert_paddle.common import runtime
from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data import download, tsv
from bert_paddle.glue.data.dataset import EncodedDataset, encode_examples, unknown_share
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.tasks import TASKS, DevSet, Task, TestSet
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.models.vocabulary import UNKNOWN_WARNING_SHARE

Rows = TypeVar("Rows", Examples, EncodedDataset)


@dataclass
class TaskData(Generic[Rows]):
    """The data sets of a run: training set, dev sets, and test sets with their tasks (an MNLI
    model also predicts AX). `demo` marks invented rows, whose results are not GLUE results;
    `custom` marks a user's own files."""

    train: Rows | None = None
    dev: list[tuple[DevSet, Rows]] = field(default_factory=list)
    test: list[tuple[Task, TestSet, Rows]] = field(default_factory=list)
    demo: bool = False
    custom: bool = False

    @property
    def origin(self) -> str:
        """Where the data comes from: "data" in all_results.json and run.json."""
        return "own" if self.custom else "demo" if self.demo else "glue"


RawData = TaskData[Examples]  # before encoding
EncodedData = TaskData[EncodedDataset]


def read_task_data(task: Task, args: GlueArgs, log: RunLog) -> RawData:
    """Read the task's files that the run needs; --test_file is not read here.

    Raises DataError for a missing or malformed file.
    """
    predict_glue = args.do_predict and not args.test_file
    if not (args.do_train or args.do_eval or predict_glue):
        return RawData()
    folder = collectives.run_on_main_first(lambda: _task_dir(task, args, log))
    log.note(f"data: {folder}")
    data = RawData(demo=tsv.is_demo(folder))
    if data.demo:
        log.note(
            f"data: {folder} is a demo set of invented sentences: its results are not GLUE results"
        )
    if args.do_train and task.train:
        data.train = _read_file(task, folder / task.train.file, "train", log)
    if args.do_eval:
        data.dev = _read_dev_sets(task, folder, log)
    if predict_glue:
        for test_set in task.test_sets:
            examples = _read_file(task, folder / test_set.file, "test", log)
            data.test.append((task, test_set, examples))
        data.test += _read_diagnostic_sets(task, args, log)
    return data


def _task_dir(task: Task, args: GlueArgs, log: RunLog) -> Path:
    needed = [task.train.file] if args.do_train and task.train else []
    needed += [dev.file for dev in task.dev_sets[:1] if args.do_eval]
    needed += [t.file for t in task.test_sets if args.do_predict and not args.test_file]
    search = tsv.find_task_dir(task, args.data_dir, os.environ, runtime.bert_paddle_home(), needed)
    if search.folder:
        if search.rejected:
            log.warning(f"data: not found in {'; '.join(search.rejected)}; using {search.folder}")
        return search.folder
    if task.name in download.OFFICIAL_FILES:
        home = runtime.bert_paddle_home() / "glue"
        log.note(f"{task.name}: no local files, downloading them into {home}")
    return download.ensure_downloaded(task, runtime.bert_paddle_home(), search.rejected)


def _read_dev_sets(task: Task, folder: Path, log: RunLog) -> list[tuple[DevSet, Examples]]:
    sets: list[tuple[DevSet, Examples]] = []
    for dev in task.dev_sets:
        if sets and not (folder / dev.file).is_file():
            log.warning(f"{folder} has no {dev.file}: the {dev.name} dev set is skipped")
            continue
        sets.append((dev, _read_file(task, folder / dev.file, "dev", log)))
    return sets


def _read_diagnostic_sets(
    task: Task, args: GlueArgs, log: RunLog
) -> list[tuple[Task, TestSet, Examples]]:
    """The test sets of other tasks that this task's model predicts (MNLI's model predicts AX), if
    their files exist."""
    sets: list[tuple[Task, TestSet, Examples]] = []
    for other in TASKS.values():
        if other.model_task == task.name:
            search = tsv.find_task_dir(other, args.data_dir, os.environ, runtime.bert_paddle_home())
            if search.folder is None:
                log.note(f"{other.name}: no local files: it is not predicted")
                continue
            for test_set in other.test_sets:
                examples = _read_file(other, search.folder / test_set.file, "test", log)
                sets.append((other, test_set, examples))
    return sets


def _read_file(task: Task, path: Path, split: str, log: RunLog) -> Examples:
    """Read a file; warns of skipped rows and of a number of rows that is not the official one."""
    if not path.is_file():
        raise DataError(
            f"{task.name}: {path} is missing; put the official file there, or give --data_dir"
        )
    examples = tsv.read_task_file(task, path, split)
    if examples.skipped:
        log.warning(f"{path}: {examples.skipped} row(s) with too few fields were skipped")
    official = task.official_rows(path.name)
    if official and len(examples) not in official and not tsv.is_demo(path.parent):
        log.warning(
            f"{path}: {len(examples)} rows, the official file has {official[0]}: the results "
            "are those of a subset or another split"
        )
    return examples


def _warn_single_label(examples: Examples, log: RunLog) -> None:
    """Tell that all rows of a dev set have the same label, which most metrics are not made for."""
    labels = examples.labels
    if len(examples) > 1 and labels is not None and bool((labels == labels[0]).all()):
        log.warning(
            f"{examples.source}: all {len(examples)} rows have the same label: correlations, F1 "
            "and Matthews say nothing about such a dev set, and nor does the best step by them"
        )


def encode_data(data: RawData, tokenizer: Tokenizer, args: GlueArgs, log: RunLog) -> EncodedData:
    """Tokenize all data sets; logs how many rows were truncated, and the share of [UNK]."""
    unknown: list[tuple[str, float]] = []

    def encode(examples: Examples, keep_texts: bool = True) -> EncodedDataset:
        with log.row_progress(f"encoding {examples.source}", len(examples)) as show_rows:
            dataset = encode_examples(examples, tokenizer, args.max_seq_length, show_rows)
        unknown.append((examples.source, unknown_share(dataset, tokenizer)))
        if dataset.encoded.truncated:
            log.note(
                f"{examples.source}: {dataset.encoded.truncated} of {len(dataset)} rows are "
                f"truncated to {args.max_seq_length} tokens"
            )
        dataset.examples = examples if keep_texts else None
        return dataset

    for _, dev_examples in data.dev:
        _warn_single_label(dev_examples, log)

    encoded = EncodedData(
        encode(data.train, keep_texts=False) if data.train else None,
        [(dev, encode(examples)) for dev, examples in data.dev],
        [(task, test_set, encode(examples)) for task, test_set, examples in data.test],
        data.demo,
        data.custom,
    )
    _log_unknown(unknown, tokenizer, log)
    return encoded


def _log_unknown(shares: list[tuple[str, float]], tokenizer: Tokenizer, log: RunLog) -> None:
    """Log the share of [UNK] in each file; a warning with its likely causes if it is high."""
    if not shares:
        return
    log.note("[UNK]: " + ", ".join(f"{share:.2%} of {source}" for source, share in shares))
    source, worst = max(shares, key=lambda item: item[1])
    if worst > UNKNOWN_WARNING_SHARE:
        case = "is lower-cased" if tokenizer.do_lower_case else "keeps its case"
        log.warning(
            f"{source}: {worst:.1%} of the word pieces are [UNK], which tell the model nothing. "
            f"Likely causes: the text {case}, unlike the vocabulary (--do_lower_case "
            f"{int(not tokenizer.do_lower_case)}); a language or script that the model does not "
            "know (give a model for it); words of more than 100 characters, as in a script "
            "without blanks"
        )
