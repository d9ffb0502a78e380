"""The story of a fine-tuning run: read, encode, build, train, evaluate, predict."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle import dist, env, hub, log, model, model_config, runs, tokenizer, weights
from bert_paddle.checkpoint import TrainState
from bert_paddle.errors import OutputError
from bert_paddle.glue import data as glue_data
from bert_paddle.glue import encoded, evaluate, predict, results
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data import Data
from bert_paddle.glue.tasks import Task, get_task
from bert_paddle.runs import Run
from bert_paddle.tokenizer import Tokenizer
from bert_paddle.trainer import Trainer


def run(args: GlueArgs) -> dict[str, Any]:
    """Fine-tune, evaluate and predict as the flags say; returns what all_results.json holds.

    Raises UserError for flags, files and weights that do not fit, RunError when something breaks
    while running; checkpoints written until then are whole.
    """
    with runs.claimed(Path(args.output_dir)):
        return _run(args)


def _run(args: GlueArgs) -> dict[str, Any]:
    out = log.Log(active=dist.current().is_main)
    task, output_dir = get_task(args.task_name), Path(args.output_dir)
    resume_from = dist.main_only(lambda: _prepare_output(args, output_dir, out))

    source = dist.main_first(lambda: hub.resolve(args.model_name_or_path, env.home(), out.note))
    runs.keep_source(args, output_dir, source)
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
        run = Run(args, self.output_dir, trainer, self._snapshot, self.out)
        state = run.begin(batches, rows.fingerprint(), resume_from)
        self.out.note(
            f"training: {len(rows)} rows, {batches.updates_per_epoch} updates an epoch of "
            f"{batches.rows_per_update} rows each, {state.total} updates in all"
        )
        run.fit(batches, state, lambda: self._evaluate_at(state))
        self.step = run.end(state)
        self.values |= run.values(state, batches.updates_per_epoch, len(rows))

    def _evaluate_at(self, state: TrainState) -> None:
        self.step = state.step
        if self.args.do_eval:
            self.evaluate(state)

    def _snapshot(self) -> Callable[[Path], None]:
        about = model.classifier_config(self.task.labels, self.task.name)
        write_model = model.snapshot(self.model, about)

        def write(folder: Path) -> None:
            write_model(folder)
            self.tokens.save(folder)

        return write

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
        path = dist.main_only(lambda: runs.write_results(self.output_dir, self.values))
        self.out.note(f"results: {path}")


def _prepare_output(args: GlueArgs, folder: Path, out: log.Log) -> str | None:
    """Make the output folder fit for the run; returns the checkpoint to go on from, if any."""
    if args.do_predict and (folder / "predictions").exists():
        if not (folder / "predictions").is_dir():
            raise OutputError(
                f"{folder / 'predictions'} is a file where a folder is to be: move it"
            )
    if not args.do_train:
        out.keep_records(folder)
        return None
    return runs.where_to_begin(args, folder, out)
