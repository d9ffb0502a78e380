"""This project as a contestant: what `run_glue.py` and `run_pretrain.py` do, with their default
flags, on the rows of a specification."""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite import protocol, rows
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import device
from bert_paddle.glue import args as glue_args
from bert_paddle.glue import evaluate, loss
from bert_paddle.glue.data import dataset
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.models import classifier, compute_mode, load_weights, tokenizer
from bert_paddle.models.forward_pass import ForwardPass
from bert_paddle.pretrain import args as pretrain_args
from bert_paddle.pretrain import model as pretraining
from bert_paddle.training import loop
from bert_paddle.training.step import Trainer
from bert_paddle.training.train_loader import TrainLoader
from bert_paddle.training.train_state import TrainState

Spec = dict[str, Any]


def build(spec: Spec) -> protocol.Block:
    return {
        "training": _training,
        "prediction": _prediction,
        "pretraining": _pretraining,
        "limit": _limit,
    }[spec["job"]](spec)


def _flags(spec: Spec) -> glue_args.GlueArgs:
    return glue_args.parse_args(
        f"--task_name SST-2 --model_name_or_path {spec['model']} --output_dir unused "
        f"--batch_size {spec['batch']} --learning_rate {spec['learning_rate']} --seed 42".split()
        + spec.get("flags", "").split()
    )


def _classifier(spec: Spec, labels: list[str]) -> ForwardPass:
    if spec.get("settled", True):
        device.set_up_device("cpu")
    saved = load_weights.load_weights(Path(spec["model"]))
    network = classifier.build_classifier(saved, labels, 42, need_head=True).model
    network.eval()
    flags = _flags(spec)
    by_kernels = compute_mode.set_compute_mode(network, flags, RunLog())
    products = compute_mode.choose_products(flags, by_kernels, RunLog())
    return loss.forward_pass(network, by_kernels, products)


def _rows(spec: Spec) -> tuple[EncodedDataset, list[str]]:
    given = rows.read(spec["rows"])
    examples = Examples(given.texts_a, given.texts_b, np.array(given.labels), spec["rows"])
    tokens = tokenizer.load_tokenizer(Path(spec["model"]))
    return dataset.encode_examples(examples, tokens, spec["max_length"]), given.names


def _training(spec: Spec) -> protocol.Block:
    train, labels = _rows(spec)
    forward, flags = _classifier(spec, labels), _flags(spec)
    batches = TrainLoader(train, flags, flags.group_by_length)
    trainer = _classifier_trainer(forward, flags)
    return _fitting(trainer, batches, len(train), _tokens(train), spec["warmup"])


def _fitting(
    trainer: Trainer, batches: loop.TrainData, count: int, tokens: int, warmup: int
) -> protocol.Block:
    """Blocks of an epoch each; the order of the rows is another in every round."""

    def fit(epoch: int, until: int) -> tuple[float, TrainState]:
        state, ended = TrainState(total=batches.steps_per_epoch, epoch=epoch), []
        hook = loop.Hook(None, lambda: ended.append(time.perf_counter()))
        begun = time.perf_counter()
        loop.fit(trainer, batches, state, [hook], _silent(), until=until)
        return ended[-1] - begun, state

    fit(0, warmup)

    def block(number: int) -> dict[str, Any]:
        seconds, state = fit(number, batches.steps_per_epoch)
        mean_loss = sum(sum(s) for s in state.window_losses.values()) / state.window_steps
        return rows.measurement(seconds, count, tokens) | {"loss": mean_loss, "steps": state.step}

    return block


def _prediction(spec: Spec) -> protocol.Block:
    dev, labels = _rows(spec)
    forward, size = _classifier(spec, labels), _flags(spec).eval_batch_size
    evaluate.compute_logits(forward, dev, size)

    def block(number: int) -> dict[str, Any]:
        begun = time.perf_counter()
        logits = evaluate.compute_logits(forward, dev, size)
        seconds = time.perf_counter() - begun
        return rows.measurement(seconds, len(dev), _tokens(dev)) | {"logits": logits.tolist()}

    return block


def _pretraining(spec: Spec) -> protocol.Block:
    device.set_up_device("cpu")
    saved = load_weights.load_weights(Path(spec["model"]))
    sizes = {name: value for name, value in saved.config.items() if name != "labels"}
    network, _ = pretraining.build_model(sizes, 42, saved)
    flags = pretrain_args.parse_args(
        f"--model_name_or_path {spec['model']} --input_dir {Path(spec['rows']).parent} "
        f"--output_dir unused --batch_size {spec['batch']} --weight_decay {spec['weight_decay']} "
        f"--learning_rate {spec['learning_rate']} {spec.get('flags', '')}".split()
    )
    by_kernels = compute_mode.set_compute_mode(network, flags, RunLog())
    products = compute_mode.choose_products(flags, by_kernels, RunLog())
    forward = pretraining.forward_pass(network, by_kernels, products=products)
    batches = InMemoryBatches(rows.batches(spec["rows"]))
    trainer = Trainer(network, pretraining.objective(), flags, False, _silent(), forward)
    return _fitting(trainer, batches, batches.rows_per_epoch, batches.tokens, spec["warmup"])


class InMemoryBatches:
    """Batches in memory (a training.loop.TrainData), the same in every epoch."""

    def __init__(self, batches: list[dict[str, np.ndarray]]):
        self.batches = batches
        self.rows_per_step = len(batches[0]["input_ids"])
        self.steps_per_epoch = len(batches)
        self.rows_per_epoch = self.rows_per_step * len(batches)
        self.tokens = sum(int(batch["input_mask"].sum()) for batch in batches)

    def steps(self, epoch: int, start: int, planned_rows: int) -> Any:
        return ([batch] for batch in self.batches)

    def describe_rows(self, epoch: int, start: int, planned_rows: int) -> str:
        return "rows in memory"


def _limit(spec: Spec) -> protocol.Block:
    forward, flags = _classifier(spec, ["0", "1"]), _flags(spec)
    size, length = spec["batch"], spec["length"]
    ids = rows.random_ids(size, length, spec["steps"])
    blank = {"input_mask": np.ones((size, length), np.int64), "labels": np.arange(size) % 2}
    blank["segment_ids"] = np.zeros((size, length), np.int64)
    batches = InMemoryBatches([blank | {"input_ids": one} for one in ids])
    trainer = _classifier_trainer(forward, flags)
    return _fitting(trainer, batches, batches.rows_per_epoch, batches.tokens, spec["warmup"])


def _classifier_trainer(forward: ForwardPass, flags: glue_args.GlueArgs) -> Trainer:
    objective = loss.objective()
    return Trainer(forward.model, objective, flags, False, _silent(), forward)


def _tokens(given: EncodedDataset) -> int:
    return int(given.encoded.lengths.sum())


def _silent() -> RunLog:
    return RunLog(active=False, stdout=io.StringIO(), stderr=io.StringIO())


if __name__ == "__main__":
    protocol.serve(build)
