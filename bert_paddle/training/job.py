"""The training job: the one sequence that every program runs once its model and data are ready.

A program subclasses `TrainingJob` with what is its own: how its model is saved, how it evaluates,
and what run.json says of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bert_paddle.common import flags
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.run_log import RunLog
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.training import run as training_run
from bert_paddle.training.loop import TrainData
from bert_paddle.training.run import TrainingRun
from bert_paddle.training.run_info import RunInfo, RunInfoFile
from bert_paddle.training.step import Trainer
from bert_paddle.training.train_state import TrainState


class TrainingJob(ABC):
    """A model in an output folder, and the results so far (`values`, for all_results.json)."""

    def __init__(self, args: CommonArgs, output_dir: Path, model: Any, log: RunLog, task: str):
        self.args, self.output_dir, self.model, self.log = args, output_dir, model, log
        self.values: dict[str, Any] = {"task": task}
        self.record = RunInfoFile(args, output_dir, log)

    @abstractmethod
    def describe(self, steps: dict[str, int] | None) -> RunInfo:
        """What run.json says of the run. steps: planned in all, and per epoch; None: no training"""

    @abstractmethod
    def evaluate_at(self, state: TrainState) -> Mapping[str, float]:
        """Evaluate the weights of now, and note whether they are the best so far. Returns the
        values for the record of an epoch; nothing where there is nothing to evaluate on."""

    @abstractmethod
    def snapshot(self, state: TrainState, weights: TensorSnapshot) -> Callable[[Path], None]:
        """A function that writes the model's files into a folder, later and in another thread.
        weights: the model's, as they are at this step."""

    def train(
        self, trainer: Trainer, batches: TrainData, rows: int, fingerprint: str, resume: str | None
    ) -> tuple[TrainState, int]:
        """Train to the end, evaluating and saving on the way. Leaves the model with its last
        weights, or the best where the flags say so; returns the last state, and the step of those.

        rows: of an epoch. fingerprint: of the training data, which a resumed run must find again.
        resume: the checkpoint to resume from, or None.
        """
        run = TrainingRun(self.args, self.output_dir, trainer, self.snapshot, self.log)
        state = run.begin(batches, fingerprint, resume)
        collectives.run_on_main(lambda: flags.save_settings(self.args, self.output_dir))
        steps = {"planned": state.total, "per_epoch": batches.steps_per_epoch}
        self.record.begin(self.describe(steps), trains=True, resumed=resume is not None)
        self.log.note(
            f"training: {rows} rows, {batches.steps_per_epoch} updates an epoch of "
            f"{batches.rows_per_step} rows each, {state.total} updates in all"
        )
        run.fit(batches, state, lambda: self.evaluate_at(state))
        step = run.end(state)
        self.values |= run.values(state, batches.steps_per_epoch, rows)
        return state, step

    def write_results(self) -> None:
        """Write all_results.json and complete run.json."""
        path = collectives.run_on_main(
            lambda: training_run.write_results(self.output_dir, self.values)
        )
        self.log.note(f"results: {path}")
        self.record.finish()
