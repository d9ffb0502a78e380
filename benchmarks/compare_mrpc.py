"""Sets our MRPC runs beside those of transformers' Trainer: every value, means, standard errors.

    python benchmarks/compare_mrpc.py benchmarks/results/hf_mrpc.jsonl RUN [RUN ...] > FILE.md

RUN is the output folder of a run (benchmarks/mrpc_seeds.sh makes them). The two means should be no
further apart than two standard errors of their difference.
"""

import json
import math
import statistics
import sys
from pathlib import Path


def main() -> None:
    theirs = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    ours = []
    for folder in map(Path, sys.argv[2:]):
        values = json.loads((folder / "all_results.json").read_text())
        state = json.loads(next(folder.glob("model_*/state/train_state.json")).read_text())
        ours.append(
            {
                "seed": state["args"]["seed"],
                "accuracy": values["eval_accuracy"],
                "f1": values["eval_f1"],
                "eval_loss": values["eval_loss"],
                "train_seconds": values["train_runtime"],
            }
        )
    print("| program | seed | accuracy | F1 | dev loss | training, s |")
    print("|---|---|---|---|---|---|")
    for program, runs in (("bert_paddle", ours), ("transformers Trainer", theirs)):
        for run in runs:
            print(
                f"| {program} | {run['seed']} | {100 * run['accuracy']:.2f} "
                f"| {100 * run['f1']:.2f} | {run['eval_loss']:.4f} | {run['train_seconds']:.0f} |"
            )
    print("\n| metric | bert_paddle | Trainer | difference | standard error | in standard errors |")
    print("|---|---|---|---|---|---|")
    for metric in ("accuracy", "f1", "eval_loss"):
        print(compared(metric, ours, theirs))


def compared(metric: str, ours: list[dict], theirs: list[dict]) -> str:
    """A row of the second table: means and their difference in units of its standard error."""
    sides = [[run[metric] for run in runs] for runs in (ours, theirs)]
    means = [statistics.mean(values) for values in sides]
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in sides))
    difference = means[0] - means[1]
    return (
        f"| {metric} | {means[0]:.4f} | {means[1]:.4f} | {difference:+.4f} | {error:.4f} "
        f"| {abs(difference) / error:.1f} |"
    )


if __name__ == "__main__":
    main()
