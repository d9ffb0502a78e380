"""CoLA and MRPC fine-tuned over seeds, with and without what makes training fast: do results stay?

    python -m benchmarks.accuracy --output_dir runs/accuracy [--seeds 1,2,3] [--tasks CoLA,MRPC]
        [--sides after,before,grouped] [--result benchmarks/results/accuracy-DATE]

"after" is the default command line; "before" leaves out the kernels (encoder, embeddings, AdamW),
so it is PaddleNLP's layers and Paddle's AdamW; "grouped" has batches of like length (not run unless
it is asked for).
Finished runs are kept, so it can be cut off and called again, or two of it share the work by
--seeds and --tasks; --result writes FILE.json and FILE.md of all that lie in --output_dir. The two
means should be no further apart than two standard errors of their difference.
"""

import argparse
import json
from pathlib import Path

from benchmarks import kept, seeds

TASKS = {
    "CoLA": ("eval_matthews_correlation", "--learning_rate 5e-5 --num_train_epochs 2"),
    "MRPC": ("eval_accuracy eval_f1", "--learning_rate 2e-5 --num_train_epochs 3"),
}
SIDES = {"after": "", "before": "--cpu_kernels 0", "grouped": "--group_by_length"}
PAIRS = (("after", "before"), ("grouped", "before"), ("grouped", "after"))
COMMON = (
    "--model_name_or_path all-minilm-l6-v2 --do_train --do_eval --max_seq_length 128 "
    "--batch_size 32 --save_strategy epoch --save_total_limit 1 --report 0"
)


def main() -> None:
    args = arguments()
    for seed in args.seeds.split(","):
        for task in args.tasks.split(","):
            for side in args.sides.split(","):
                train(task, side, seed, args.output_dir)
    if args.result:
        write(args.output_dir, args.result)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--tasks", default="CoLA,MRPC")
    parser.add_argument("--sides", default="after,before")
    parser.add_argument("--result", type=Path)
    return parser.parse_args()


def command(task: str, side: str) -> str:
    words = f"run_glue.py --task_name {task} {COMMON} {TASKS[task][1]} {SIDES[side]}"
    return words.strip()


def train(task: str, side: str, seed: str, folder: Path) -> None:
    out = folder / task / side / f"seed_{seed}"
    words = [*command(task, side).split(), "--seed", seed, "--output_dir", str(out)]
    kept.run(words, out)


def runs(folder: Path, task: str, side: str) -> list[dict]:
    """The results of a side, a dict per seed."""
    found = []
    for path in sorted((folder / task / side).glob("seed_*/all_results.json")):
        values = json.loads(path.read_text("utf-8"))
        seed = int(path.parent.name.removeprefix("seed_"))
        where = kept.where(path.parent)
        names = [*TASKS[task][0].split(), "eval_loss", "train_runtime"]
        found.append({"seed": seed, **{name: values[name] for name in names}, **where})
    return found


def write(folder: Path, result: Path) -> None:
    """All runs as JSON, and the comparison as Markdown."""
    found = {task: {side: runs(folder, task, side) for side in SIDES} for task in TASKS}
    result.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    lines = ["# Results with and without what makes training fast", ""]
    every = [one for sides in found.values() for side in sides.values() for one in side]
    lines += [kept.environment_line(every), ""]
    for task, sides in found.items():
        metrics = [*TASKS[task][0].split(), "eval_loss"]
        lines += [f"## {task}", ""]
        lines += [f"- {side}: `{command(task, side)}`" for side in SIDES if sides[side]]
        lines += ["", "| | seed | " + " | ".join(metrics) + " | training, s |"]
        lines += ["|---" * (len(metrics) + 3) + "|"]
        for side, ones in sides.items():
            for one in ones:
                values = " | ".join(f"{one[name]:.4f}" for name in metrics)
                took = f"{one['train_runtime']:.0f}"
                lines.append(f"| {side} | {one['seed']} | {values} | {took} |")
        for ours, other in PAIRS:
            lines += ["", *compared(ours, sides[ours], other, sides[other], metrics)]
        lines.append("")
    result.with_suffix(".md").write_text("\n".join(lines).rstrip() + "\n", "utf-8")


def compared(
    ours: str, given: list[dict], other: str, beside: list[dict], metrics: list[str]
) -> list[str]:
    """A table of two sides, of the seeds that both have."""
    common = sorted({one["seed"] for one in given} & {one["seed"] for one in beside})
    if len(common) < 2:
        return []
    lines = [f"{ours.capitalize()} beside {other}, seeds {', '.join(map(str, common))}:", ""]
    lines += [f"| metric {seeds.head(ours, other)}", "|---" * 6 + "|"]
    for name in metrics:
        values = [[one[name] for one in side if one["seed"] in common] for side in (given, beside)]
        lines.append(f"| {name} {seeds.compared(*values)}")
    return lines


if __name__ == "__main__":
    main()
