"""The story of a fine-tuning run: read, encode, build, train, evaluate, predict."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle import checkpoint, dist, env, hub, log, model, model_config, tokenizer, weights
from bert_paddle.checkpoint import TrainState
from bert_paddle.errors import OutputError, RunError
from bert_paddle.glue import data as glue_data
from bert_paddle.glue import encoded, evaluate, predict, results
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data import Data
from bert_paddle.glue.tasks import Task, get_task
from bert_paddle.tokenizer import Tokenizer
from bert_paddle.training import Hook, Trainer, fit


def run(args: GlueArgs) -> dict[str, Any]:
    """Fine-tune, evaluate and predict as the flags say; returns what all_results.json holds.

    Raises UserError for flags, files and weights that do not fit, RunError when something breaks
    while running; checkpoints written until then are whole.
    """
    out = log.Log(active=dist.current().is_main)
    task, output_dir = get_task(args.task_name), Path(args.output_dir)
    resume_from = dist.main_only(lambda: _prepare_output(args, output_dir, out))

    source = dist.main_first(lambda: hub.resolve(args.model_name_or_path, env.home(), out.note))
    _check_source(args, output_dir, source)
    tokens = tokenizer.load(source, args.vocab_file)
    config = model_config.read_config(source)
    model.check_fit(config.values, len(tokens), args.max_seq_length, task.is_pair, source)
    data = glue_data.encode_all(glue_data.read(task, args, out), tokens, args, out)

    saved = weights.load_checkpoint(source)
    built = model.build_classifier(saved, task.labels, args.seed, need_head=not args.do_train)
    out.note(f"model: {source}" + "".join(f"; {note}" for note in built.notes))

    job = Job(task, args, output_dir, built.model, tokens, data, out)
    if args.do_train:
        job.train(resume_from)
    if args.do_eval:
        job.evaluate()
    if args.do_predict:
        job.predict()
    job.write_results()
    return job.values


@dataclass
class Job:
    """A model and data with what has come of them so far."""

    task: Task
    args: GlueArgs
    output_dir: Path
    model: Any
    tokens: Tokenizer
    data: Data
    out: log.Log

    def __post_init__(self) -> None:
        # Tensor cores want multiples of 8, but no row may grow beyond the model's positions.
        self.pad_multiple = 8 if dist.on_gpu() and self.args.max_seq_length % 8 == 0 else 1
        self.precision: Callable[[], AbstractContextManager] = nullcontext
        self.values: dict[str, Any] = {
            "task": self.task.name,
            "data": "demo" if self.data.demo else "glue",
        }
        self.step = 0  # of the weights that the model has now
        self.evaluated_at: int | None = None
        self.out.marks = {"data": "demo"} if self.data.demo else {}
        self.model.eval()

    def train(self, resume_from: str | None) -> None:
        """Train to the end, evaluating and saving on the way; leaves the last or best weights."""
        args, rows = self.args, self.data.train
        assert rows is not None
        batches = encoded.TrainBatches(rows, args, self.pad_multiple)
        objective = encoded.objective(self.task.is_regression)
        trainer = Trainer(self.model, objective, args, dist.on_gpu(), self.out)
        self.precision = trainer.precision
        if args.overwrite_output_dir:
            dist.main_only(lambda: checkpoint.remove_run(self.output_dir))
        state = self._begin(trainer, batches, resume_from)
        until = min(state.total, args.max_steps) if args.max_steps > 0 else state.total
        self.out.keep_records(self.output_dir, state.step)
        self.out.note(
            f"training: {len(rows)} rows, {batches.updates_per_epoch} updates an epoch of "
            f"{batches.rows_per_update} rows each, {state.total} updates in all"
        )
        hook = Hook(args.save_steps, lambda: self._save(trainer, state))
        fit(trainer, batches, state, [hook], self.out, until)
        self.step = state.step
        best = state.best_step
        if args.load_best_model_at_end and best is not None and best != state.step:
            self._restore_best(best)
            self.step = best
            self.out.note(f"the best checkpoint is model_{best}: going on with it")
        self.values |= results.train_values(state, batches.updates_per_epoch, len(rows))

    def _begin(
        self, trainer: Trainer, batches: encoded.TrainBatches, resume_from: str | None
    ) -> TrainState:
        """A new state, or that of a checkpoint, whose tensors are put in place."""
        args, rows = self.args, self.data.train
        assert rows is not None
        planned = math.ceil(args.num_train_epochs * batches.updates_per_epoch)
        total = min(planned, args.max_steps) if args.max_steps > 0 else planned
        fresh = TrainState(
            total=total,
            rows_per_update=batches.rows_per_update,
            fingerprint=rows.fingerprint(),
            args=args.as_dict(),
        )
        if resume_from is None:
            return fresh
        folder = Path(resume_from)
        state, tensors = checkpoint.read(folder)
        checkpoint.check_same_run(state, fresh, folder)
        model.restore(self.model, folder)
        model.restore_optimizer(self.model, trainer.optimizer, tensors)
        trainer.restore_scaler(state.scaler)
        self.out.note(f"going on from {folder}: step {state.step} of {state.total}")
        state.batch = state.update * args.gradient_accumulation_steps
        for name in dist.main_only(lambda: checkpoint.set_aside_newer(self.output_dir, state.step)):
            self.out.warning(f"a checkpoint beyond step {state.step} is set aside as {name}")
        if state.total != total:
            self.out.warning(
                f"the flags plan {total} updates; a resumed run keeps its {state.total}, where its "
                "learning-rate schedule ends"
            )
        state.args = fresh.args
        state.stopped = self._out_of_patience(state)
        if folder.resolve().parent != self.output_dir.resolve() and state.best_step is not None:
            self.out.warning(
                f"{folder} is of another output folder: its best step so far, {state.best_step}, "
                "is forgotten"
            )
            state.best_step = state.best_metric = None
        return state

    def _restore_best(self, step: int) -> None:
        folder = checkpoint.folder_of(self.output_dir, step)
        wrong = checkpoint.whats_wrong(folder)
        if wrong:
            raise RunError(f"the best checkpoint {folder} cannot be loaded: {wrong}")
        model.restore(self.model, folder)

    def _out_of_patience(self, state: TrainState) -> bool:
        return 0 < self.args.early_stopping_patience <= state.evaluations_since_best

    def _save(self, trainer: Trainer, state: TrainState) -> None:
        """Evaluate, remember the best step, write the checkpoint, drop what is over the limit."""
        args, self.step = self.args, state.step
        if args.do_eval:
            self.evaluate(state)
        state.scaler = trainer.scaler_state()
        optimizer = model.optimizer_tensors(self.model, trainer.optimizer)

        def write() -> None:
            checkpoint.save(self.output_dir, state, optimizer, self._write_model)
            checkpoint.prune(self.output_dir, args.save_total_limit, state.best_step)

        dist.main_only(write)
        if self._out_of_patience(state):
            state.stopped = True
            self.out.note(
                f"stopping at step {state.step}: {state.evaluations_since_best} evaluation(s) "
                f"without a better one than step {state.best_step}"
            )

    def _write_model(self, folder: Path) -> None:
        model.save(self.model, folder, self.task.labels, self.task.name)
        self.tokens.save(folder)

    def evaluate(self, state: TrainState | None = None) -> None:
        """Evaluate on the dev sets, unless these very weights have been."""
        if self.evaluated_at == self.step:
            return
        with self.precision():
            evaluated, values = results.evaluate_all(
                self.task,
                self.model,
                self.data,
                self.args.eval_batch_size,
                self.pad_multiple,
                self.out,
                # After a training, every evaluation of these weights is on record.
                self.step if state or not self.args.do_train else None,
            )
        weights_of = f"model_{self.step}" if self.args.do_train else self.args.model_name_or_path
        self.values["eval_model"] = weights_of
        self.evaluated_at = self.step
        self.values |= values
        if state is not None:
            results.note_best(self.task, state, evaluated)

    def predict(self) -> None:
        """Write predictions/<TASK>.tsv for every test set."""
        folder, scored = self.output_dir / "predictions", []
        for task, test_set, rows in self.data.test:
            with self.precision():
                scores = evaluate.logits(
                    self.model, rows, self.args.eval_batch_size, self.pad_multiple
                )
            if rows.labels is not None:
                self.values |= results.score_test(task, scores, rows, self.out)
            scored.append((task, scores, folder / test_set.submission))

        def write() -> None:
            for one in scored:
                predict.write(*one)

        dist.main_only(write)
        demo = ", of demo rows" if self.data.demo else ""
        for _, scores, path in scored:
            self.out.note(f"predictions: {path} ({len(scores)} rows{demo})")

    def write_results(self) -> None:
        """Write all_results.json."""
        path = dist.main_only(lambda: results.write(self.output_dir, self.values))
        self.out.note(f"results: {path}")


def _prepare_output(args: GlueArgs, folder: Path, out: log.Log) -> str | None:
    """Make the output folder fit for the run; returns the checkpoint to go on from, if any.

    Raises OutputError for a folder that cannot be written, or that holds another run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"--output_dir {folder} cannot be written ({error.strerror}): give another folder"
        ) from None
    if args.do_predict and (folder / "predictions").exists():
        if not (folder / "predictions").is_dir():
            raise OutputError(
                f"{folder / 'predictions'} is a file where a folder is to be: move it"
            )
    if not args.do_train:
        out.keep_records(folder)
        return None
    if args.overwrite_output_dir:
        return None
    checkpoint.clear_leftovers(folder)
    if args.resume_from_checkpoint == "auto":
        latest = checkpoint.latest(folder, out.warning)
        return str(latest) if latest else None
    own = Path(args.resume_from_checkpoint or "").resolve().parent == folder.resolve()
    if checkpoint.holds_run(folder) and not (args.resume_from_checkpoint and own):
        raise OutputError(
            f"--output_dir {folder} already holds a run: go on with --resume_from_checkpoint auto, "
            "start anew with --overwrite_output_dir, or give another folder"
        )
    return args.resume_from_checkpoint


def _check_source(args: GlueArgs, output_dir: Path, source: Path) -> None:
    """Raise OutputError when the model to start from would be deleted with the old run."""
    if not args.overwrite_output_dir:
        return
    for part in checkpoint.parts_of_run(output_dir):
        if part.resolve() in (source.resolve(), *source.resolve().parents):
            raise OutputError(
                f"--overwrite_output_dir would delete {source}, the model to start from: give "
                "another --output_dir"
            )
