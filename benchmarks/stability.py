"""Fine-tuning on few rows with and without the flags that steady it: RTE and CoLA over five seeds.

    python -m benchmarks.stability --model_name_or_path all-minilm-l6-v2

Every variant is a run of run_glue.py with --seeds, which goes on where it was stopped: the same
command again finishes what is missing. Writes benchmarks/stability.md from what is there.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from bert_paddle.common import hardware

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_suffix(".md")
METRICS = {"RTE": "accuracy", "CoLA": "matthews_correlation"}
# What each variant adds to the common flags.
VARIANTS = {
    "none": [],
    "--layerwise_lr_decay 0.9": ["--layerwise_lr_decay", "0.9"],
    "--reinit_layers 1": ["--reinit_layers", "1"],
    "--freeze_embeddings --freeze_layers 2": ["--freeze_embeddings", "--freeze_layers", "2"],
    "--layerwise_lr_decay 0.9 --reinit_layers 1": [
        *("--layerwise_lr_decay", "0.9"),
        *("--reinit_layers", "1"),
    ],
}
_NAMES = {ord(" "): "_", ord("-"): None}


def folder_of(output_dir: Path, task: str, variant: str) -> Path:
    """The output folder of a variant's runs."""
    return output_dir / task / variant.translate(_NAMES)


def train(args: argparse.Namespace, task: str, variant: str) -> None:
    """Train with all seeds, or go on."""
    folder = folder_of(args.output_dir, task, variant)
    command = [sys.executable, "run_glue.py", "--task_name", task, "--output_dir", str(folder)]
    command += ["--model_name_or_path", args.model_name_or_path, "--seeds", args.seeds]
    command += ["--max_seq_length", "128", "--batch_size", "16", "--learning_rate", "5e-5"]
    command += ["--num_train_epochs", str(args.num_train_epochs), "--warmup_ratio", "0.1"]
    command += ["--save_strategy", "epoch", "--save_total_limit", "1", "--report", "0"]
    command += ["--resume_from_checkpoint", "auto", *VARIANTS[variant]]
    command += ["--max_steps", str(args.max_steps)] if args.max_steps > 0 else []
    command += ["--data_dir", args.data_dir] if args.data_dir else []
    subprocess.run(command, cwd=ROOT, check=True)


def results_of(folder: Path) -> list[dict]:
    """The results of the finished runs in a variant's folder, in the order of their seeds."""
    paths = sorted(folder.glob("seed_*/all_results.json"), key=lambda p: int(p.parent.name[5:]))
    return [json.loads(path.read_text()) for path in paths]


def table(found: Mapping[str, Sequence[dict]], metric: str) -> list[str]:
    """A row for each variant: mean, deviation, smallest and largest of the metric, and the time of
    a step."""
    lines = [
        "| flags | seeds | mean | deviation | smallest | largest | ms a step |",
        "|---|---|---|---|---|---|---|",
    ]
    for variant, results in found.items():
        values = [run[f"eval_{metric}"] for run in results]
        if not values:
            continue
        deviation = f"{statistics.stdev(values):.4f}" if len(values) > 1 else "–"
        shown = [f"{v:.4f}" for v in (statistics.mean(values), min(values), max(values))]
        speed = statistics.median(run["train_steps_per_second"] for run in results)
        name = variant if variant == "none" else f"`{variant}`"
        cells = [name, str(len(values)), shown[0], deviation, *shown[1:], f"{1000 / speed:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def page(args: argparse.Namespace) -> str:
    """The page on all tasks that have finished runs."""
    limit = f", at most {args.max_steps} steps" if args.max_steps > 0 else ""
    lines = [
        "# Fine-tuning on few rows: several seeds with and without the flags that steady it",
        "",
        f"Made by `python -m benchmarks.stability` on {date.today()} "
        f"with {Path(args.model_name_or_path).name} ({hardware.machine()}): "
        f"{args.num_train_epochs:g} epochs{limit}, batch 16, rate 5e-5, a tenth of the steps as "
        "warm-up; the dev set after the last step. The deviation is the sample standard deviation "
        "over the seeds.",
    ]
    for task in args.tasks.split(","):
        found = {name: results_of(folder_of(args.output_dir, task, name)) for name in VARIANTS}
        if any(found.values()):
            lines += ["", f"## {task}: {METRICS[task]}", "", *table(found, METRICS[task])]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--model_name_or_path", default="all-minilm-l6-v2")
    parser.add_argument("--output_dir", type=Path, default=Path("out/stability"))
    parser.add_argument("--tasks", default=",".join(METRICS))
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--num_train_epochs", type=float, default=3.0)
    parser.add_argument("--max_steps", type=int, default=-1, help="for a trial")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args(argv)
    args.output_dir = args.output_dir.resolve()
    for task in args.tasks.split(","):
        for variant in VARIANTS:
            train(args, task, variant)
            args.page.write_text(page(args), encoding="utf-8")
    print(args.page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
