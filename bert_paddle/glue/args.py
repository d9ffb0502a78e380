"""The flags of `run_glue.py`."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from bert_paddle import flags
from bert_paddle.args import EVALUATION, TRAIN, CommonArgs
from bert_paddle.errors import UserError
from bert_paddle.flags import REQUIRED, flag
from bert_paddle.glue import tasks

TASK = "task and data"

DESCRIPTION = """Fine-tune BERT on a GLUE task, evaluate it, predict its test sets.

  python run_glue.py --task_name SST-2 --model_name_or_path bert-base-uncased --output_dir out/
  python run_glue.py --task_name mrpc --model_name_or_path ./my_bert --output_dir out/ --n_gpu 2
  python run_glue.py --task_name ax --model_name_or_path out/mnli/model_36816 --do_predict \\
      --output_dir out/ax
"""


@dataclasses.dataclass
class GlueArgs(CommonArgs):
    """Everything `run_glue.py` takes; see `CommonArgs` for the shared part."""

    task_name: str = flag(
        REQUIRED, "GLUE task in any spelling: SST-2, sst2; nine tasks and AX", group=TASK
    )
    data_dir: str | None = flag(
        None,
        "folder of task folders, or the task's own; else $GLUE_DATA_DIR, then "
        "$BERT_PADDLE_HOME/glue, then a download",
        group=TASK,
    )
    max_seq_length: int = flag(
        128,
        "word pieces per row with [CLS] and [SEP]; of a pair the longer text is cut first",
        group=TASK,
        least=8,
    )
    group_by_length: bool = flag(
        True, "batches of rows of like length (each epoch still has every row once)", group=TRAIN
    )
    do_train: bool = flag(
        False, "train (with no --do_... flag: train and evaluate)", group=EVALUATION
    )
    do_eval: bool = flag(False, "evaluate on the dev set(s)", group=EVALUATION)
    do_predict: bool = flag(
        False, "write predictions/<TASK>.tsv for the test set(s)", group=EVALUATION
    )

    def problems(self) -> Iterator[str]:
        """What is wrong with the flags taken together, one clause each."""
        yield from super().problems()
        if self.data_dir and not Path(self.data_dir).is_dir():
            yield f"--data_dir {self.data_dir}: no such folder"
        if self.task_name is None:
            return
        try:
            task = tasks.get_task(self.task_name)
        except UserError as error:
            yield f"--task_name {error}"
            return
        train, evaluate, predict = self._actions(task)
        if not (train or evaluate or predict):
            yield "nothing to do: --do_train, --do_eval and --do_predict are all off"
        if train and task.train is None:
            yield (
                f"--do_train: {task.name} has no training set; evaluate or predict it with a "
                f"model fine-tuned on {task.model_task}"
            )
        if evaluate and not task.dev_sets:
            yield f"--do_eval: {task.name} has no dev set; give --do_predict"
        if not train:
            for name in ("resume_from_checkpoint", "overwrite_output_dir"):
                if getattr(self, name):
                    yield f"--{name} needs training (--do_train)"
        for name, value in (
            ("load_best_model_at_end", self.load_best_model_at_end),
            ("early_stopping_patience", self.early_stopping_patience > 0),
        ):
            if value and not (train and evaluate):
                yield f"--{name} needs both training and evaluation"

    def settle(self) -> None:
        """Fill in what follows from the flags: the task's own name and what to do."""
        task = tasks.get_task(self.task_name)
        self.task_name = task.name
        self.do_train, self.do_eval, self.do_predict = self._actions(task)

    def _actions(self, task: tasks.Task) -> tuple[bool, bool, bool]:
        """Train, evaluate, predict; with no --do_... flag, what the task has sets for."""
        if {"do_train", "do_eval", "do_predict"} & set(self.given):
            return self.do_train, self.do_eval, self.do_predict
        return (False, False, True) if task.train is None else (True, True, False)


def parse_args(argv: Sequence[str] | None = None) -> GlueArgs:
    """The command line of `run_glue.py`. Raises FlagError with all its problems together."""
    return flags.parse(GlueArgs, DESCRIPTION, argv)
