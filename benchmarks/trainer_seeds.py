"""The same weights fine-tuned by this project and by transformers' Trainer, over several seeds.

    GLUE_DATA_DIR=... python -m benchmarks.trainer_seeds [--tasks CoLA,MRPC,RTE,STS-B,SST-2]

Batch 32, learning rate 2e-5, 3 epochs (SST-2: 1,000 steps), at most 128 tokens, no warm-up,
float32; the Trainer in the peers' environment (benchmarks/peers/setup.sh). Every result is added to
benchmarks/results/trainer_seeds.jsonl at once, so the same command goes on after an interruption;
writes benchmarks/trainer_seeds.md from that. The two means should be no further apart than two
standard errors of their difference.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import seeds
from bert_paddle.common import hardware, runtime
from bert_paddle.glue.tasks import TASKS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "trainer_seeds.jsonl"
PAGE = Path(__file__).with_suffix(".md")
MODEL = "all-minilm-l6-v2"
FINE_TUNED = ("CoLA", "MRPC", "RTE", "STS-B", "SST-2")
MAX_STEPS = {"SST-2": 1000}
OURS, THEIRS = "bert_paddle", "transformers Trainer"
# Our names of metrics: those of benchmarks/peers/hf_trainer_glue.py.
NAMES = {"matthews_correlation": "matthews", "spearmanr": "spearman"}


def train_ours(task: str, seed: int) -> dict[str, Any]:
    """Fine-tune with run_glue.py; returns what the results file keeps."""
    with tempfile.TemporaryDirectory(dir=ROOT / "runs") as folder:
        command = [sys.executable, "-u", "run_glue.py", "--task_name", task, "--seed", str(seed)]
        command += ["--model_name_or_path", MODEL, "--output_dir", f"{folder}/out", "--n_gpu", "0"]
        command += ["--max_seq_length", "128", "--batch_size", "32", "--learning_rate", "2e-5"]
        command += ["--num_train_epochs", "3", "--max_steps", str(MAX_STEPS.get(task, -1))]
        command += ["--logging_steps", "100", "--save_strategy", "no", "--report", "0"]
        subprocess.run(command, cwd=ROOT, check=True)
        results = json.loads(Path(folder, "out", "all_results.json").read_text())
    metrics = {name: results[f"eval_{name}"] for name in TASKS[task].metrics}
    return metrics | {"eval_loss": results["eval_loss"], "seconds": results["train_runtime"]}


def train_theirs(task: str, seed: int) -> dict[str, Any]:
    """Fine-tune with the Trainer; returns what the results file keeps."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "result.jsonl")
        command = [str(ROOT / ".venv-peers" / "bin" / "python")]
        command += ["benchmarks/peers/hf_trainer_glue.py", "--task", task, "--seeds", str(seed)]
        command += ["--output", str(output), "--max_steps", str(MAX_STEPS.get(task, -1))]
        environment = {
            "BERT_PADDLE_HOME": str(runtime.bert_paddle_home()),
            "OMP_NUM_THREADS": str(os.cpu_count()),
        }
        subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True)
        found = json.loads(output.read_text())
    metrics = {name: found[NAMES.get(name, name)] for name in TASKS[task].metrics}
    return metrics | {"eval_loss": found["eval_loss"], "seconds": found["train_seconds"]}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def missing(path: Path, tasks: list[str], of_seeds: list[int]) -> Iterator[tuple[str, str, int]]:
    """(program, task, seed) of every result that is not there yet, both programs in turns."""
    done = {(r["program"], r["task"], r["seed"]) for r in read(path)}
    for task in tasks:
        for seed in of_seeds:
            for program in (OURS, THEIRS):
                if (program, task, seed) not in done:
                    yield program, task, seed


def page(results: list[dict[str, Any]]) -> str:
    """The tables of what is there."""
    last = results[-1]
    lines = [
        "# Fine-tuned by this project and by transformers' Trainer",
        "",
        f"By `python -m benchmarks.trainer_seeds`, which has the settings. {last['date']}; "
        f"{last['machine']}. {MODEL}, float32. Other programs may have run beside: the seconds are "
        "no measure of speed.",
        "",
        f"| task, metric {seeds.head(OURS, THEIRS)}",
        "|---|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(r["task"] for r in results):
        for metric in (*TASKS[task].metrics, "eval_loss"):
            sides = [
                [r[metric] for r in results if r["task"] == task and r["program"] == program]
                for program in (OURS, THEIRS)
            ]
            if min(map(len, sides)) > 1:
                lines.append(f"| {task}, {metric} {seeds.compared(*sides)}")
    lines += ["", "| task | program | seed | metrics | dev loss | s |", "|---|---|---|---|---|---|"]
    for r in sorted(results, key=lambda r: (FINE_TUNED.index(r["task"]), r["program"], r["seed"])):
        metrics = " / ".join(f"{r[name]:.4f}" for name in TASKS[r["task"]].metrics)
        lines.append(
            f"| {r['task']} | {r['program']} | {r['seed']} | {metrics} | {r['eval_loss']:.4f} | "
            f"{r['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tasks", default=",".join(FINE_TUNED))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args()
    if "GLUE_DATA_DIR" not in os.environ or not shutil.which(".venv-peers/bin/python"):
        parser.error("set GLUE_DATA_DIR, and run benchmarks/peers/setup.sh in the repository first")
    (ROOT / "runs").mkdir(exist_ok=True)
    asked = list(map(int, args.seeds.split(",")))
    for program, task, seed in missing(args.results, args.tasks.split(","), asked):
        values = (train_ours if program == OURS else train_theirs)(task, seed)
        record = {"program": program, "task": task, "seed": seed, **values}
        record |= {"date": time.strftime("%Y-%m-%d"), "machine": hardware.describe()}
        with args.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        args.page.write_text(page(read(args.results)), encoding="utf-8")


if __name__ == "__main__":
    main()
