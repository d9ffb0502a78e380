"""The flags of `run_glue.py`."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from bert_paddle.common import flags, peer_flags
from bert_paddle.common.args import EVALUATION, TRAIN, CommonArgs
from bert_paddle.common.errors import UserError
from bert_paddle.common.finetune_args import ACTION, FinetuneArgs
from bert_paddle.common.flag_fields import EVALUATING, TRAINING, OnRanks, OnResume, PathUse, Results
from bert_paddle.common.flag_values import convert
from bert_paddle.common.flags import flag
from bert_paddle.common.peer_flags import PeerFlag
from bert_paddle.glue import tasks
from bert_paddle.glue.best_metric import with_metric
from bert_paddle.glue.custom_args import CUSTOM, overridden_flags, split_names
from bert_paddle.glue.label_args import METRIC_VALUES
from bert_paddle.glue.layer_args import LayerArgs
from bert_paddle.glue.loss_args import LossArgs
from bert_paddle.glue.metrics import higher_is_better
from bert_paddle.glue.prediction_args import PredictionArgs
from bert_paddle.glue.task_definition import LABELS, SCORE

TASK = "task and data"

DESCRIPTION = """Fine-tune BERT on a GLUE task or data of your own, evaluate it, predict test sets.

  python run_glue.py --task_name SST-2 --model_name_or_path bert-base-uncased --output_dir out/
  python run_glue.py --task_name mrpc --model_name_or_path ./my_bert --output_dir out/ --n_gpu 2
  python run_glue.py --task_name ax --model_name_or_path out/mnli/model_36816 --do_predict \\
      --output_dir out/ax
  python run_glue.py --train_file reviews.csv --model_name_or_path ./my_bert --output_dir out/
"""


@dataclasses.dataclass
class GlueArgs(PredictionArgs, LossArgs, LayerArgs, FinetuneArgs, CommonArgs):
    """All flags of `run_glue.py`; `CommonArgs` has those that all training programs share."""

    task_name: str | None = flag(
        None,
        "GLUE task (one of nine, or AX), as SST-2 or sst2; required unless data files are given",
        group=TASK,
        not_in_grid="results of different tasks are not comparable: run a sweep for each",
    )
    data_dir: str | None = flag(
        None,
        "folder of task folders, or the task folder itself; default: $GLUE_DATA_DIR, then "
        "$BERT_PADDLE_HOME/glue, then a download",
        group=TASK,
        path=PathUse.INPUT,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.FREE,
        results=Results.SAME,  # whether they are demo data is compared separately
        changes_rows=True,
    )
    max_seq_length: int = flag(
        128,
        "tokens per row, with [CLS] and [SEP]; of a pair, the longer text is truncated first",
        group=TASK,
        minimum=8,
    )
    seeds: str | None = flag(
        None,
        "1,2,3: instead of --seed, train once with each seed, in output_dir/seed_1, ..., and "
        "report mean and standard deviation (docs/SWEEPS.md)",
        group=TRAIN,
        comma_separated=True,
        set_by_sweep=True,
        not_in_grid="use seed=1,2,3",
        results=Results.SAME,
    )
    max_train_samples: int = flag(
        -1,
        "train on the first rows only (-1: all)",
        group=TRAIN,
        minimum=1,
        sentinel=-1,
        changes_rows=True,
    )
    do_predict: bool = flag(
        False,
        "write predictions/<TASK or test file>.tsv for the test set(s)",
        group=EVALUATION,
        on_resume=OnResume.FREE,
        results=Results.ADDED,
        part=ACTION,
    )

    max_eval_samples: int = flag(
        -1,
        "evaluate on the first rows of each dev set only (-1: all)",
        group=EVALUATION,
        minimum=1,
        sentinel=-1,
        on_resume=OnResume.FROM_RUN,
        changes_rows=True,
    )
    max_predict_samples: int = flag(
        -1,
        "predict the first rows of each test set only (-1: all)",
        group=EVALUATION,
        minimum=1,
        sentinel=-1,
        on_resume=OnResume.FREE,
        changes_rows=True,
    )
    peer_flags: ClassVar[tuple[PeerFlag, ...]] = peer_flags.GLUE

    @staticmethod
    def overridden_flags(
        on_command_line: Collection[str], in_config: Collection[str]
    ) -> frozenset[str]:
        """Names of the --config file's flags to ignore, since flags on the command line contradict
        them; see `custom_args.overridden_flags`."""
        own_data = flags.flag_names(GlueArgs, group=CUSTOM)
        overridden = overridden_flags(on_command_line, in_config, own_data)
        # A file of one's own takes what its predictions have with it.
        own = flags.flag_names(PredictionArgs) if "test_file" in overridden else ()
        return overridden | {*own}

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        yield from super().problems()
        if self.data_dir and not Path(self.data_dir).is_dir():
            yield f"--data_dir {self.data_dir}: no such folder"
        yield from self.custom_data_problems(self.task_name, self.data_dir)
        yield from self.label_problems()
        yield from self.prediction_problems()
        if self.task_name is None and self.data_file_flags():
            yield from self.missing_files(self.do_train, self.do_eval, self.do_predict)
        task = None
        if self.task_name is not None:
            try:
                task = tasks.get_task(self.task_name)
            except UserError as error:
                yield f"--task_name {error}"
                return
        elif not self.data_file_flags():
            return
        yield from self._metric_problems(task)
        yield from self._loss_problems(task)
        train, evaluate, predict = self._actions(task)
        is_one_label = task is not None or train and not self.asks_for_multi_label
        yield from self.threshold_problems(is_one_label, evaluate)
        if self.seeds is not None:
            yield from self._seeds_problems(train)
        if not (train or evaluate or predict):
            yield "nothing to do: --do_train, --do_eval and --do_predict are all off"
        if task and train and task.train is None:
            yield (
                f"--do_train: {task.name} has no training set; predict it with a model fine-tuned "
                f"on {task.model_task}"
            )
        if task and evaluate and not task.dev_sets:
            yield f"--do_eval: {task.name} has no dev set; give --do_predict"
        yield from self.needs_problems({TRAINING: train, EVALUATING: evaluate})

    def _metric_problems(self, task: tasks.Task | None) -> Iterator[str]:
        """Problems with --metric and --greater_is_better."""
        if task and self.metric:
            try:
                task = with_metric(task, self.metric)
            except UserError as error:
                yield str(error)
                return
        higher = not self.metric or higher_is_better(METRIC_VALUES[self.metric])
        if self.greater_is_better not in (None, higher):
            metric = f"--metric {self.metric}" if self.metric else "the metric"
            direction = "highest" if higher else "lowest"
            yield (
                f"--greater_is_better {int(not higher)}: the best step has the {direction} value "
                f"of {metric}"
            )

    def _loss_problems(self, task: tasks.Task | None) -> Iterator[str]:
        if task is not None:
            return self.loss_problems(task.labels, "" if task.labels else task.output)
        other = SCORE if self.regression else ""
        other = LABELS if self.asks_for_multi_label else other
        return self.loss_problems(split_names(self.label_names or self.labels), other)

    def _seeds_problems(self, train: bool) -> Iterator[str]:
        try:
            parse_seeds(self.seeds or "")
        except ValueError as error:
            yield f"--seeds: {error}"
        if not train:
            yield "--seeds is for training: give --do_train too"
        if self.resume_from_checkpoint not in (None, "auto"):
            yield "--resume_from_checkpoint must be auto with --seeds: each has its own checkpoints"

    def finalize(self) -> None:
        """Set the derived fields: models' names, the task's canonical name, the --do_... flags."""
        super().finalize()
        task = tasks.get_task(self.task_name) if self.task_name else None
        self.task_name = task.name if task else None
        self.do_train, self.do_eval, self.do_predict = self._actions(task)

    def _actions(self, task: tasks.Task | None) -> tuple[bool, bool, bool]:
        """Whether to (train, evaluate, predict); with no --do_... flag, all that the task or the
        files allow."""
        if set(flags.flag_names(type(self), part=ACTION)) & set(self.explicit_flags):
            implied = self.do_train and self.asks_for_evaluations()
            return self.do_train, self.do_eval or implied, self.do_predict
        if task is None:
            return self.custom_actions()
        if task.train is None:
            return False, False, True
        return True, True, self.test_file is not None


def parse_seeds(text: str) -> list[int]:
    """The seeds in "1,2,3". Raises ValueError with a message such as "each must be at least 0",
    without the flag's name, also for a seed that is given twice."""
    seed_flag = next(f.metadata for f in flags.declared_flags(GlueArgs) if f.name == "seed")
    try:
        seeds = [convert(seed_flag, seed.strip()) for seed in text.split(",")]
    except ValueError as error:
        raise ValueError(f"each {error}") from None
    if twice := [seed for seed, count in Counter(seeds).items() if count > 1]:
        raise ValueError(f"{twice[0]} is given twice, but has one run: give each seed once")
    return seeds


def parse_args(argv: Sequence[str] | None = None) -> GlueArgs:
    """Parse the command line of `run_glue.py`. Raises FlagError with all problems together."""
    return flags.parse(GlueArgs, DESCRIPTION, argv)
