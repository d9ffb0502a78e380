"""Fine-tune a GLUE task with transformers' Trainer, as a peer to compare the project with.

Run it in the peer environment (benchmarks/peers/setup.sh makes it):

    export GLUE_DATA_DIR=...  BERT_PADDLE_HOME=...
    OMP_NUM_THREADS=2 .venv-peers/bin/python benchmarks/peers/hf_trainer_glue.py \
        --task MRPC --seeds 1,2,3 --output benchmarks/results/hf_mrpc.jsonl

The model is the folder models/all-minilm-l6-v2 of BERT_PADDLE_HOME. Every seed adds one JSON
object to the output file; a seed that is there already with the same settings is skipped, so an
interrupted run can simply be started again.

Batches are padded to their longest row, not to max_seq_length. That is the same arithmetic:
padded positions are masked out of the attention and nothing else mixes positions, so the logits
are those of padding to 128 up to rounding. It only draws other dropout masks, and is faster.
"""

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from transformers import (
    AutoModelForSequenceClassification,
    BertTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

MODEL = "all-minilm-l6-v2"

# task: (header line?, text columns, label column, label names or None for regression)
TASKS = {
    "CoLA": (False, [3], 1, ["0", "1"]),
    "SST-2": (True, [0], 1, ["0", "1"]),
    "MRPC": (True, [3, 4], 0, ["0", "1"]),
    "STS-B": (True, [7, 8], 9, None),
    "RTE": (True, [1, 2], 3, ["entailment", "not_entailment"]),
}

SETTINGS = {
    "model": MODEL,
    "max_seq_length": 128,
    "truncation": "longest_first",
    "padding": "longest in batch",
    "batch_size": 32,
    "learning_rate": 2e-5,
    "epochs": 3,
    "optimizer": "adamw",
    "adam_betas": [0.9, 0.999],
    "adam_epsilon": 1e-8,
    "weight_decay": 0.0,
    "schedule": "linear",
    "warmup_steps": 0,
    "max_grad_norm": 1.0,
    "dtype": "float32",
    "group_by_length": False,
}


def read_tsv(path, header):
    """Rows of a GLUE file as they are: a quotation mark is text, and only '\\n' ends a line."""
    lines = path.read_bytes().decode("utf-8-sig").split("\n")
    rows = [line.removesuffix("\r").split("\t") for line in lines if line]
    return rows[1:] if header else rows


def load_split(task, split, tokenizer):
    header, text_columns, label_column, names = TASKS[task]
    rows = read_tsv(Path(os.environ["GLUE_DATA_DIR"], task, f"{split}.tsv"), header)
    texts = [[row[column] for row in rows] for column in text_columns]
    labels = [row[label_column] for row in rows]
    encoded = tokenizer(*texts, truncation="longest_first", max_length=SETTINGS["max_seq_length"])
    convert = float if names is None else names.index
    return [
        {key: encoded[key][i] for key in encoded} | {"labels": convert(label)}
        for i, label in enumerate(labels)
    ]


def metrics(task, predictions, labels):
    if task == "STS-B":
        scores = predictions.reshape(-1)
        return {
            "pearson": float(pearsonr(scores, labels)[0]),
            "spearman": float(spearmanr(scores, labels)[0]),
        }
    classes = predictions.argmax(axis=-1)
    result = {"accuracy": float(accuracy_score(labels, classes))}
    if task == "MRPC":
        result["f1"] = float(f1_score(labels, classes))
    if task == "CoLA":
        result["matthews"] = float(matthews_corrcoef(labels, classes))
    return result


def cpu_model():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        found = (line for line in lines if line.startswith("model name"))
        return next(found).split(":", 1)[1].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run_seed(task, seed, folder, tokenizer, train, dev, max_steps):
    set_seed(seed)  # before the model is built: the classifier head is drawn at random
    names = TASKS[task][3]
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=len(names) if names else 1, dtype=torch.float32
    )
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            output_dir=scratch,
            seed=seed,
            per_device_train_batch_size=SETTINGS["batch_size"],
            per_device_eval_batch_size=SETTINGS["batch_size"],
            learning_rate=SETTINGS["learning_rate"],
            num_train_epochs=SETTINGS["epochs"],
            max_steps=max_steps,
            optim="adamw_torch",
            adam_beta1=SETTINGS["adam_betas"][0],
            adam_beta2=SETTINGS["adam_betas"][1],
            adam_epsilon=SETTINGS["adam_epsilon"],
            weight_decay=SETTINGS["weight_decay"],
            lr_scheduler_type=SETTINGS["schedule"],
            warmup_steps=SETTINGS["warmup_steps"],
            max_grad_norm=SETTINGS["max_grad_norm"],
            train_sampling_strategy="random",
            bf16=False,
            fp16=False,
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            logging_steps=50,
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=dev,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda p: metrics(task, np.asarray(p.predictions), p.label_ids),
        )
        started = time.perf_counter()
        steps = trainer.train().global_step
        seconds = time.perf_counter() - started
        scores = trainer.evaluate()
    result = {"task": task, "seed": seed}
    result |= {
        key.removeprefix("eval_"): value
        for key, value in scores.items()
        if key.removeprefix("eval_") in ("accuracy", "f1", "matthews", "pearson", "spearman")
    }
    return result | {
        "eval_loss": scores["eval_loss"],
        "train_seconds": round(seconds, 1),
        "steps": steps,
        "train_rows": len(train),
        "dev_rows": len(dev),
        "settings": SETTINGS,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "device": str(trainer.args.device),
        "attention": model.config._attn_implementation,
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
    }


def seeds_done(output, task):
    if not output.exists():
        return set()
    records = [json.loads(line) for line in output.read_text().splitlines() if line]
    return {r["seed"] for r in records if r["task"] == task and r["settings"] == SETTINGS}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--task", choices=list(TASKS), default="MRPC")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated")
    parser.add_argument("--output", type=Path, required=True, help="JSON lines, appended to")
    parser.add_argument("--max_steps", type=int, default=-1)
    options = parser.parse_args()

    folder = Path(os.environ["BERT_PADDLE_HOME"], "models", MODEL)
    # From vocab.txt: the folder's tokenizer.json carries truncation and padding of its own.
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=True)
    train = load_split(options.task, "train", tokenizer)
    dev = load_split(options.task, "dev", tokenizer)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for seed in map(int, options.seeds.split(",")):
        if seed in seeds_done(options.output, options.task):
            print(f"{options.task} seed {seed}: already in {options.output}")
            continue
        result = run_seed(options.task, seed, folder, tokenizer, train, dev, options.max_steps)
        with options.output.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
