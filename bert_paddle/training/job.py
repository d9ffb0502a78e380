"""The training job: what every program does once its model and data are loaded.

A program subclasses `TrainingJob` to define how its model is saved and evaluated, and what run.json
contains.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import flags, signals
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.run_log import RunLog
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.training import epoch_metrics
from bert_paddle.training import run as training_run
from bert_paddle.training.loop import Hook, TrainData
from bert_paddle.training.run import TrainingRun
from bert_paddle.training.run_info import RunInfo, RunInfoFile
from bert_paddle.training.step import Trainer
from bert_paddle.training.train_state import TrainState


class TrainingJob(ABC):
    """Trains a model into an output folder. `values` collects the content of all_results.json."""

    def __init__(self, args: CommonArgs, output_dir: Path, model: Any, log: RunLog, task: str):
        self.args, self.output_dir, self.model, self.log = args, output_dir, model, log
        self.values: dict[str, Any] = {"task": task}
        self.run_info_file = RunInfoFile(args, output_dir, log)

    @abstractmethod
    def describe(self, steps: dict[str, int] | None) -> RunInfo:
        """The content of run.json. steps: see `RunInfo.steps`; None: no training."""

    @abstractmethod
    def evaluate_at_step(self, state: TrainState) -> Mapping[str, float]:
        """Evaluate the current weights and update the best step. Returns the metrics for the record
        of the epoch; empty if nothing is evaluated."""

    @abstractmethod
    def model_writer(self, state: TrainState, weights: TensorSnapshot) -> Callable[[Path], None]:
        """Return a function that writes the model's files into a folder; it is called in another
        thread. weights: a snapshot of the model's weights at this step."""

    def hooks(self, state: TrainState) -> Sequence[Hook]:
        """What is to be done every so many steps besides evaluating and saving. It must not change
        the training."""
        return ()

    def begin_without_training(self) -> None:
        """Open metrics.jsonl and write run.json, for a run that only evaluates or predicts. Only
        now, with model and data loaded: a run that fails before leaves a folder for the next."""
        collectives.run_on_main(lambda: self.log.write_metrics_to(self.output_dir))
        self.run_info_file.start(self.describe(None), is_training=False, resumed=False)

    def train(
        self,
        trainer: Trainer,
        batches: TrainData,
        rows: int,
        fingerprints: dict[str, str],
        resume: str | None,
    ) -> tuple[TrainState, int]:
        """Train to the end, with evaluations and checkpoints; --load_best_model_at_end then loads
        the best weights. Returns the final state, and the step whose weights the model then has.

        rows: per epoch. fingerprints: see training.fingerprints. resume: the checkpoint to resume
        from, or None.
        """
        run = TrainingRun(self.args, self.output_dir, trainer, self.model_writer, self.log)
        signals.requests.status = (
            "stopped before a step was made; start again with --resume_from_checkpoint auto"
        )
        state = run.start_or_resume(batches, fingerprints, resume)
        collectives.run_on_main(lambda: flags.save_settings(self.args, self.output_dir))
        steps = {"planned": state.total, "per_epoch": batches.steps_per_epoch}
        self.run_info_file.start(self.describe(steps), is_training=True, resumed=resume is not None)
        self.log.note(
            f"training: {rows} rows, {batches.rows_per_step} rows per step, "
            f"{batches.steps_per_epoch} steps per epoch, {state.total} steps in total"
        )
        run.fit(batches, state, lambda: self.evaluate_at_step(state), self.hooks(state))
        step = run.load_best(state)
        self.values |= _training_results(state, batches.steps_per_epoch, rows)
        return state, step

    def write_results(self) -> None:
        """Write all_results.json and complete run.json."""
        path = collectives.run_on_main(
            lambda: training_run.write_results(self.output_dir, self.values)
        )
        self.log.note(f"results: {path}")
        self.run_info_file.finish()


def _training_results(state: TrainState, steps_per_epoch: int, rows: int) -> dict[str, Any]:
    """What all_results.json contains about the training. rows: of one epoch."""
    seconds = max(1e-9, state.train_seconds)
    epochs = epoch_metrics.passes(state, steps_per_epoch)
    return {
        "epoch": epochs,
        "global_step": state.step,
        "train_samples": rows,
        "train_runtime": state.train_seconds,
        "train_steps_per_second": state.step / seconds,
        "train_samples_per_second": epochs * rows / seconds,
        "best_step": state.best_step,
        "best_metric": state.best_metric,
    }
