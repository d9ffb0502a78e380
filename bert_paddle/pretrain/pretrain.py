"""A pre-training run: configuration, shards, model, training, held-out evaluation."""

import itertools
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from bert_paddle import report
from bert_paddle.common import run_log, runtime
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.models import compute_mode, load_weights, model_state, weight_files
from bert_paddle.models.forward_pass import ForwardPass
from bert_paddle.pretrain import card, model_source, rank_facts
from bert_paddle.pretrain import model as pretrain_model
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.data.loader import PretrainLoader, eval_row_ranges, read_batches
from bert_paddle.pretrain.data.shards import ShardSet
from bert_paddle.pretrain.evaluate import evaluate
from bert_paddle.pretrain.fingerprints import pretrain_fingerprints
from bert_paddle.pretrain.masks import RunMasks
from bert_paddle.pretrain.model_source import ModelSource
from bert_paddle.pretrain.open_shards import (
    open_held_out,
    open_shards,
    warn_rows_without_predictions,
)
from bert_paddle.training import model_card, rank_contents, run_files
from bert_paddle.training import run as training_run
from bert_paddle.training.job import TrainingJob
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.run_info import RunInfo
from bert_paddle.training.step import Trainer
from bert_paddle.training.train_state import TrainState


def run(args: PretrainArgs) -> dict[str, Any]:
    """Pre-train with these flags; returns the content of all_results.json.

    Raises UserError for invalid flags, shards and weights, and RunError for failures during the
    run; checkpoints written before a failure are complete.
    """
    with lock_output_dir(Path(args.output_dir)):
        return _run(args) if args.do_train else _evaluate_only(args)


def _evaluate_only(args: PretrainArgs) -> dict[str, Any]:
    """Evaluate a given model on the held-out shards, without training."""
    log, output_dir = run_log.RunLog(active=collectives.get_world().is_main), Path(args.output_dir)

    collectives.run_on_main(lambda: _check_outputs(args))
    source = _read_source(args, log)
    held_out, masks = open_held_out(args, source, log)
    name = args.init_from or args.model_name_or_path
    folder = training_run.find_initial_model(name, log)
    weights = load_weights.load_weights(folder)
    model, notes = pretrain_model.build_model(
        source.config, args.seed, weights, args.nsp, need_heads=True
    )
    model.eval()
    log.note("; ".join([f"model: {name}, {_describe_size(model)}", *notes]))
    by_kernels = compute_mode.set_compute_mode(model, args, log)
    products = compute_mode.choose_products(args, by_kernels, log)
    forward = pretrain_model.forward_pass(model, by_kernels, args.nsp, products)
    job = PretrainJob(args, output_dir, forward, source, held_out, masks, log)
    job.evaluate_only(str(folder))
    job.write_results()
    report.write_after_run(args, output_dir, log)
    return job.values


def _run(args: PretrainArgs) -> dict[str, Any]:
    log, output_dir = run_log.RunLog(active=collectives.get_world().is_main), Path(args.output_dir)
    collectives.run_on_main(lambda: _check_outputs(args))
    resume_from = collectives.run_on_main(
        lambda: training_run.resolve_resume(args, output_dir, log)
    )
    resume_from = rank_contents.local_checkpoint(args, resume_from)
    source = _read_source(args, log)
    data = open_shards(args, source, resume_from, log)

    # The loaded weights, as large as the model, are not bound to a name, so that they are freed.
    model, notes = pretrain_model.build_model(
        source.config,
        args.seed,
        None if resume_from else _load_init_weights(args, log),
        args.nsp,
    )
    log.note(
        f"model: {source.name}, {_describe_size(model)}" + "".join(f"; {note}" for note in notes)
    )

    by_kernels = compute_mode.set_compute_mode(model, args, log)
    products = compute_mode.choose_products(args, by_kernels, log)
    forward = pretrain_model.forward_pass(model, by_kernels, args.nsp, products)
    rank_facts.check_same_contents(args, source, data, model, resume_from)
    job = PretrainJob(args, output_dir, forward, source, data.held_out, data.masks, log)
    fingerprints = pretrain_fingerprints(args, source, data, runtime.bert_paddle_home())
    job.pretrain(data.train, resume_from, fingerprints)
    job.write_results()
    report.write_after_run(args, output_dir, log)
    return job.values


def _read_source(args: PretrainArgs, log: run_log.RunLog) -> ModelSource:
    source = collectives.run_on_main_first(
        lambda: model_source.read_model_source(args, runtime.bert_paddle_home())
    )
    if source.tokenizer is None and args.do_train:
        log.warning(
            f"no vocabulary ({source.no_vocabulary_reason}): the model is saved without a "
            "tokenizer; give --vocab_file"
        )
    for message in source.tokenizer.messages if source.tokenizer else ():
        log.note(message)
    return source


def _check_outputs(args: PretrainArgs) -> None:
    """Check that no input and no file of others is in the way of the run's output files. Raises
    OutputError."""
    run_files.check_outputs(args, args.inputs(), args.models(), (), trains=args.do_train)


class PretrainJob(TrainingJob):
    """The training job of a model with a masked-LM head and, unless --nsp is off, an NSP head."""

    def __init__(
        self,
        args: PretrainArgs,
        output_dir: Path,
        forward: ForwardPass,
        source: ModelSource,
        held_out: ShardSet | None,
        masks: RunMasks,
        log: run_log.RunLog,
    ):
        super().__init__(args, output_dir, forward.model, log, "pretraining")
        self.forward = forward
        self.args: PretrainArgs = args
        self.source, self.held_out, self.masks = source, held_out, masks
        self.evaluated_step: int | None = None
        self.autocast: Callable[[], AbstractContextManager] = nullcontext
        self.rows: dict[str, int] = {}  # of "train" and "dev" (the held-out shards)

    def pretrain(
        self, train_shards: ShardSet, resume_from: str | None, fingerprints: dict[str, str]
    ) -> None:
        """Train, from the checkpoint `resume_from` if given, and evaluate the last weights, or the
        best ones with --load_best_model_at_end. fingerprints: see pretrain.fingerprints."""
        args, world = self.args, collectives.get_world()
        self.rows = {"train": train_shards.total}
        if self.held_out is not None:
            self.rows["dev"] = self.held_out.total
        self.trainer = Trainer(
            self.model,
            pretrain_model.objective(args.nsp),
            args,
            collectives.on_gpu(),
            self.log,
            self.forward,
        )
        self.autocast, masker = self.trainer.autocast, self.masks.training
        limit = masker.config.max_predictions if masker else args.max_predictions_per_seq
        loader = PretrainLoader(
            train_shards,
            seed=args.seed,
            global_micro_batch_size=args.batch_size * world.size,
            accumulation=args.gradient_accumulation_steps,
            rank=world.rank,
            world_size=world.size,
            max_predictions=limit,
            masker=masker,
        )
        rows = train_shards.total
        state, model_step = self.train(self.trainer, loader, rows, fingerprints, resume_from)
        warn_rows_without_predictions(train_shards, self.log)
        if self.evaluated_step != model_step:
            # The model's weights are not those evaluated last: the best ones were loaded, or the
            # run resumed from its last step. Their metrics are recorded already.
            self._evaluate(state, already_recorded=True)
        if self.held_out is not None:
            self.values["eval_step"] = model_step
        self.values["model"] = f"model_{model_step}"

    def evaluate_only(self, model_name: str) -> None:
        """Evaluate the weights as they are. model_name: where they come from."""
        assert self.held_out is not None
        self.rows = {"dev": self.held_out.total}
        self.begin_without_training()
        self.values["eval_model"] = model_name
        self._evaluate(TrainState(total=0))

    def describe(self, steps: dict[str, int] | None) -> RunInfo:
        """The content of run.json; the best step is the one with the lowest held-out loss."""
        return RunInfo(
            program="run_pretrain",
            task="pretraining",
            data="own",
            parameters=sum(parameter.size for parameter in self.model.parameters()),
            metric=["loss"],
            higher_is_better=False,
            rows=self.rows,
            steps=steps,
        )

    def evaluate_at_step(self, state: TrainState) -> dict[str, float]:
        return self._evaluate(state)

    def _evaluate(self, state: TrainState, already_recorded: bool = False) -> dict[str, float]:
        """Evaluate on the held-out shards and update `values` and the best step (lowest loss).

        already_recorded: metrics.jsonl and the best step include these weights already; only
        `values` is updated. Returns the metrics for the epoch's record in metrics.jsonl.
        """
        if self.held_out is None:
            return {}
        start_time = time.perf_counter()
        args = self.args
        ranges = eval_row_ranges(self.held_out, args.eval_batch_size, args.max_eval_samples)
        rows_before = [0, *itertools.accumulate(r.stop - r.start for r in ranges)]
        with (
            self.autocast(),
            self.log.row_progress("evaluation", rows_before[-1]) as show_rows,
        ):
            own = collectives.sharded_rounds(ranges, lambda done: show_rows(rows_before[done]))
            batches = read_batches(
                self.held_out,
                own,
                args.max_predictions_per_seq,
                maskers=self.masks.held_out,
            )
            metrics = evaluate(self.forward, batches, args.nsp)
        seconds = time.perf_counter() - start_time
        if self.evaluated_step is None:
            warn_rows_without_predictions(self.held_out, self.log)
        fields = [
            ("mlm loss", metrics["mlm_loss"]),
            ("mlm accu", metrics["mlm_accuracy"]),
            ("perplexity", metrics["perplexity"]),
        ]
        if args.nsp:
            fields += [("nsp loss", metrics["nsp_loss"]), ("nsp accu", metrics["nsp_accuracy"])]
        self.log.line(run_log.eval_line(metrics["loss"], fields, []))
        self.evaluated_step = state.step
        self.values |= {f"eval_{name}": value for name, value in metrics.items()}
        self.values["eval_runtime"] = seconds
        self.values["eval_samples_per_second"] = metrics["samples"] / max(1e-9, seconds)
        if not already_recorded:
            self.log.log_metrics("eval", state.step, **metrics)
            state.update_best(metrics["loss"], higher_is_better=False)
        epoch_metrics = {
            name: value for name, value in metrics.items() if name not in ("loss", "samples")
        }
        return {"eval_loss": metrics["loss"], **epoch_metrics}

    def model_writer(self, state: TrainState, weights: TensorSnapshot) -> Callable[[Path], None]:
        write_model = model_state.model_writer(self.model, {}, weights)
        tokenizer = self.source.tokenizer
        values = self.values if self.evaluated_step == state.step else None
        write_card = model_card.card_writer(card.card_facts(self.args, self.rows, values, state))

        def write(folder: Path) -> None:
            write_model(folder)
            if tokenizer is not None:
                tokenizer.save(folder)
            write_card(folder)

        return write


def _load_init_weights(
    args: PretrainArgs, log: run_log.RunLog
) -> load_weights.LoadedWeights | None:
    """The weights of --init_from, or None without it."""
    if args.init_from is None:
        if weight_files.has_weights(Path(args.model_name_or_path).expanduser()):
            log.warning(
                f"the weights in {args.model_name_or_path} are not used, only its configuration: "
                f"to begin with them, add --init_from {args.model_name_or_path}"
            )
        return None
    folder = training_run.find_initial_model(args.init_from, log)
    return load_weights.load_weights(folder)


def _describe_size(model: Any) -> str:
    config = model.config
    parameters = sum(parameter.size for parameter in model.parameters())
    return (
        f"{config.num_hidden_layers} layers x {config.hidden_size}, "
        f"{parameters / 1e6:.1f} million parameters"
    )
