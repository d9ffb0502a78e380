"""Write trajectory.json anew: the loss of every step of short trainings in transformers' Trainer.

Run it in the peer environment (benchmarks/peers/setup.sh makes it), from the repository root:

    export GLUE_DATA_DIR=...  BERT_PADDLE_HDF5_DIR=...  BERT_PADDLE_HOME=...
    .venv-peers/bin/python tests/reference/trajectory.py [NAME ...]

Without names all recipes of benchmarks/trajectory/recipes.py are computed; with names, the others
stay as they are stored. Nothing of bert_paddle is imported; h5py, which the peer environment lacks,
is that of the project's own environment. Rows of GLUE and of shards are not stored, only a hash.
"""

import datetime
import io
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import (
    BertForPreTraining,
    BertForSequenceClassification,
    BertTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    default_data_collator,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.trajectory import recipes  # noqa: E402

READ_SHARD = """
import pathlib, sys, numpy
from benchmarks.trajectory import recipes
numpy.savez(sys.stdout.buffer, **recipes.shard_rows(pathlib.Path(sys.argv[1])))
"""


class Noting(Trainer):
    """Trainer that keeps every step's loss as it is: its own log rounds or smooths."""

    def training_step(self, *given, **named):
        loss = super().training_step(*given, **named)
        self.noted = [*getattr(self, "noted", []), loss.item()]
        return loss


def rows_of(recipe):
    if not recipe.real:
        made = recipes.invented_shard if recipe.pretraining else recipes.invented_pairs
        return made()
    if not recipe.pretraining:
        return recipes.cola_lines(Path(os.environ["GLUE_DATA_DIR"]))
    python = str(recipes.ROOT / ".venv" / "bin" / "python")
    command = [python, "-c", READ_SHARD, os.environ["BERT_PADDLE_HDF5_DIR"]]
    done = subprocess.run(command, cwd=recipes.ROOT, check=True, capture_output=True)
    return dict(np.load(io.BytesIO(done.stdout)))


def pretraining_data(rows):
    """Rows of a shard as transformers wants them: a label, or -100, at every position."""
    found = []
    for i, ids in enumerate(rows["input_ids"]):
        labels = np.full(len(ids), -100)
        for place, label in zip(
            rows["masked_lm_positions"][i], rows["masked_lm_ids"][i], strict=True
        ):
            if place == 0:  # [CLS]: the list has ended
                break
            labels[place] = label
        found.append(
            {
                "input_ids": ids.tolist(),
                "attention_mask": rows["input_mask"][i].tolist(),
                "token_type_ids": rows["segment_ids"][i].tolist(),
                "labels": labels.tolist(),
                "next_sentence_label": int(rows["next_sentence_labels"][i]),
            }
        )
    return found


def classifier_data(rows, tokenizer):
    """Lines of CoLA's file, or pairs with a class by name."""
    found = []
    for row in rows:
        if isinstance(row, bytes):
            _, label, _, text = row.decode("utf-8").rstrip("\n").split("\t")
            found.append(tokenizer(text, truncation=True, max_length=128) | {"labels": int(label)})
        else:
            encoded = tokenizer(row["sentence1"], row["sentence2"])
            found.append(encoded | {"labels": recipes.CLASSES.index(row["label"])})
    return [dict(one) for one in found]


def prepared(recipe, rows, folder):
    """Model, data and collator."""
    kind = BertForPreTraining if recipe.pretraining else BertForSequenceClassification
    model, told = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"], told
    if recipe.pretraining:
        return model, pretraining_data(rows), default_data_collator
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    return model, classifier_data(rows, tokenizer), DataCollatorWithPadding(tokenizer)


def exact_norm(parameters):
    """The global norm of the gradients as they are, summed in float64."""
    return math.sqrt(sum(p.grad.double().pow(2).sum().item() for p in parameters))


def clip_exactly(parameters, limit, **_):
    parameters = [p for p in parameters if p.grad is not None]
    norm = exact_norm(parameters)
    if norm > limit:
        for parameter in parameters:
            parameter.grad.mul_(limit / norm)
    clip_exactly.calls += 1
    return torch.tensor(norm)


def train(recipe, model, data, collator, scratch):
    arguments = TrainingArguments(
        output_dir=scratch,
        per_device_train_batch_size=len(data),
        max_steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        adam_epsilon=recipe.epsilon,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_torch",
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Noting(model=model, args=arguments, train_dataset=data, data_collator=collator)
    clip_exactly.calls = 0
    if recipe.norm_in_float64:
        trainer.accelerator.clip_grad_norm_ = clip_exactly
    trainer.train()
    assert clip_exactly.calls == (recipe.steps if recipe.norm_in_float64 else 0)
    assert len(trainer.noted) == recipe.steps
    return trainer.noted


def first_norms(model, data, collator):
    """The norm of the first step's gradients, by PyTorch and more exactly."""
    batch = collator(data)
    norms = {}
    for name, one in (("float32", model), ("model_in_float64", model.double)):
        one = one if name == "float32" else one()
        one.zero_grad()
        one(**batch).loss.backward()
        if name == "float32":
            norms["same_gradients_in_float64"] = exact_norm(one.parameters())
        norms[name] = torch.nn.utils.clip_grad_norm_(one.parameters(), math.inf).item()
    return norms


def run(recipe):
    rows = rows_of(recipe)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        recipes.write_model(recipe, folder, recipes.minilm_dir())
        model, data, collator = prepared(recipe, rows, folder)
        losses = train(recipe, model, data, collator, scratch)
        found = {"settings": settings(recipe), "rows_sha256": recipes.digest(rows)}
        found |= {"rows": len(data), "losses": [float(f"{loss:.9g}") for loss in losses]}
        if recipe.pretraining:
            model, *_ = prepared(recipe, rows, folder)
            found["first_gradient_norm"] = first_norms(model.train(), data, collator)
    print(f"{recipe.name}: {losses[0]:.6f} ... {losses[-1]:.6f}", flush=True)
    return found


def settings(recipe):
    said = ("name", "title", "tolerance")
    return {name: value for name, value in asdict(recipe).items() if name not in said}


def made_by():
    return {
        "script": "tests/reference/trajectory.py",
        "date": datetime.date.today().isoformat(),
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def main():
    names = sys.argv[1:] or list(recipes.BY_NAME)
    stored = {}
    if recipes.STORED.is_file():
        stored = json.loads(recipes.STORED.read_text("utf-8"))["runs"]
    for name in names:
        stored[name] = {"made_by": made_by(), **run(recipes.BY_NAME[name])}
        ordered = {name: stored[name] for name in recipes.BY_NAME if name in stored}
        recipes.STORED.write_text(json.dumps({"runs": ordered}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
