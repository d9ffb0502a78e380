"""A fine-tuning run: read and encode data, build the model, train, evaluate, predict, report."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from bert_paddle import report
from bert_paddle.common.run_log import RunLog
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.glue import (
    card,
    class_weights,
    evaluate,
    loss,
    output_check,
    rank_facts,
    results,
    run_info,
    run_inputs,
)
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.custom.saved_task import config_entry
from bert_paddle.glue.data.load import EncodedData, encode_data
from bert_paddle.glue.data.row_limits import limit_rows
from bert_paddle.glue.fingerprints import glue_fingerprints
from bert_paddle.glue.label_args import DEFAULT_THRESHOLD
from bert_paddle.glue.predictions import write_test_predictions
from bert_paddle.glue.tasks import Task
from bert_paddle.models import (
    classifier,
    model_state,
)
from bert_paddle.models.forward_pass import ForwardPass
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.training import model_card, rank_contents, resume_check
from bert_paddle.training import run as training_run
from bert_paddle.training.job import TrainingJob
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.run_info import RunInfo
from bert_paddle.training.step import Objective, Trainer
from bert_paddle.training.train_loader import TrainLoader
from bert_paddle.training.train_state import TrainState


def run(args: GlueArgs) -> dict[str, Any]:
    """Fine-tune, evaluate and predict as the flags say; returns the values of all_results.json.

    Raises UserError for invalid or incompatible flags, files and weights, RunError for a failure
    while running; checkpoints written before it are complete.
    """
    output_dir = Path(args.output_dir)
    log = RunLog(active=collectives.get_world().is_main)
    with lock_output_dir(output_dir):
        resume_from = collectives.run_on_main(lambda: _prepare_output_dir(args, output_dir, log))
        resume_from = rank_contents.local_checkpoint(args, resume_from)
        if resume_from is not None:
            resume_check.take_flags_of_run(args, resume_check.saved_flags(resume_from))
        model_name = args.model_name_or_path
        model_dir = training_run.find_initial_model(model_name, log)
        tokenizer = run_inputs.load_run_tokenizer(args, model_dir)
        for message in tokenizer.messages:
            log.note(message)

        task, raw_data = run_inputs.read_data(args, model_dir, tokenizer, log)
        limit_rows(raw_data, args, log)
        weights = class_weights.resolve(args, task, raw_data.train, log) if args.do_train else None
        data = encode_data(raw_data, tokenizer, args, log)
        if data.demo:
            log.tag_records(data="demo")
        forward = run_inputs.build_model(args, task, model_dir, log)
        rank_facts.check_same_contents(args, task, data, forward.model, tokenizer, resume_from)
        job = FineTuningJob(task, args, output_dir, forward, tokenizer, data, log)

        if args.do_train:
            digests = glue_fingerprints(task, data, tokenizer, model_dir)
            objective = loss.task_objective(task, weights, args.label_smoothing_factor)
            job.fine_tune(objective, resume_from, digests)
        else:
            job.begin_without_training()
        if args.do_eval:
            job.evaluate()
        if args.do_predict:
            job.predict()

        job.write_results()
        report.write_after_run(args, output_dir, log)
    return job.values


def _prepare_output_dir(args: GlueArgs, output_dir: Path, log: RunLog) -> str | None:
    """Check the output folder; returns the checkpoint to resume from, or None."""
    output_check.check_outputs(args)
    return training_run.resolve_resume(args, output_dir, log) if args.do_train else None


class FineTuningJob(TrainingJob):
    """A classifier with its task, its data and the results so far.

    `step` is the step of the model's current weights; `evaluated_step` that of `eval_results`."""

    def __init__(
        self,
        task: Task,
        args: GlueArgs,
        output_dir: Path,
        forward: ForwardPass,
        tokenizer: Tokenizer,
        data: EncodedData,
        log: RunLog,
    ):
        super().__init__(args, output_dir, forward.model, log, task.name)
        self.forward = forward
        self.args: GlueArgs = args
        self.task, self.tokenizer, self.data = task, tokenizer, data
        # Tensor cores need multiples of 8, but no row may exceed the model's positions.
        self.pad_multiple = 8 if collectives.on_gpu() and args.max_seq_length % 8 == 0 else 1
        self.autocast: Callable[[], AbstractContextManager] = nullcontext
        self.values["data"] = data.origin
        self.step = 0
        self.evaluated_step: int | None = None
        self.eval_results: list[evaluate.EvalResult] = []  # one per dev set

    def fine_tune(
        self, objective: Objective, resume_from: str | None, fingerprints: dict[str, str]
    ) -> None:
        """Train; the model then has the weights of the last step, or with --load_best_model_at_end
        of the best one. resume_from: a checkpoint folder, or None. fingerprints: see
        glue.fingerprints."""
        train_set = self.data.train
        assert train_set is not None
        args = self.args
        loader = TrainLoader(train_set, args, args.group_by_length, self.pad_multiple)
        trainer = Trainer(
            self.model, objective, self.args, collectives.on_gpu(), self.log, self.forward
        )
        self.autocast = trainer.autocast
        _, self.step = self.train(trainer, loader, len(train_set), fingerprints, resume_from)

    def describe(self, steps: dict[str, int] | None) -> RunInfo:
        return run_info.describe(self.task, self.args, self.data, self.model, self.tokenizer, steps)

    def evaluate_at_step(self, state: TrainState) -> dict[str, float]:
        self.step = state.step
        if not self.args.do_eval:
            return {}
        self.evaluate(state)
        return results.epoch_values(self.data, self.eval_results)

    def model_writer(self, state: TrainState, weights: TensorSnapshot) -> Callable[[Path], None]:
        task = self.task
        is_evaluated = self.evaluated_step == state.step
        if self.args.fits_thresholds and not is_evaluated:
            task = replace(task, thresholds=(DEFAULT_THRESHOLD,) * len(task.labels))
        config = classifier.classifier_config(task.labels, task.name, task.multi_label)
        if self.data.custom:
            config |= config_entry(task)
        write_model = model_state.model_writer(self.model, config, weights)
        eval_results = self.eval_results if is_evaluated else []
        facts = card.facts(task, self.args, self.data, eval_results, state)
        write_card = model_card.card_writer(facts)

        def write(folder: Path) -> None:
            write_model(folder)
            self.tokenizer.save(folder)
            write_card(folder)

        return write

    def evaluate(self, state: TrainState | None = None) -> None:
        """Evaluate on the dev sets, unless the current weights have been evaluated. state: during
        training, its state, whose best step is updated; None after training or without it."""
        if self.evaluated_step == self.step:
            return
        # After training, metrics.jsonl already has an evaluation of these weights.
        is_new = state is not None or not self.args.do_train
        with self.autocast():
            eval_results, values = results.evaluate_dev_sets(
                self.task,
                self.forward,
                self.data,
                self.args.eval_batch_size,
                self.pad_multiple,
                self.log,
                self.step if is_new else None,
                self.args.fits_thresholds,
            )
        self.values["eval_model"] = self._model_name()
        self.evaluated_step, self.eval_results = self.step, eval_results
        if self.args.fits_thresholds:
            self.task = replace(self.task, thresholds=eval_results[0].thresholds)
        self.values |= values
        if state is not None:
            results.update_best_step(self.task, state, eval_results)

    def predict(self) -> None:
        """Write predictions/<TASK>.tsv for every test set, and for labelled ones the metrics and
        test_predictions_<TASK>.jsonl."""
        predicted = []
        for task, test_set, dataset in self.data.test:
            task = self.task if task.multi_label else task  # with the thresholds of these weights
            name = f"prediction ({test_set.file})"
            with self.autocast(), self.log.row_progress(name, len(dataset)) as show_rows:
                outputs = evaluate.compute_outputs(
                    task,
                    self.forward,
                    dataset,
                    self.args.eval_batch_size,
                    self.pad_multiple,
                    show_rows,
                )
            evaluate.check_finite(outputs.finite, self._model_name())
            if dataset.labels is not None:
                self.values |= results.score_test_set(task, test_set, outputs, dataset, self.log)
            # Tells the `submission` command a GLUE test set from a user's file of the same name.
            origin = "own" if test_set.custom else self.data.origin
            self.values[f"predictions_{test_set.submission}"] = origin
            predicted.append((task, test_set, dataset, outputs))

        def write() -> list[Path]:
            shares = self.args.predict_probabilities
            return [write_test_predictions(*test, self.output_dir, shares) for test in predicted]

        paths = collectives.run_on_main(write)
        demo = "demo " if self.data.demo else ""
        for path, (_, _, dataset, _) in zip(paths, predicted, strict=True):
            self.log.note(f"predictions: {path} ({len(dataset)} {demo}rows)")

    def write_results(self) -> None:
        """Write dev_predictions.jsonl, all_results.json and the final entries of run.json."""
        collectives.run_on_main(
            lambda: run_info.write_dev_predictions(
                self.task, self.data, self.eval_results, self.output_dir
            )
        )
        if self.task.multi_label:
            self._record_thresholds()
        super().write_results()

    def _record_thresholds(self) -> None:
        """Add the thresholds to the results, and say those that were fitted."""
        named = dict(zip(self.task.labels, self.task.thresholds, strict=True))
        self.values["thresholds"] = named
        if self.args.fits_thresholds:
            listed = ", ".join(f"{name} {value}" for name, value in [*named.items()][:20])
            self.log.note(
                f"thresholds fitted to the dev set, which makes its metrics optimistic: {listed}"
                + (", ..." if len(named) > 20 else "")
            )

    def _model_name(self) -> str:
        """The checkpoint or model that the current weights come from."""
        return f"model_{self.step}" if self.args.do_train else self.args.model_name_or_path
