"""A training run in its output folder: start or resume, save checkpoints, load the best weights,
write the results. Shared by all programs."""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, read_files, run_log, runtime, signals
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.background_writer import BackgroundWriter
from bert_paddle.common.errors import Interrupted, OutputError, RunError
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.models import compute_mode, hub, model_state
from bert_paddle.training import (
    checkpoint,
    epoch_metrics,
    optim,
    plan,
    resume_check,
    run_files,
    save_hooks,
)
from bert_paddle.training.loop import Hook, TrainData, fit, interrupted, saved_status
from bert_paddle.training.profiler import profile_steps
from bert_paddle.training.run_files import RESULTS_FILE
from bert_paddle.training.step import Trainer
from bert_paddle.training.train_state import TrainState
from bert_paddle.training.verify_model_dir import verify_model_dir


def resolve_resume(args: CommonArgs, folder: Path, log: run_log.RunLog) -> str | None:
    """The checkpoint from which the flags ask to resume; None for a new run.

    Unless the run is to be overwritten, cleans up the folder after a crash first. Raises
    OutputError for a folder that contains another run.
    """
    if args.overwrite_output_dir:
        return None
    checkpoint.recover_from_crash(folder)
    run_files.remove_temporary_files(folder)
    if args.resume_from_checkpoint == "auto":
        latest = checkpoint.latest_complete(folder, log.warning)
        return str(latest) if latest else None
    is_inside = Path(args.resume_from_checkpoint or "").resolve().parent == folder.resolve()
    if run_files.contains_run(folder) and not (args.resume_from_checkpoint and is_inside):
        raise OutputError(
            f"--output_dir {folder} already contains a run: resume with "
            "--resume_from_checkpoint auto, start over with --overwrite_output_dir, or give "
            "another folder"
        )
    return args.resume_from_checkpoint


def find_initial_model(name_or_path: str, log: run_log.RunLog) -> Path:
    """The folder of the model to start from, downloaded if necessary, and verified.

    Raises WeightsError if it is missing or damaged.
    """
    folder = collectives.run_on_main_first(
        lambda: hub.find_model_dir(name_or_path, runtime.bert_paddle_home(), log.note)
    )
    collectives.run_on_main(lambda: verify_model_dir(folder))
    return folder


class TrainingRun:
    """A trainer and its output folder. Checkpoints are written in a background thread.

    model_writer: takes the state and a snapshot of the model's weights; returns a function that
    writes the model's files into a folder.
    """

    def __init__(
        self,
        args: CommonArgs,
        output_dir: Path,
        trainer: Trainer,
        model_writer: Callable[[TrainState, TensorSnapshot], Callable[[Path], None]],
        log: run_log.RunLog,
    ):
        self.args, self.output_dir, self.trainer = args, output_dir, trainer
        self.model_writer, self.log, self.writer = model_writer, log, BackgroundWriter()
        self.model = trainer.model
        self.warn_once = functools.cache(log.warning)
        self._unwritten: list[TensorSnapshot] = []  # of the checkpoint being written
        trainer.before_optimizer_step.append(self._materialize_snapshots)

    def start_or_resume(
        self, batches: TrainData, fingerprints: dict[str, str], resume_from: str | None
    ) -> TrainState:
        """Return a new state, or restore a checkpoint's weights and optimizer and return its state.

        fingerprints: see training.fingerprints. resume_from: the checkpoint, or None.
        """
        args = self.args
        if args.overwrite_output_dir:
            collectives.run_on_main(lambda: run_files.remove_run(self.output_dir))
        new = TrainState(
            total=plan.planned_steps(
                args.num_train_epochs, batches.steps_per_epoch, args.max_steps
            ),
            rows_per_step=batches.rows_per_step,
            # The global batch size that the order of the rows was planned for.
            planned_rows=batches.rows_per_step,
            fingerprints=fingerprints,
            compute_mode=self.trainer.describe_mode(),
            args=args.as_dict(),
        )
        state = new
        if resume_from is not None:
            state = self._resume(Path(resume_from), new, batches.rows_per_epoch)
        self.log.write_metrics_to(self.output_dir, state.step, not state.evaluation_pending)
        return state

    def _resume(self, folder: Path, new: TrainState, rows_per_epoch: int) -> TrainState:
        """Restore a checkpoint. new: the state that a new run with the same flags would have."""
        state, tensors = checkpoint.load(folder)
        model_state.check_same_config(self.model, folder)
        kernels_unavailable = compute_mode.kernels_unavailable_reason(self.model)
        # By the main process, with whose flags all ranks agree but for paths.
        differences = collectives.run_on_main(
            lambda: resume_check.check_same_run(
                state, new, folder, self.args.explicit_flags, kernels_unavailable, type(self.args)
            )
        )
        model_state.restore_weights(self.model, folder)
        model_state.restore_optimizer(self.model, self.trainer.optimizer, tensors)
        self.trainer.restore_scaler(state.scaler)
        warmup = optim.warmup_steps(self.args, state.schedule_total)
        state, change = plan.replan(state, new, rows_per_epoch, warmup)
        self.log.note(f"resuming from {folder}: step {state.step} of {state.total}")
        for line in (*differences.accepted, *([change] if change else [])):
            self.log.warning(line)
        for name in collectives.run_on_main(
            lambda: checkpoint.set_aside_newer(self.output_dir, state.step)
        ):
            self.log.warning(f"a checkpoint newer than step {state.step} was renamed to {name}")
        # After a changed plan, a new run with the same flags would have another number of steps.
        is_expected = plan.is_replanned(state) and state.args["max_steps"] == self.args.max_steps
        if not change and state.total != new.total and not is_expected:
            self.log.warning(
                f"the flags now imply {new.total} steps; a resumed run keeps its {state.total} "
                "steps, after which its learning-rate schedule ends"
            )
        if differences.evaluation_changed:
            state.forget_best()
        self._check_best_and_prune(state, folder)
        state.args, state.compute_mode = new.args, new.compute_mode
        # What is not read now, such as a dev set without --do_eval, stays recorded.
        state.fingerprints = state.fingerprints | new.fingerprints
        state.stopped = self._out_of_patience(state)
        return state

    def _check_best_and_prune(self, state: TrainState, folder: Path) -> None:
        """Discard the best step if its checkpoint is missing, and delete checkpoints over the
        limit, which a crash may have left."""
        best = state.best_step
        if self.args.evaluates_apart() and not self.args.load_best_model_at_end:
            best = None  # it need not have been saved
        # As the main process sees it: on another host, the output folder may be another one.
        if best is not None and not collectives.run_on_main(
            lambda: best in checkpoint.saved_steps(self.output_dir)
        ):
            self.log.warning(
                f"the checkpoint of the best step so far, {best}, is not in {self.output_dir}: "
                "it is ignored"
            )
            state.best_step = state.best_metric = None
        if folder.resolve().parent == self.output_dir.resolve():
            collectives.run_on_main(lambda: self._prune(state))

    def _prune(self, state: TrainState) -> None:
        """Delete checkpoints over the limit."""
        limit = self.args.save_total_limit
        checkpoint.prune(self.output_dir, limit, state.best_step, self.warn_once)

    def fit(
        self,
        batches: TrainData,
        state: TrainState,
        evaluate: Callable[[], Mapping[str, float]],
        other_hooks: Sequence[Hook] = (),
    ) -> None:
        """Train to the end. `evaluate` is called before every save, or where the --eval_... flags
        say; it returns the metrics for the epoch's record, or an empty mapping if nothing is
        evaluated. A stop signal that interrupts it does not prevent the save; the resumed run
        evaluates that step first. other_hooks: run before it; they do not save."""
        args = self.args
        until = min(state.total, args.max_steps) if args.max_steps > 0 else state.total
        hooks = [*other_hooks]
        hooks += save_hooks.make_hooks(
            args,
            batches,
            state,
            evaluate,
            lambda: self._save(state),
            lambda: self._out_of_patience(state),
            self.log,
        )
        # Until the last checkpoint is written: only then may a signal end this process at once.
        with signals.requests.deferred():
            self._fit(batches, state, hooks, until)
            if name := collectives.pending_stop():
                raise interrupted(name, state)
            signals.requests.status = saved_status(state)
        collectives.run_on_main(lambda: epoch_metrics.print_epoch_table(self.log, self.output_dir))

    def _fit(self, batches: TrainData, state: TrainState, hooks: list[Hook], until: int) -> None:
        """Train, then wait until the last checkpoint is written."""
        has_no_step_left = state.step >= until or state.stopped
        try:
            with profile_steps(self.trainer, self.args.profile, self.output_dir, self.log):
                fit(self.trainer, batches, state, hooks, self.log, until, lambda: self._save(state))
            # A finished run that is resumed into another folder: its model is to be there too.
            if has_no_step_left and not collectives.run_on_main(
                lambda: state.step in checkpoint.saved_steps(self.output_dir)
            ):
                self._save(state)
        except Interrupted:
            # Raised on all processes: none exits before the checkpoint is written.
            collectives.run_on_main(self.writer.wait)
            raise
        except BaseException:
            self.writer.wait()  # the error may be only on this process: no collective calls
            raise
        finally:
            self.log.progress.close()
        collectives.run_on_main(self.writer.wait)

    def load_best(self, state: TrainState) -> int:
        """With --load_best_model_at_end, load the best weights. Returns the step whose weights the
        model then has. Raises RunError if the best checkpoint is damaged."""
        best = state.best_step
        if not self.args.load_best_model_at_end or best is None or best == state.step:
            return state.step
        folder = checkpoint.checkpoint_dir(self.output_dir, best)
        damage = checkpoint.find_damage(folder)
        if damage:
            raise RunError(f"the best checkpoint {folder} cannot be loaded: {damage}")
        model_state.restore_weights(self.model, folder)
        self.log.note(f"loaded the best checkpoint, model_{best}")
        return best

    def _materialize_snapshots(self) -> None:
        """Copy what is not yet written of the last snapshots: they share memory with the
        parameters, which the optimizer is about to change."""
        while self._unwritten:
            self._unwritten.pop().materialize()

    def _out_of_patience(self, state: TrainState) -> bool:
        """Whether early stopping is due."""
        return 0 < self.args.early_stopping_patience <= state.evaluations_since_best

    def _save(self, state: TrainState) -> None:
        """Write a checkpoint, delete those over the limit, and check for early stopping."""
        state.scaler = self.trainer.scaler_state()

        def start_writing() -> None:
            self.writer.wait()  # at most one snapshot is in memory
            weights = model_state.snapshot_tensors(self.model.state_dict())
            optimizer = model_state.snapshot_tensors(
                model_state.optimizer_tensors(self.model, self.trainer.optimizer)
            )
            write_model = self.model_writer(state, weights)
            saved_state = copy.deepcopy(state)
            self._unwritten = [weights, optimizer]

            def write() -> None:
                checkpoint.save(self.output_dir, saved_state, optimizer, write_model)
                self._prune(saved_state)

            self.writer.start(write)

        collectives.run_on_main(start_writing)
        if self._out_of_patience(state):
            state.stopped = True
            self.log.note(
                f"early stopping at step {state.step}: {state.evaluations_since_best} "
                f"evaluation(s) without improvement over step {state.best_step}"
            )


def write_results(output_dir: Path, values: dict[str, Any]) -> Path:
    """Write all_results.json; returns its path. Values from an earlier command on the same task are
    kept, but new eval_ values replace all earlier eval_ values, and new test_ values all earlier
    test_ values."""
    path = output_dir / RESULTS_FILE
    previous: dict[str, Any] = read_files.read_json_object(path) or {}
    if previous.get("task") != values.get("task"):
        previous = {}
    for prefix in ("eval_", "test_"):
        if any(key.startswith(prefix) for key in values):
            previous = {k: value for k, value in previous.items() if not k.startswith(prefix)}
    atomic_files.write_json(path, run_log.finite_or_none(previous | values))
    return path
