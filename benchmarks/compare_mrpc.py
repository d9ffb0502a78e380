"""Sets our MRPC runs beside those of transformers' Trainer: every value, means, standard errors.

    python -m benchmarks.compare_mrpc benchmarks/results/hf_mrpc.jsonl RUN [RUN ...] > FILE.md

RUN is the output folder of a run (benchmarks/mrpc_seeds.sh makes them). The two means should be no
further apart than two standard errors of their difference.
"""

import json
import sys
from pathlib import Path

from benchmarks import seeds


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
    print(f"\n| metric {seeds.head('bert_paddle', 'Trainer')}")
    print("|---|---|---|---|---|---|")
    for metric in ("accuracy", "f1", "eval_loss"):
        sides = [[run[metric] for run in runs] for runs in (ours, theirs)]
        print(f"| {metric} {seeds.compared(*sides)}")


if __name__ == "__main__":
    main()
