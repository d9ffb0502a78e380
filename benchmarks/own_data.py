"""Two invented sets of own data: several labels per row by a clear rule, and unequal classes with
and without --class_weights. `python -m benchmarks.own_data` writes benchmarks/own_data.md.

The rows are drawn anew from fixed seeds; runs that are finished in --output_dir are not repeated.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from bert_paddle.common import hardware

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_suffix(".md")
FILLERS = (
    "the a my our this that old new small large day week friend street house people way time said "
    "saw went came took told looked walked stayed left began after before with under near again"
).split()
# A row has a label if one of its words is there.
TOPICS = {
    "food": ("bread", "soup", "dinner", "cheese"),
    "music": ("song", "piano", "concert", "drum"),
    "sport": ("football", "tennis", "goal", "race"),
    "travel": ("train", "airport", "journey", "harbour"),
    "weather": ("rain", "storm", "sunny", "snow"),
}
# The rare class: its share of the rows, and how many rows of each class have one of the words.
RARE_SHARE, IN_RARE, IN_COMMON = 0.06, 0.7, 0.08
ALARMS = ("broken", "refund", "complaint", "late")
SEEDS = (1, 2, 3)


def sentence(rng: random.Random, *words: str) -> str:
    """Some fillers with these words among them."""
    chosen = [rng.choice(FILLERS) for _ in range(rng.randint(6, 12))]
    for word in words:
        chosen.insert(rng.randint(0, len(chosen)), word)
    return " ".join(chosen)


def topic_rows(count: int, seed: int) -> list[dict]:
    """Rows with none to all of the topics."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        labels = [name for name in TOPICS if rng.random() < 0.3]
        text = sentence(rng, *(rng.choice(TOPICS[name]) for name in labels))
        rows.append({"text": text, "labels": labels})
    return rows


def class_rows(count: int, seed: int) -> list[dict]:
    """Rows of a common and a rare class, which a word hints at without deciding it."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        is_rare = rng.random() < RARE_SHARE
        has_word = rng.random() < (IN_RARE if is_rare else IN_COMMON)
        text = sentence(rng, *([rng.choice(ALARMS)] if has_word else []))
        rows.append({"text": text, "label": "rare" if is_rare else "common"})
    return rows


def write(path: Path, rows: list[dict]) -> str:
    """Write JSON lines; returns the path as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run(folder: Path, flags: Sequence[str]) -> dict:
    """The results of a run in `folder`, finished earlier or now."""
    results = folder / "all_results.json"
    if not results.is_file():
        command = [sys.executable, "run_glue.py", "--output_dir", str(folder), *flags]
        command += ["--max_seq_length", "32", "--report", "0", "--overwrite_output_dir"]
        command += ["--save_strategy", "no", "--freeze_embeddings"]
        subprocess.run(command, cwd=ROOT, check=True)
    return json.loads(results.read_text())


def several_labels(args: argparse.Namespace, data: Path) -> list[str]:
    """The lines about several labels per row."""
    names = {"train": (640, 0), "dev": (200, 1), "test": (200, 2)}
    files = {
        name: write(data / f"topics_{name}.jsonl", topic_rows(*size))
        for name, size in names.items()
    }
    flags = ["--model_name_or_path", args.model, "--train_file", files["train"]]
    flags += ["--validation_file", files["dev"], "--test_file", files["test"], "--multi_label"]
    flags += ["--threshold", "auto", "--num_train_epochs", "3", "--learning_rate", "3e-4"]
    flags += ["--batch_size", "16", "--warmup_ratio", "0.1"]
    results = run(args.output_dir / "topics", flags)
    lines = [
        f"640 rows to train on, 200 to evaluate, 200 to test; each of {len(TOPICS)} labels is",
        "true of a row (with probability 0.3) where one of its four words is in it. Thresholds are",
        "fitted to the dev set (`--threshold auto`).",
        "",
        "| | dev | test |",
        "|---|---|---|",
    ]
    for name in ("f1_micro", "f1_macro", "exact_match"):
        values = [results[f"{split}_{name}"] for split in ("eval", "test")]
        lines.append(f"| {name} | {values[0]:.4f} | {values[1]:.4f} |")
    for name in TOPICS:
        values = [results[f"{split}_f1_per_label"][name] for split in ("eval", "test")]
        lines.append(f"| F1 of {name} | {values[0]:.4f} | {values[1]:.4f} |")
    return lines


def unequal_classes(args: argparse.Namespace, data: Path) -> list[str]:
    """The lines about class weights."""
    train = write(data / "classes_train.jsonl", class_rows(1200, 3))
    dev = write(data / "classes_dev.jsonl", class_rows(2000, 4))
    flags = ["--model_name_or_path", args.model, "--train_file", train, "--validation_file", dev]
    flags += ["--metric", "f1_macro", "--num_train_epochs", "1", "--learning_rate", "3e-4"]
    flags += ["--batch_size", "32", "--warmup_ratio", "0.1"]
    lines = [
        f"1,200 rows to train on and 2,000 to evaluate, {RARE_SHARE:.0%} of them of the rare",
        f"class. One of four words is in {IN_RARE:.0%} of the rare rows and in {IN_COMMON:.0%} of",
        "the common ones: where it is, the common class is still the more likely. Seeds 1, 2, 3;",
        "mean (smallest to largest).",
        "",
        "| `--class_weights` | accuracy | macro-F1 | Matthews |",
        "|---|---|---|---|",
    ]
    for name, weights in (("none", []), ("balanced", ["--class_weights", "balanced"])):
        found = [
            run(args.output_dir / f"classes_{name}_{seed}", [*flags, *weights, "--seed", str(seed)])
            for seed in SEEDS
        ]
        cells = []
        for metric in ("accuracy", "f1_macro", "matthews_correlation"):
            values = [results[f"eval_{metric}"] for results in found]
            spread = f"{min(values):.3f} to {max(values):.3f}"
            cells.append(f"{statistics.mean(values):.3f} ({spread})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="all-minilm-l6-v2")
    parser.add_argument("--output_dir", type=Path, default=Path("out/own_data"))
    args = parser.parse_args()
    args.output_dir = args.output_dir.resolve()
    data = args.output_dir / "data"
    lines = ["# Own data: several labels per row, and unequal classes", ""]
    lines.append(
        f"Made by `python -m benchmarks.own_data` on {date.today()} with {Path(args.model).name} "
        f"({hardware.machine()}), its embeddings frozen. The sets are invented; the commands are "
        "in the script."
    )
    lines += ["", "## Several labels per row", "", *several_labels(args, data)]
    lines += ["", "## Unequal classes", "", *unequal_classes(args, data)]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
