"""A run on texts: model and tokenizer, texts, training with samples, evaluation, report."""

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from bert_paddle import report
from bert_paddle.clm import card, loss, model_listing, model_source, rank_facts, samples
from bert_paddle.clm.args import ClmArgs
from bert_paddle.clm.evaluate import evaluate
from bert_paddle.clm.fingerprints import clm_fingerprints
from bert_paddle.clm.load import ClmData, read_data
from bert_paddle.clm.model_source import ModelSource
from bert_paddle.common import run_log
from bert_paddle.common.run_log import RunLog
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.models import freezing, gpt2, gpt2_config, model_state
from bert_paddle.training import checkpoint, model_card, rank_contents, run_files, run_info
from bert_paddle.training import run as training_run
from bert_paddle.training.job import TrainingJob
from bert_paddle.training.loop import Hook
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.run_info import RunInfo
from bert_paddle.training.step import Trainer
from bert_paddle.training.train_loader import TrainLoader
from bert_paddle.training.train_state import TrainState

PROGRAM, TASK = "run_clm", "text generation"


def run(args: ClmArgs) -> dict[str, Any]:
    """Train and evaluate as the flags say; returns the content of all_results.json.

    Raises UserError for invalid or incompatible flags, files and weights, RunError for a failure
    while running; checkpoints written before it are complete.
    """
    output_dir = Path(args.output_dir)
    log = RunLog(active=collectives.get_world().is_main)
    with lock_output_dir(output_dir):
        resume_from = collectives.run_on_main(lambda: _prepare_output_dir(args, output_dir, log))
        resume_from = rank_contents.local_checkpoint(args, resume_from)
        source = model_source.read_model_source(args, log)
        positions = source.config.max_position_embeddings
        data = read_data(args, source.tokenizer, positions, log)
        if args.sample_every:
            samples.check_settings(args, source)
        model = _build_model(args, source, log)
        rank_facts.check_same_contents(args, source, data, model, resume_from)
        job = ClmJob(args, output_dir, model, source, data, log)

        if args.do_train:
            job.fine_tune(resume_from, clm_fingerprints(data, source))
        else:
            job.begin_without_training()
        if args.do_eval:
            job.evaluate()

        job.write_results()
        report.write_after_run(args, output_dir, log)
    return job.values


def _prepare_output_dir(args: ClmArgs, output_dir: Path, log: RunLog) -> str | None:
    """Check the output folder; returns the checkpoint to resume from, or None."""
    run_files.check_outputs(args, args.inputs(), args.models(), (), args.do_train)
    return training_run.resolve_resume(args, output_dir, log) if args.do_train else None


def _build_model(args: ClmArgs, source: ModelSource, log: RunLog) -> Any:
    model = gpt2.build_gpt2(source.config, source.tensors)
    source.tensors = {}  # as large as the model
    config = source.config
    layers, embeddings = list(model.gpt.decoder.layers), model.gpt.embeddings
    parameters = freezing.freeze(
        model, layers, embeddings, args.freeze_layers, args.freeze_embeddings
    )
    log.note(
        f"model: {args.model_name_or_path}, {config.num_hidden_layers} layers x "
        f"{config.hidden_size}, {parameters.total:,} parameters, {parameters.trainable:,} of them "
        "trained" + "".join(f"; {note}" for note in source.notes)
    )
    return model


class ClmJob(TrainingJob):
    """The training job of a GPT-2.

    `step` is the step of the model's current weights; `evaluated_step` that of `eval_results`."""

    def __init__(
        self,
        args: ClmArgs,
        output_dir: Path,
        model: Any,
        source: ModelSource,
        data: ClmData,
        log: RunLog,
    ):
        super().__init__(args, output_dir, model, log, TASK)
        self.args: ClmArgs = args
        self.tokenizer, self.data = source.tokenizer, data
        self.pad_multiple = 8 if collectives.on_gpu() and data.max_length % 8 == 0 else 1
        self.autocast: Callable[[], AbstractContextManager] = nullcontext
        self.step = 0
        self.evaluated_step: int | None = None
        self.eval_results: dict[str, float] = {}
        datasets = {"train": data.train, "dev": data.dev}
        if data.unigram_perplexity is not None:
            self.values["unigram_perplexity"] = data.unigram_perplexity
        self.rows = {n: len(d.texts) for n, d in datasets.items() if d is not None}

    def fine_tune(self, resume_from: str | None, fingerprints: dict[str, str]) -> None:
        """Train; the model then has the weights of the last step, or with --load_best_model_at_end
        of the best one. resume_from: a checkpoint folder, or None."""
        args, train_set = self.args, self.data.train
        assert train_set is not None
        loader = TrainLoader(train_set, args, args.group_by_length, self.pad_multiple)
        objective = loss.objective(args.recompute)
        trainer = Trainer(self.model, objective, args, collectives.on_gpu(), self.log)
        self.autocast = trainer.autocast
        _, self.step = self.train(trainer, loader, len(train_set), fingerprints, resume_from)
        self.values["model"] = f"model_{self.step}"
        folder = checkpoint.checkpoint_dir(self.output_dir, self.step)
        lines = collectives.run_on_main(lambda: list(model_listing.file_lines(folder)))
        for line in (*model_listing.parameter_lines(self.model), *lines):
            self.log.note(line)

    def describe(self, steps: dict[str, int] | None) -> RunInfo:
        """The content of run.json; the best step is the one with the lowest perplexity."""
        data = self.data
        lengths = data.lengths.clip(max=data.max_length)
        parameters = freezing.count_parameters(self.model)
        return RunInfo(
            program=PROGRAM,
            task=TASK,
            data="own",
            parameters=parameters.total,
            trained_parameters=parameters.some_trainable,
            metric=["perplexity"],
            higher_is_better=False,
            rows=self.rows,
            lengths=run_info.length_counts(lengths, data.cut, data.max_length),
            steps=steps,
        )

    def hooks(self, state: TrainState) -> Sequence[Hook]:
        if not self.args.sample_every:
            return ()
        sampler = samples.Sampler(self.args, self.model, self.tokenizer, self.autocast, self.log)
        action = functools.partial(sampler.sample, state)
        return (Hook(self.args.sample_every, action, saves=False, evaluates=False),)

    def evaluate_at_step(self, state: TrainState) -> dict[str, float]:
        self.step = state.step
        if not self.args.do_eval:
            return {}
        self.evaluate(state)
        results = self.eval_results
        return {"eval_loss": results["loss"], "perplexity": results["perplexity"]}

    def evaluate(self, state: TrainState | None = None) -> None:
        """Evaluate on the dev texts, unless the current weights have been evaluated. state: during
        training, its state, whose best step is updated; None after training or without it."""
        dev = self.data.dev
        if self.evaluated_step == self.step or dev is None:
            return
        start = time.perf_counter()
        with self.autocast(), self.log.row_progress("evaluation", len(dev)) as show_rows:
            results = evaluate(self.model, dev, self.args.eval_batch_size, show_rows)
        seconds = time.perf_counter() - start
        self.log.line(
            run_log.eval_line(results["loss"], [("perplexity", results["perplexity"])], [])
        )
        # After training, metrics.jsonl already has an evaluation of these weights.
        if state is not None or not self.args.do_train:
            self.log.log_metrics("eval", self.step, **results)
        if state is not None:
            state.update_best(results["perplexity"], higher_is_better=False)
        self.evaluated_step, self.eval_results = self.step, results
        name = f"model_{self.step}" if self.args.do_train else self.args.model_name_or_path
        self.values |= {f"eval_{key}": value for key, value in results.items()} | {
            "eval_model": name,
            "eval_samples": len(dev),
            "eval_tokens": dev.predicted_tokens,
            "eval_runtime": seconds,
            "eval_samples_per_second": len(dev) / max(1e-9, seconds),
        }

    def model_writer(self, state: TrainState, weights: TensorSnapshot) -> Callable[[Path], None]:
        config = {
            "architectures": [gpt2_config.ARCHITECTURE],
            "model_type": gpt2_config.MODEL_TYPE,
            **{f"{role}_token_id": self.tokenizer.id_of(role) for role in self.tokenizer.roles},
        }
        write_model = model_state.model_writer(self.model, config, weights)
        results = self.eval_results if self.evaluated_step == state.step else None
        facts = card.card_facts(self.args, self.rows, self.data.max_length, results, state)
        write_card = model_card.card_writer(facts)

        def write(folder: Path) -> None:
            write_model(folder)
            self.tokenizer.save(folder)
            write_card(folder)

        return write
