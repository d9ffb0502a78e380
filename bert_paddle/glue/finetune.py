"""The story of a fine-tuning run: read, encode, build, train, evaluate, predict."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from bert_paddle import report
from bert_paddle.common import run_log, runtime
from bert_paddle.common.errors import OutputError
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.glue import card, evaluate, prediction_tsv, results, run_info
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.custom import load
from bert_paddle.glue.data import dataset
from bert_paddle.glue.data import load as glue_data
from bert_paddle.glue.data.load import EncodedData, RawData
from bert_paddle.glue.tasks import Task, get_task
from bert_paddle.models import classifier, compute_mode, hub, load_weights, model_config, tokenizer
from bert_paddle.models.model_config import ModelConfig
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.training import model_card, verify_model_dir
from bert_paddle.training import run as training_run
from bert_paddle.training.job import TrainingJob
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.run_info import RunInfo
from bert_paddle.training.step import Trainer
from bert_paddle.training.train_state import TrainState


def run(args: GlueArgs) -> dict[str, Any]:
    """Fine-tune, evaluate and predict as the flags say; returns what all_results.json holds.

    Raises UserError for flags, files and weights that do not fit, RunError when something breaks
    while running; checkpoints written until then are whole.
    """
    with lock_output_dir(Path(args.output_dir)):
        return _run(args)


def _run(args: GlueArgs) -> dict[str, Any]:
    log = run_log.RunLog(active=collectives.get_world().is_main)
    output_dir = Path(args.output_dir)
    resume_from = collectives.run_on_main(lambda: _prepare_output(args, output_dir, log))

    source = collectives.run_on_main_first(
        lambda: hub.find_model_dir(args.model_name_or_path, runtime.home_dir(), log.note)
    )
    collectives.run_on_main(lambda: verify_model_dir.verify_model_dir(source))
    training_run.check_source_not_deleted(args, output_dir, source)
    tokens = tokenizer.load(source, args.vocab_file)
    config = model_config.read_config(source)

    def check_fit(pairs: bool) -> None:
        classifier.check_sizes(config.values, len(tokens), args.max_seq_length, pairs, source)

    task, found = _read(args, config, check_fit, log)
    data = glue_data.encode_all(found, tokens, args, log)

    # The weights as read are held by nobody afterwards: they are as large as the model.
    built = classifier.build_classifier(
        load_weights.load_weights(source), task.labels, args.seed, need_head=not args.do_train
    )
    log.note(f"model: {source}" + "".join(f"; {note}" for note in built.notes))

    job = FineTuning(task, args, output_dir, built.model, tokens, data, log)
    if args.do_train:
        job.fine_tune(resume_from)
    else:
        job.record.begin(job.describe(None), trains=False, resumed=False)
    if args.do_eval:
        job.evaluate()
    if args.do_predict:
        job.predict()
    job.write_results()
    report.write_after_run(args, output_dir, log)
    return job.values


def _read(
    args: GlueArgs, config: ModelConfig, check_fit: Callable[[bool], None], log: run_log.RunLog
) -> tuple[Task, RawData]:
    """The task and its rows, as files have them. A model that does not fit is told before files
    are read or downloaded, where that can be known before."""
    if args.task_name is None:
        check_fit(False)
        task, found = load.read(args, config, log)
        check_fit(task.is_pair)
        return task, found
    task = get_task(args.task_name)
    check_fit(task.is_pair)
    found = glue_data.read(task, args, log)
    if args.do_predict and args.test_file:
        load.add_test(task, args, found, log)
    return task, found


class FineTuning(TrainingJob):
    """A classifier with its task and data, and the results so far."""

    def __init__(
        self,
        task: Task,
        args: GlueArgs,
        output_dir: Path,
        model: Any,
        tokens: Tokenizer,
        data: EncodedData,
        log: run_log.RunLog,
    ):
        super().__init__(args, output_dir, model, log, task.name)
        self.args: GlueArgs = args
        self.task, self.tokens, self.data = task, tokens, data
        # Tensor cores want multiples of 8, but no row may grow beyond the model's positions.
        self.pad_multiple = 8 if collectives.on_gpu() and args.max_seq_length % 8 == 0 else 1
        self.precision: Callable[[], AbstractContextManager] = nullcontext
        self.values["data"] = data.kind
        self.step = 0  # of the weights that the model has now
        self.evaluated_at: int | None = None
        self.evaluated: list[evaluate.Result] = []  # of the dev sets, by the last evaluation
        log.marks = {"data": "demo"} if data.demo else {}
        model.eval()
        compute_mode.set_compute_mode(model, args, log)

    def fine_tune(self, resume: str | None) -> None:
        """Train to the end, or from a checkpoint; leaves the last or best weights."""
        rows = self.data.train
        assert rows is not None
        batches = dataset.TrainLoader(rows, self.args, self.pad_multiple)
        objective = dataset.objective(self.task.is_regression)
        trainer = Trainer(self.model, objective, self.args, collectives.on_gpu(), self.log)
        self.precision = trainer.precision
        _, self.step = self.train(trainer, batches, len(rows), rows.fingerprint(), resume)

    def describe(self, steps: dict[str, int] | None) -> RunInfo:
        kind = self.values["data"]
        return run_info.describe(self.task, self.args, self.data, kind, self.model, steps)

    def evaluate_at(self, state: TrainState) -> dict[str, float]:
        self.step = state.step
        if not self.args.do_eval:
            return {}
        self.evaluate(state)
        return results.of_epoch(self.data, self.evaluated)

    def snapshot(self, state: TrainState, weights: TensorSnapshot) -> Callable[[Path], None]:
        about = classifier.classifier_config(self.task.labels, self.task.name)
        if self.data.own:
            about |= load.remembered(self.task)
        write_model = classifier.model_writer(self.model, about, weights)
        evaluated = self.evaluated if self.evaluated_at == state.step else []
        facts = card.facts(self.task, self.args, self.data, evaluated, state)
        write_card = model_card.card_writer(facts)

        def write(folder: Path) -> None:
            write_model(folder)
            self.tokens.save(folder)
            write_card(folder)

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
                self.log,
                # After a training, every evaluation of these weights is on record.
                self.step if state or not self.args.do_train else None,
            )
        self.values["eval_model"] = self._weights_of()
        self.evaluated_at, self.evaluated = self.step, evaluated
        self.values |= values
        if state is not None:
            results.note_best(self.task, state, evaluated)

    def _weights_of(self) -> str:
        """The name of the model that has the weights of now."""
        return f"model_{self.step}" if self.args.do_train else self.args.model_name_or_path

    def predict(self) -> None:
        """Write predictions/<TASK>.tsv for every test set, and the rows of those with labels."""
        predicted = []
        for task, test_set, rows in self.data.test:
            with self.precision():
                scores = evaluate.logits(
                    self.model, rows, self.args.eval_batch_size, self.pad_multiple
                )
            evaluate.check_finite(scores, self._weights_of())
            if rows.labels is not None:
                self.values |= results.score_test(task, test_set, scores, rows, self.log)
            # For `submission`: a file under a task's name may be of rows that are not the task's.
            kind = "own" if test_set.own else self.data.kind
            self.values[f"predictions_{test_set.submission}"] = kind
            predicted.append((task, test_set, rows, scores))

        def write() -> list[Path]:
            return [prediction_tsv.write_set(*one, self.output_dir) for one in predicted]

        paths = collectives.run_on_main(write)
        demo = ", of demo rows" if self.data.demo else ""
        for path, (_, _, rows, _) in zip(paths, predicted, strict=True):
            self.log.note(f"predictions: {path} ({len(rows)} rows{demo})")

    def write_results(self) -> None:
        """Write the dev sets' predictions by row, then as every job."""
        collectives.run_on_main(
            lambda: run_info.write_dev_predictions(
                self.task, self.data, self.evaluated, self.output_dir
            )
        )
        super().write_results()


def _prepare_output(args: GlueArgs, folder: Path, log: run_log.RunLog) -> str | None:
    """Make the output folder fit for the run; returns the checkpoint to go on from, if any."""
    if args.do_predict and (folder / "predictions").exists():
        if not (folder / "predictions").is_dir():
            raise OutputError(
                f"{folder / 'predictions'} is a file where a folder is to be: move it"
            )
    if not args.do_train:
        log.keep_records(folder)
        return None
    return training_run.resolve_resume(args, folder, log)
