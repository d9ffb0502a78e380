"""Static against dynamic masks, with and without next-sentence prediction (NSP).

    python benchmarks/pretraining/variants.py --text FILE --out RUNS_DIR \\
        [--to benchmarks/results/pretraining-variants-DATE.md]

Makes a vocabulary and two sets of shards from the text (sentence pairs, and single sequences for
training without NSP), trains four variants from several seeds, and writes a table of the held-out
loss of masked words at equal steps. Each training that has ended is kept; the same command goes on.

Static and dynamic masks are compared on the same rows: those of the shards, whose own masks
--dynamic_masking replaces. Every run is evaluated on the masks of the held-out shard, which are the
same for all seeds and for both kinds of masks. Pairs and single sequences are of the same
documents, but other rows.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bert_paddle.common import hardware  # noqa: E402
from bert_paddle.common.run_log import read_metrics  # noqa: E402
from bert_paddle.pretrain.data import schema  # noqa: E402

CONFIG = Path(__file__).with_name("bert_2x128.json")
LENGTH, VOCAB_SIZE, BATCH, TEST_SHARE = 32, 2000, 16, 0.2
VARIANTS = [(nsp, dynamic) for nsp in (1, 0) for dynamic in (0, 1)]
NAMES = {1: "with NSP", 0: "masked words alone"}, {0: "static", 1: "dynamic"}


def run(*words: object) -> None:
    """Run a program of this project."""
    command = [sys.executable, *map(str, words)]
    print(" ".join(command[1:]), flush=True)
    subprocess.run(command, check=True, cwd=ROOT)


def excerpt(text: Path, size: int, out: Path) -> Path:
    """A file with the documents of the first `size` bytes of a text: few enough for a short
    training to read every row several times."""
    out.mkdir(parents=True, exist_ok=True)
    documents = text.read_text(encoding="utf-8")[:size].split("\n\n")
    path = out / "text.txt"
    path.write_text("\n\n".join(documents[:-1]) + "\n", encoding="utf-8")
    return path


def make_shards(text: Path, out: Path) -> None:
    """A vocabulary, shards of sentence pairs and shards of single sequences, each made in one pass
    over the text, so that the training reads every row several times."""
    if not (out / "vocab" / "vocab.txt").is_file():
        run("scripts/train_vocab.py", "--input_files", text, "--vocab_size", VOCAB_SIZE,
            "--output_dir", out / "vocab")  # fmt: skip
    for nsp in NAMES[0]:
        run("scripts/create_pretraining_data.py", "--input_files", text, "--vocab_file",
            out / "vocab", "--output_dir", out / f"shards_nsp{nsp}", "--corpus_name", "text",
            "--nsp", nsp, "--dupe_factor", 1, "--test_share", TEST_SHARE,
            "--max_seq_length", LENGTH, "--max_predictions_per_seq", 5)  # fmt: skip


def train(out: Path, nsp: int, dynamic: int, seed: int, steps: int) -> Path:
    """Train a variant, unless it has been trained to its end; returns its folder."""
    folder = out / f"nsp{nsp}_dynamic{dynamic}_seed{seed}_{steps}"
    if not (folder / "all_results.json").is_file():
        run("run_pretrain.py", "--model_name_or_path", CONFIG, "--vocab_size", VOCAB_SIZE,
            "--input_dir", out / f"shards_nsp{nsp}", "--output_dir", folder, "--nsp", nsp,
            "--dynamic_masking", dynamic, "--seed", seed, "--max_steps", steps,
            "--num_train_epochs", 1000, "--batch_size", BATCH, "--learning_rate", 1e-3,
            "--warmup_ratio", 0.1, "--weight_decay", 0.01, "--max_predictions_per_seq", 5,
            "--max_eval_samples", -1, "--eval_batch_size", 64, "--save_steps", steps // 4,
            "--save_total_limit", 1, "--logging_steps", steps // 20, "--report", 0,
            "--overwrite_output_dir")  # fmt: skip
    return folder


def held_out_losses(folder: Path) -> dict[int, float]:
    """{step: held-out loss of masked words}."""
    return {r["step"]: r["mlm_loss"] for r in read_metrics(folder) if r["kind"] == "eval"}


def describe_rows(out: Path) -> list[str]:
    """A line for each set of shards."""
    lines = []
    for nsp, name in NAMES[0].items():
        path = out / f"shards_nsp{nsp}" / f"text{schema.METADATA_SUFFIX}"
        made = json.loads(path.read_text(encoding="utf-8"))
        sets = {s: 0 for s in (schema.TRAINING, schema.TEST)}
        for shard in made["shards"]:
            sets[schema.TEST if f"_{schema.TEST}_" in shard["name"] else schema.TRAINING] += shard[
                "rows"
            ]
        lines.append(
            f"- {name}: {sets[schema.TRAINING]:,} training rows, {sets[schema.TEST]:,} held out, "
            f"{made['tokens_per_row']:.1f} tokens per row"
        )
    return lines


def table(losses: dict[tuple[int, int], list[dict[int, float]]]) -> list[str]:
    """A row for each variant: the mean over the seeds at each step, and the seeds at the last."""
    steps = sorted(next(iter(losses.values()))[0])
    header = ["training", "masks", *(f"step {step}" for step in steps), "seeds at the last step"]
    lines = [f"| {' | '.join(header)} |", "|---|---|" + "---|" * (len(steps) + 1)]
    for (nsp, dynamic), runs in losses.items():
        means = [f"{statistics.mean(one[step] for one in runs):.3f}" for step in steps]
        seeds = ", ".join(f"{one[steps[-1]]:.3f}" for one in runs)
        lines.append(f"| {NAMES[0][nsp]} | {NAMES[1][dynamic]} | {' | '.join(means)} | {seeds} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--text_size", type=int, default=300_000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", default="1,2")
    args = parser.parse_args()
    out = args.out.resolve()
    make_shards(excerpt(args.text, args.text_size, out), out)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    losses: dict[tuple[int, int], list[dict[int, float]]] = {v: [] for v in VARIANTS}
    for seed in seeds:
        for nsp, dynamic in VARIANTS:
            folder = train(out, nsp, dynamic, seed, args.steps)
            losses[nsp, dynamic].append(held_out_losses(folder))
    config = json.loads(CONFIG.read_text(encoding="utf-8"))
    lines = [
        "# Static against dynamic masks, with and without NSP",
        "",
        "Made by `benchmarks/pretraining/variants.py`, which says what is compared.",
        f"{time.strftime('%Y-%m-%d')}, {hardware.describe()}. Other programs ran beside: losses, "
        "no measure of speed.",
        "",
        f"{config['num_hidden_layers']} layers x {config['hidden_size']}, {VOCAB_SIZE:,} word "
        f"pieces, batch {BATCH}, length {LENGTH}, {args.steps} steps, AdamW, peak rate 1e-3, seeds "
        f"{args.seeds}. Text: the documents in the first "
        f"{args.text_size:,} characters of {args.text.name}.",
        "",
        *describe_rows(out),
        "",
        "Held-out loss of masked words (nats), mean over the seeds:",
        "",
        *table(losses),
        "",
    ]
    print("\n".join(lines))
    if args.to:
        args.to.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
