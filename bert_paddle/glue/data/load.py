"""From a task's name to encoded rows: find or download the files, read them, encode them."""

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
from bert_paddle.glue.data.dataset import EncodedDataset, encode
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.tasks import TASKS, DevSet, Task, TestSet
from bert_paddle.models.tokenizer import Tokenizer

Content = TypeVar("Content", Examples, EncodedDataset)


@dataclass
class TaskData(Generic[Content]):
    """The sets a run works on. `demo` marks invented rows, whose results are no GLUE results, `own`
    data of the user's own."""

    train: Content | None = None
    dev: list[tuple[DevSet, Content]] = field(default_factory=list)
    test: list[tuple[Task, TestSet, Content]] = field(default_factory=list)
    demo: bool = False
    own: bool = False

    @property
    def kind(self) -> str:
        """What results and records say of the data."""
        return "own" if self.own else "demo" if self.demo else "glue"


RawData = TaskData[Examples]  # before encoding
EncodedData = TaskData[EncodedDataset]


def read(task: Task, args: GlueArgs, log: RunLog) -> RawData:
    """Read the task's files that the flags ask for; a user's --test_file is not read here.

    Raises DataError for a missing or malformed one.
    """
    predicted = args.do_predict and not args.test_file
    if not (args.do_train or args.do_eval or predicted):
        return RawData()
    folder = collectives.run_on_main_first(lambda: _folder(task, args, log))
    log.note(f"data: {folder}")
    found = RawData(demo=tsv.is_demo(folder))
    if found.demo:
        log.note(
            f"data: {folder} is a demo set of invented sentences: its results are no GLUE results"
        )
    if args.do_train and task.train:
        found.train = _load(task, folder / task.train.file, "train", log)
    if args.do_eval:
        found.dev = _dev_sets(task, folder, log)
    if predicted:
        for test_set in task.test_sets:
            examples = _load(task, folder / test_set.file, "test", log)
            found.test.append((task, test_set, examples))
        found.test += _diagnostic(task, args, log)
    return found


def _folder(task: Task, args: GlueArgs, log: RunLog) -> Path:
    needed = [task.train.file] if args.do_train and task.train else []
    needed += [dev.file for dev in task.dev_sets[:1] if args.do_eval]
    needed += [t.file for t in task.test_sets if args.do_predict and not args.test_file]
    found = tsv.find(task, args.data_dir, os.environ, runtime.home_dir(), needed)
    if found.folder:
        if found.looked:
            log.warning(f"data: not found in {'; '.join(found.looked)}; taking {found.folder}")
        return found.folder
    log.note(f"{task.name} is not here, downloading it into {runtime.home_dir() / 'glue'}")
    return download.ensure(task, runtime.home_dir(), found.looked)


def _dev_sets(task: Task, folder: Path, log: RunLog) -> list[tuple[DevSet, Examples]]:
    sets: list[tuple[DevSet, Examples]] = []
    for dev in task.dev_sets:
        if sets and not (folder / dev.file).is_file():
            log.warning(f"{folder} has no {dev.file}: the {dev.name} dev set is left out")
            continue
        sets.append((dev, _load(task, folder / dev.file, "dev", log)))
    return sets


def _diagnostic(task: Task, args: GlueArgs, log: RunLog) -> list[tuple[Task, TestSet, Examples]]:
    """AX, which an MNLI model predicts too, when it lies beside."""
    sets: list[tuple[Task, TestSet, Examples]] = []
    for other in TASKS.values():
        if other.model_task == task.name:
            found = tsv.find(other, args.data_dir, os.environ, runtime.home_dir())
            if found.folder is None:
                log.note(f"{other.name} is not beside {task.name}: no prediction file for it")
                continue
            for test_set in other.test_sets:
                examples = _load(other, found.folder / test_set.file, "test", log)
                sets.append((other, test_set, examples))
    return sets


def _load(task: Task, path: Path, split: str, log: RunLog) -> Examples:
    if not path.is_file():
        raise DataError(
            f"{task.name}: {path} is missing; put the official file there, or give --data_dir"
        )
    examples = tsv.load(task, path, split)
    if examples.skipped:
        log.warning(f"{path}: {examples.skipped} row(s) with too few fields were skipped")
    official = task.official_rows(path.name)
    if official and len(examples) not in official and not tsv.is_demo(path.parent):
        log.warning(
            f"{path}: {len(examples)} rows, the official file has {official[0]}: figures got with "
            "it are those of a subset or another split"
        )
    return examples


def encode_all(found: RawData, tokenizer: Tokenizer, args: GlueArgs, log: RunLog) -> EncodedData:
    """All sets as word pieces; says how many rows were cut."""

    def rows(examples: Examples, keep: bool = True) -> EncodedDataset:
        encoded = encode(examples, tokenizer, args.max_seq_length)
        if encoded.encoded.cut:
            log.note(
                f"{examples.source}: {encoded.encoded.cut} of {len(encoded)} rows are cut to "
                f"{args.max_seq_length} word pieces"
            )
        encoded.examples = examples if keep else None
        return encoded

    return EncodedData(
        rows(found.train, keep=False) if found.train else None,
        [(dev, rows(examples)) for dev, examples in found.dev],
        [(task, test_set, rows(examples)) for task, test_set, examples in found.test],
        found.demo,
        found.own,
    )
