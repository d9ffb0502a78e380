"""Trains the small model in one way of computing, by the product's own trainer, and records it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_paddle.cli.selfcheck import compare, small_model
from bert_paddle.cli.selfcheck.small_model import FINE_TUNING
from bert_paddle.cli.selfcheck.ways import BY_NAME, Way
from bert_paddle.common import atomic_files, flags
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives
from bert_paddle.distributed.launch import launch
from bert_paddle.glue.args import GlueArgs
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.training import optim
from bert_paddle.training.step import Trainer


@dataclasses.dataclass
class PartArgs(CommonArgs):
    """The flags that `launch` needs, the way's name, and the file for the result."""

    way: str = ""
    result: str = ""


def train_and_write(argument: Mapping[str, str], result: Path) -> None:
    """Train in the way named argument["way"], on argument["device"]: a record by head."""
    way, device = BY_NAME[argument["way"]], argument["device"]
    args = PartArgs(way=way.name, result=str(result), device=device, n_gpu=way.processes)
    launch("bert_paddle.cli.selfcheck.train:run", args)


def run(args: PartArgs) -> None:
    """Train both heads and write their records, on this rank of the job."""
    log = RunLog(active=collectives.get_world().is_main)
    way = BY_NAME[args.way]
    records = {head: train_head(head, way, log) for head in small_model.HEADS}
    collectives.run_on_main(lambda: atomic_files.write_json(Path(args.result), records))


def current_gradients(trainer: Trainer) -> dict[str, Any]:
    """The trainer's gradients by parameter, unscaled; for the hook before its optimizer step."""
    scale = trainer.loss_scale() or 1.0
    return {
        parameter.name: parameter.grad.astype("float32").numpy() / scale
        for parameter in trainer.parameters
        if parameter.grad is not None
    }


def train_head(head: str, way: Way, log: RunLog) -> dict[str, Any]:
    """The record of a training of the small model with this head."""
    args = training_args(head, way)
    model = _build_model(head, args)
    trainer = make_trainer(head, model, args, log)
    recorded: list[dict[str, Any]] = []
    trainer.before_optimizer_step.append(lambda: recorded.append(current_gradients(trainer)))
    names = {parameter.name: name for name, parameter in model.named_parameters()}
    start, record = _weights(model), compare.Recording()
    model.train()
    warmup = optim.warmup_steps(args, small_model.STEPS)
    world = collectives.get_world()
    for step in range(1, small_model.STEPS + 1):
        lr = optim.learning_rate(
            step, small_model.STEPS, args.learning_rate, warmup, args.lr_scheduler_type
        )
        batches = small_model.micro_batches(
            head, step, args.gradient_accumulation_steps, world.rank, world.size
        )
        result = trainer.step(batches, lr, step, {})
        shares = collectives.all_gather({name: float(x) for name, x in result.losses.items()})
        losses = {name: sum(share[name] for share in shares) for name in result.losses}
        record.add_step(losses, {names[n]: g for n, g in recorded.pop().items()})
    return record.finish(start, _weights(model))


def _weights(model: Any) -> dict[str, Any]:
    """Copies of the trained weights by parameter."""
    import numpy as np

    return {n: np.array(p.astype("float32").numpy()) for n, p in model.named_parameters()}


def training_args(head: str, way: Way) -> GlueArgs | PretrainArgs:
    """The args of run_glue.py or run_pretrain.py for this way."""
    argv = [f"--{name}={value}" for name, value in small_model.SETTINGS.items()]
    argv += [*way.flags.split(), "--model_name_or_path=small", "--output_dir=unused"]
    if head == FINE_TUNING:
        return flags.parse(GlueArgs, "", [*argv, "--task_name=MNLI"])
    return flags.parse(PretrainArgs, "", [*argv, "--input_dir=."])


def make_trainer(head: str, model: Any, args: GlueArgs | PretrainArgs, log: RunLog) -> Trainer:
    """The trainer of a model with this head, computed as its program computes it."""
    from bert_paddle.glue import loss
    from bert_paddle.models import compute_mode
    from bert_paddle.pretrain import model as pretrain_model

    by_kernels = compute_mode.set_compute_mode(model, args, log)
    products = compute_mode.choose_products(args, by_kernels, log)
    if head == FINE_TUNING:
        objective = loss.objective()
        forward = loss.forward_pass(model, by_kernels, products)
    else:
        objective = pretrain_model.objective()
        forward = pretrain_model.forward_pass(model, by_kernels, products=products)
    return Trainer(model, objective, args, collectives.on_gpu(), log, forward)


def _build_model(head: str, args: GlueArgs | PretrainArgs) -> Any:
    """The model of this head, as the two programs build it."""
    from bert_paddle.models import classifier
    from bert_paddle.models.load_weights import LoadedWeights
    from bert_paddle.pretrain import model as pretrain_model

    tensors, config = small_model.initial_weights(head), small_model.CONFIG
    if head == FINE_TUNING:
        labels = [str(i) for i in range(small_model.CLASSES)]
        loaded = LoadedWeights(config | {"labels": labels}, tensors, "paddle", [])
        model = classifier.build_classifier(loaded, labels, args.seed, need_head=True).model
    else:
        # Shared tensors have two names.
        decoder = "cls.predictions.decoder"
        tensors[f"{decoder}.weight"] = tensors["bert.embeddings.word_embeddings.weight"]
        tensors[f"{decoder}.bias"] = tensors[f"{decoder}_bias"]
        loaded = LoadedWeights(config, tensors, "paddle", [])
        model, _ = pretrain_model.build_model(config, args.seed, loaded)
    model.eval()
    return model
