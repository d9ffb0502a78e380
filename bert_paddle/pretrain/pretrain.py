"""The story of a pre-training run: configuration, shards, model, training, held-out evaluation."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bert_paddle import report
from bert_paddle.common import run_log, runtime
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.models import classifier, compute_mode, hub, load_weights
from bert_paddle.pretrain import card, model_source
from bert_paddle.pretrain import model as pretrain_model
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.data import loader as reading
from bert_paddle.pretrain.data import shards
from bert_paddle.pretrain.data.shards import Shards
from bert_paddle.pretrain.evaluate import evaluate
from bert_paddle.pretrain.model_source import ModelSource
from bert_paddle.training import model_card, verify_model_dir
from bert_paddle.training import run as training_run
from bert_paddle.training.job import TrainingJob
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.run_info import RunInfo
from bert_paddle.training.step import Batch, Trainer
from bert_paddle.training.train_state import TrainState


def run(args: PretrainArgs) -> dict[str, Any]:
    """Pre-train as the flags say; returns what all_results.json holds.

    Raises UserError for flags, shards and weights that do not fit, RunError when something breaks
    while running; checkpoints written until then are whole.
    """
    with lock_output_dir(Path(args.output_dir)):
        return _run(args)


def _run(args: PretrainArgs) -> dict[str, Any]:
    log, output_dir = run_log.RunLog(active=collectives.get_world().is_main), Path(args.output_dir)
    resume_from = collectives.run_on_main(
        lambda: training_run.resolve_resume(args, output_dir, log)
    )
    origin = collectives.run_on_main_first(lambda: model_source.read(args, runtime.home_dir()))
    if origin.tokens is None:
        log.warning(
            f"no vocabulary ({origin.silence}): the model is saved without a tokenizer; give "
            "--vocab_file"
        )
    training, held_out = _shards(args, origin)
    _tell_data(args, training, held_out, log)

    # The weights as read are held by nobody afterwards: they are as large as the model.
    network, notes = pretrain_model.build(
        origin.config, args.seed, None if resume_from else _weights(args, output_dir, log)
    )
    log.note(f"model: {origin.where}, {_size(network)}" + "".join(f"; {note}" for note in notes))

    compute_mode.set_compute_mode(network, args, log)
    job = PreTraining(args, output_dir, network, origin, held_out, log)
    job.pretrain(training, resume_from)
    job.write_results()
    report.write_after_run(args, output_dir, log)
    return job.values


class PreTraining(TrainingJob):
    """A model with both heads and its shards, and the results so far."""

    def __init__(
        self,
        args: PretrainArgs,
        output_dir: Path,
        model: Any,
        origin: ModelSource,
        held_out: Shards | None,
        log: run_log.RunLog,
    ):
        super().__init__(args, output_dir, model, log, "pretraining")
        self.args: PretrainArgs = args
        self.origin, self.held_out = origin, held_out
        self.evaluated_at: int | None = None
        self.rows: dict[str, int] = {}  # of each set

    def pretrain(self, training: Shards, resume: str | None) -> None:
        """Train to the end, or from a checkpoint; leaves the last or best weights, evaluated."""
        args, world = self.args, collectives.get_world()
        self.rows = {"train": training.total}
        if self.held_out is not None:
            self.rows["dev"] = self.held_out.total
        self.trainer = Trainer(
            self.model, pretrain_model.objective(), args, collectives.on_gpu(), self.log
        )
        batches = reading.PretrainLoader(
            training,
            seed=args.seed,
            micro_rows=args.batch_size * world.size,
            accumulation=args.gradient_accumulation_steps,
            rank=world.rank,
            ranks=world.size,
            max_predictions=args.max_predictions_per_seq,
        )
        fingerprint = training.fingerprint()
        state, step = self.train(self.trainer, batches, training.total, fingerprint, resume)
        if self.evaluated_at != step:  # a run that was ended already, or the best of its steps
            self._evaluate(state, on_record=True)
        if self.held_out is not None:
            self.values["eval_step"] = step
        self.values["model"] = f"model_{step}"

    def describe(self, steps: dict[str, int] | None) -> RunInfo:
        """What run.json says of the run; the best step is that of the lowest loss."""
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

    def evaluate_at(self, state: TrainState) -> dict[str, float]:
        return self._evaluate(state)

    def _evaluate(self, state: TrainState, on_record: bool = False) -> dict[str, float]:
        """Evaluate on the held-out shards; the best step is that of the lowest loss. `on_record`:
        these weights have been evaluated before, and only the values are wanted. Returns what the
        record of an epoch says of it."""
        if self.held_out is None:
            return {}
        begun = time.perf_counter()
        with self.trainer.precision():
            found = evaluate(self.model, self._held_out_batches(self.held_out))
        seconds = time.perf_counter() - begun
        fields = [
            ("mlm loss", found["mlm_loss"]),
            ("mlm accu", found["mlm_accuracy"]),
            ("perplexity", found["perplexity"]),
            ("nsp loss", found["nsp_loss"]),
            ("nsp accu", found["nsp_accuracy"]),
        ]
        self.log.line(run_log.eval_line(found["loss"], fields, []))
        self.evaluated_at = state.step
        self.values |= {f"eval_{name}": value for name, value in found.items()}
        self.values["eval_runtime"] = seconds
        self.values["eval_samples_per_second"] = found["samples"] / max(1e-9, seconds)
        if not on_record:
            self.log.record("eval", state.step, **found)
            state.note_metric(found["loss"], higher_is_better=False)
        kept = {name: value for name, value in found.items() if name not in ("loss", "samples")}
        return {"eval_loss": found["loss"], **kept}

    def _held_out_batches(self, held_out: Shards) -> Iterator[Batch]:
        """This process's share of the held-out rows that the flags ask for."""
        args = self.args
        slices = reading.eval_slices(held_out, args.eval_batch_size, args.max_eval_rows)
        return reading.read_batches(
            held_out, collectives.shard(slices), args.max_predictions_per_seq
        )

    def snapshot(self, state: TrainState, weights: TensorSnapshot) -> Callable[[Path], None]:
        write_model, tokens = classifier.model_writer(self.model, {}, weights), self.origin.tokens
        values = self.values if self.evaluated_at == state.step else None
        write_card = model_card.card_writer(card.facts(self.args, self.rows, values, state))

        def write(folder: Path) -> None:
            write_model(folder)
            if tokens is not None:
                tokens.save(folder)
            write_card(folder)

        return write


def _shards(args: PretrainArgs, origin: ModelSource) -> tuple[Shards, Shards | None]:
    """The training shards, and the held-out ones to evaluate on, their headers checked."""
    training, test = shards.find_shards(Path(args.input_dir))
    config = origin.config
    limits = (config["vocab_size"], config["max_position_embeddings"], config["type_vocab_size"])
    held_out = shards.check(test, *limits) if test and args.do_eval else None
    return shards.check(training, *limits), held_out


def _weights(
    args: PretrainArgs, output_dir: Path, log: run_log.RunLog
) -> load_weights.LoadedWeights | None:
    if args.init_from is None:
        return None
    name = args.init_from
    folder = collectives.run_on_main_first(
        lambda: hub.find_model_dir(name, runtime.home_dir(), log.note)
    )
    collectives.run_on_main(lambda: verify_model_dir.verify_model_dir(folder))
    training_run.check_source_not_deleted(args, output_dir, folder)
    return load_weights.load_weights(folder)


def _tell_data(
    args: PretrainArgs, training: Shards, held_out: Shards | None, log: run_log.RunLog
) -> None:
    log.note(
        f"data: {args.input_dir}: {training.total} rows in {len(training.paths)} shard(s), "
        f"{training.length} positions, up to {training.predictions} predictions"
        + (f"; {held_out.total} held-out rows" if held_out else "")
    )
    if args.do_eval and held_out is None:
        log.warning("there is no _test_ shard: nothing to evaluate on")
    if args.max_predictions_per_seq < training.predictions:
        log.note(
            f"of up to {training.predictions} predictions a row, the first "
            f"{args.max_predictions_per_seq} are used (--max_predictions_per_seq)"
        )


def _size(network: Any) -> str:
    config = network.config
    parameters = sum(parameter.size for parameter in network.parameters())
    return (
        f"{config.num_hidden_layers} layers x {config.hidden_size}, "
        f"{parameters / 1e6:.1f} million parameters"
    )
