"""A training run in its output folder: begin or go on, save on the way, end with the last or the
best weights. What both programs do alike."""

import copy
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, run_log
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.background_writer import BackgroundWriter
from bert_paddle.common.errors import Interrupted, OutputError, RunError
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.models import classifier
from bert_paddle.training import checkpoint, epoch_metrics, train_state
from bert_paddle.training.loop import Hook, TrainData, fit
from bert_paddle.training.profiler import profile_steps
from bert_paddle.training.step import Trainer
from bert_paddle.training.train_state import TrainState

RESULTS_FILE = "all_results.json"


def resolve_resume(args: CommonArgs, folder: Path, log: run_log.RunLog) -> str | None:
    """The checkpoint that the flags say to go on from; None for a new run.

    Raises OutputError for a folder that holds another run.
    """
    if args.overwrite_output_dir:
        return None
    checkpoint.clear_leftovers(folder)
    if args.resume_from_checkpoint == "auto":
        latest = checkpoint.latest_complete(folder, log.warning)
        return str(latest) if latest else None
    own = Path(args.resume_from_checkpoint or "").resolve().parent == folder.resolve()
    if checkpoint.holds_run(folder) and not (args.resume_from_checkpoint and own):
        raise OutputError(
            f"--output_dir {folder} already holds a run: go on with --resume_from_checkpoint auto, "
            "start anew with --overwrite_output_dir, or give another folder"
        )
    return args.resume_from_checkpoint


def check_source_not_deleted(args: CommonArgs, output_dir: Path, source: Path) -> None:
    """Raise OutputError when the model to start from would be deleted with the old run."""
    if not args.overwrite_output_dir:
        return
    for part in checkpoint.run_artifacts(output_dir):
        if part.resolve() in (source.resolve(), *source.resolve().parents):
            raise OutputError(
                f"--overwrite_output_dir would delete {source}, the model to start from: give "
                "another --output_dir"
            )


class TrainingRun:
    """A trainer at work in an output folder.

    `snapshot` is given the model's weights as they are held for a save, and returns what writes the
    model into the folder that it is given: checkpoints are written in the background while training
    goes on.
    """

    def __init__(
        self,
        args: CommonArgs,
        output_dir: Path,
        trainer: Trainer,
        snapshot: Callable[[TrainState, TensorSnapshot], Callable[[Path], None]],
        log: run_log.RunLog,
    ):
        self.args, self.output_dir, self.trainer = args, output_dir, trainer
        self.snapshot, self.log, self.saver = snapshot, log, BackgroundWriter()
        self.model = trainer.model

    def begin(self, batches: TrainData, fingerprint: str, resume_from: str | None) -> TrainState:
        """A new state, or that of a checkpoint, whose tensors are put in place.

        fingerprint: of the training data; a continued run must find the same.
        """
        args = self.args
        if args.overwrite_output_dir:
            collectives.run_on_main(lambda: checkpoint.remove_run(self.output_dir))
        planned = math.ceil(args.num_train_epochs * batches.steps_per_epoch)
        fresh = TrainState(
            total=min(planned, args.max_steps) if args.max_steps > 0 else planned,
            rows_per_step=batches.rows_per_step,
            planned_rows=batches.rows_per_step,
            fingerprint=fingerprint,
            args=args.as_dict(),
        )
        state = fresh if resume_from is None else self._go_on(Path(resume_from), fresh)
        batches.planned_rows = state.planned_rows
        self.log.keep_records(self.output_dir, state.step)
        return state

    def _go_on(self, folder: Path, fresh: TrainState) -> TrainState:
        state, tensors = checkpoint.load(folder)
        train_state.check_same_run(state, fresh, folder)
        classifier.check_same_config(self.model, folder)
        classifier.restore_weights(self.model, folder)
        classifier.restore_optimizer(self.model, self.trainer.optimizer, tensors)
        self.trainer.restore_scaler(state.scaler)
        self.log.note(f"going on from {folder}: step {state.step} of {state.total}")
        self._keep_place(state, fresh)
        for name in collectives.run_on_main(
            lambda: checkpoint.set_aside_newer(self.output_dir, state.step)
        ):
            self.log.warning(f"a checkpoint beyond step {state.step} is set aside as {name}")
        if state.total != fresh.total:
            self.log.warning(
                f"the flags plan {fresh.total} updates; a resumed run keeps its {state.total}, "
                "where its learning-rate schedule ends"
            )
        self._tidy(state, folder)
        state.args = fresh.args
        state.stopped = self._out_of_patience(state)
        return state

    def _tidy(self, state: TrainState, folder: Path) -> None:
        """Forget a best step that is not here, and drop what a crash kept from being dropped."""
        best = state.best_step
        if best is not None and not checkpoint.checkpoint_dir(self.output_dir, best).is_dir():
            self.log.warning(
                f"the best step so far, {best}, is not in {self.output_dir}: it is forgotten"
            )
            state.best_step = state.best_metric = None
        if folder.resolve().parent == self.output_dir.resolve():
            limit = self.args.save_total_limit
            collectives.run_on_main(
                lambda: checkpoint.prune(self.output_dir, limit, state.best_step)
            )

    def _keep_place(self, state: TrainState, fresh: TrainState) -> None:
        """Go on with the next unseen row, also with another global batch than before."""
        accumulation = self.args.gradient_accumulation_steps
        state.batch = -(-state.rows // fresh.rows_per_step) * accumulation
        if state.rows_per_step != fresh.rows_per_step:
            self.log.warning(
                f"an update was {state.rows_per_step} rows and is {fresh.rows_per_step} "
                f"(processes x --batch_size x --gradient_accumulation_steps): going on with the "
                f"next unseen row; the schedule still has {state.total} updates, so learning rates "
                "and dropout are not those of the run as it was begun"
            )
            state.rows_per_step = fresh.rows_per_step

    def fit(
        self, batches: TrainData, state: TrainState, evaluate: Callable[[], Mapping[str, float]]
    ) -> None:
        """Train to the end. `evaluate` is called with every save, before it, and returns what the
        record of an epoch says of it: nothing where there is nothing to evaluate."""
        args, by_epoch = self.args, self.args.save_strategy == "epoch"

        def evaluate_and_save() -> None:
            begun = time.perf_counter()
            found = evaluate()
            if found and (by_epoch or state.rows >= batches.rows_per_epoch):
                seconds = time.perf_counter() - begun
                epoch_metrics.record_epoch(self.log, state, batches, found, seconds)
            self._save(state)

        until = min(state.total, args.max_steps) if args.max_steps > 0 else state.total
        hooks = [Hook(None if by_epoch else args.save_steps, evaluate_and_save)]
        try:
            with profile_steps(self.trainer, args.profile, self.output_dir, self.log):
                fit(self.trainer, batches, state, hooks, self.log, until, lambda: self._save(state))
        except Interrupted:
            collectives.run_on_main(
                self.saver.wait
            )  # raised on all processes: none ends before it is saved
            raise
        except BaseException:
            self.saver.wait()  # perhaps this process alone: nobody else can be waited for
            raise
        finally:
            self.log.progress.close()
        collectives.run_on_main(self.saver.wait)
        collectives.run_on_main(lambda: epoch_metrics.print_epoch_table(self.log, self.output_dir))

    def end(self, state: TrainState) -> int:
        """Leave the model with its last weights, or the best where the flags say so; their step."""
        best = state.best_step
        if not self.args.load_best_model_at_end or best is None or best == state.step:
            return state.step
        folder = checkpoint.checkpoint_dir(self.output_dir, best)
        wrong = checkpoint.find_damage(folder)
        if wrong:
            raise RunError(f"the best checkpoint {folder} cannot be loaded: {wrong}")
        classifier.restore_weights(self.model, folder)
        self.log.note(f"the best checkpoint is model_{best}: going on with it")
        return best

    def _out_of_patience(self, state: TrainState) -> bool:
        return 0 < self.args.early_stopping_patience <= state.evaluations_since_best

    def _save(self, state: TrainState) -> None:
        """Write the checkpoint, drop what is over the limit, see whether patience is at its end."""
        state.scaler = self.trainer.scaler_state()

        def start() -> None:
            self.saver.wait()  # at most one is held
            weights = classifier.snapshot_tensors(self.model.state_dict())
            optimizer = classifier.snapshot_tensors(
                classifier.optimizer_tensors(self.model, self.trainer.optimizer)
            )
            write_model, now = self.snapshot(state, weights), copy.deepcopy(state)
            self.trainer.held = [weights, optimizer]

            def write() -> None:
                checkpoint.save(self.output_dir, now, optimizer, write_model)
                checkpoint.prune(self.output_dir, self.args.save_total_limit, now.best_step)

            self.saver.start(write)

        collectives.run_on_main(start)
        if self._out_of_patience(state):
            state.stopped = True
            self.log.note(
                f"stopping at step {state.step}: {state.evaluations_since_best} evaluation(s) "
                f"without a better one than step {state.best_step}"
            )

    def values(self, state: TrainState, steps_per_epoch: int, rows: int) -> dict[str, Any]:
        """What a training adds to all_results.json; `rows` of one epoch."""
        seconds = max(1e-9, state.train_seconds)
        return {
            "epoch": round(state.step / steps_per_epoch, 6),
            "global_step": state.step,
            "train_samples": rows,
            "train_runtime": state.train_seconds,
            "train_steps_per_second": state.step / seconds,
            "train_samples_per_second": state.step / steps_per_epoch * rows / seconds,
            "best_step": state.best_step,
            "best_metric": state.best_metric,
        }


def write_results(output_dir: Path, values: dict[str, Any]) -> Path:
    """Write all_results.json. Values of an earlier command on the same task in the same folder
    stay, but for those of an evaluation or a test when there is a new one."""
    path = output_dir / RESULTS_FILE
    before: dict[str, Any] = {}
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            pass  # half a file of a program that is not ours: it is replaced
    if before.get("task") != values.get("task"):
        before = {}
    for kind in ("eval_", "test_"):
        if any(key.startswith(kind) for key in values):
            before = {key: value for key, value in before.items() if not key.startswith(kind)}
    atomic_files.write_json(path, run_log.finite_or_none(before | values))
    return path
