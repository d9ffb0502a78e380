"""Tables and the picture of a pre-training made by scripts/reproduce_pretraining.sh.

    python benchmarks/pretraining/summary.py RESULTS_DIR --to docs/PRETRAINING_RESULTS.md

Reads the runs' own files (metrics.jsonl, all_results.json, the shards' metadata) and writes the
Markdown file and, beside it, pretraining_curve.png.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bert_paddle.common import hardware  # noqa: E402
from bert_paddle.common.run_log import read_metrics  # noqa: E402
from bert_paddle.pretrain.data import schema  # noqa: E402
from bert_paddle.pretrain.data.loader import collate  # noqa: E402
from bert_paddle.pretrain.data.shard_roles import find_shards
from bert_paddle.pretrain.data.shards import check_shards

BY_HAND = "<!-- what follows is written by hand and kept -->"
TASKS = {"SST-2": ("eval_accuracy",), "MRPC": ("eval_accuracy", "eval_f1")}


def entropy(paths: list[Path]) -> float:
    """Unigram entropy (natural logarithm) of the masked tokens of shards: the loss of knowing
    nothing but how often each occurs."""
    shards = check_shards(paths, 2**31 - 1, 2**31 - 1, 2)
    counts: dict[int, int] = {}
    for i, rows in enumerate(shards.rows):
        for start in range(0, rows, 8192):
            batch = collate(shards.read(i, start, min(start + 8192, rows)), shards.predictions)
            ids, often = np.unique(batch["masked_lm_ids"], return_counts=True)
            for one, count in zip(ids.tolist(), often.tolist(), strict=True):
                counts[one] = counts.get(one, 0) + count
    shares = np.array(list(counts.values()), float)
    shares /= shares.sum()
    return float(-(shares * np.log(shares)).sum())


def majority(paths: list[Path]) -> float:
    """Share of the more frequent relation in shards."""
    shards = check_shards(paths, 2**31 - 1, 2**31 - 1, 2)
    labels = np.concatenate(
        [shards.read(i, 0, rows)["next_sentence_labels"] for i, rows in enumerate(shards.rows)]
    )
    return float(max(labels.mean(), 1 - labels.mean()))


def draw(records: list[dict], floor: float, path: Path) -> None:
    """The held-out curves: masked words above, relations below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    trained = [r for r in records if r["kind"] == "train"]
    held_out = [r for r in records if r["kind"] == "eval"]
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(7, 6), sharex=True)
    above.plot([r["step"] for r in trained], [r["mlm_loss"] for r in trained], label="training")
    above.plot(
        [r["step"] for r in held_out], [r["mlm_loss"] for r in held_out], "o-", label="held out"
    )
    above.axhline(floor, linestyle="--", color="gray", label="unigram entropy, held out")
    above.set_ylabel("loss of masked words, nats")
    above.legend()
    below.plot([r["step"] for r in held_out], [100 * r["nsp_accuracy"] for r in held_out], "o-")
    below.axhline(50, linestyle="--", color="gray")
    below.set_ylabel("relations right, held out, %")
    below.set_xlabel("steps")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def fine_tuned(results: Path) -> list[str]:
    """A row for each task and start, over the seeds that are there."""
    lines = [
        "| task | metric (dev set) | fine-tuned from | by seed, percent | mean | deviation |",
        "|---|---|---|---|---|---|",
    ]
    for task, metrics in TASKS.items():
        for metric in metrics:
            for start in ("pretrained", "untrained"):
                files = sorted(results.glob(f"tuned/{start}_{task}_*/all_results.json"))
                values = [100 * json.loads(file.read_text())[metric] for file in files]
                if not values:
                    continue
                spread = f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-"
                lines.append(
                    f"| {task} | {metric.removeprefix('eval_')} | {start} | "
                    + ", ".join(f"{value:.2f}" for value in values)
                    + f" | **{statistics.mean(values):.2f}** | {spread} |"
                )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    pretrained = args.results / "pretrained"
    records = read_metrics(pretrained)
    values = json.loads((pretrained / "all_results.json").read_text())
    test = find_shards(args.results / "shards").held_out
    floor, most = entropy(test), majority(test)
    picture = args.to.with_name("pretraining_curve.png")
    draw(records, floor, picture)
    rates = [r["sequences_per_second"] for r in records if r["kind"] == "train"]
    lines = [
        "# A small pre-training, measured",
        "",
        "By `bash scripts/reproduce_pretraining.sh`, which says what each step does; "
        "`benchmarks/pretraining/summary.py` made this page.",
        f"{time.strftime('%Y-%m-%d')}, {hardware.describe()}. One thread, other programs "
        "beside: the rates are no measure of speed.",
        "",
        "4 layers x 256 (benchmarks/pretraining/bert_4x256.json: no dropout, for a run that sees "
        "no row twice), batch 32, length 64, AdamW, peak rate 7e-4, "
        f"{values['global_step']} steps = {values['epoch']:.2f} epochs of "
        f"{values['train_samples']:,} rows; {statistics.median(rates):.1f} sequences/s (median of "
        "the log lines).",
        "",
        "![curves](pretraining_curve.png)",
        "",
        f"Held out: the unigram entropy of the masked tokens is **{floor:.3f}** nats; the more "
        f"frequent relation has {most:.1%}.",
        "",
        "| steps | masked words: loss | right | perplexity | relations: loss | right |",
        "|---|---|---|---|---|---|",
    ]
    for r in records:
        if r["kind"] == "eval":
            lines.append(
                f"| {r['step']} | {r['mlm_loss']:.3f} | {r['mlm_accuracy']:.1%} | "
                f"{r['perplexity']:.1f} | {r['nsp_loss']:.3f} | {r['nsp_accuracy']:.1%} |"
            )
    lines += ["", "## The data", "", "| corpus | rows | documents | sentences | random next | "]
    lines[-1] += "masked / random / kept | pieces per row |"
    lines.append("|---|---|---|---|---|---|---|")
    for path in sorted((args.results / "shards").glob(f"*{schema.METADATA_SUFFIX}")):
        made = json.loads(path.read_text())
        sets = made["sets"].values()
        lines.append(
            f"| {path.name.removesuffix(schema.METADATA_SUFFIX)} | {made['rows']:,} | "
            f"{sum(s['documents'] for s in sets):,} | {sum(s['sentences'] for s in sets):,} | "
            f"{made['random_next_share']:.2%} | {made['masked_share']:.2%} / "
            f"{made['random_share']:.2%} / {made['kept_share']:.2%} | "
            f"{made['tokens_per_row']:.1f} |"
        )
    lines += [
        "",
        "## Fine-tuned",
        "",
        "The same settings for both starts: 2 epochs, batch 32, rate 1e-4 with 10 % warm-up, "
        "length 64. SST-2: the first 10,000 rows of its training file (a subset; the dev set "
        "whole).",
        "",
        *fine_tuned(args.results),
        "",
    ]
    before = args.to.read_text(encoding="utf-8") if args.to.is_file() else ""
    kept = before[before.index(BY_HAND) :] if BY_HAND in before else ""
    args.to.write_text("\n".join(lines) + kept, encoding="utf-8")
    print(f"wrote {args.to} and {picture}")


if __name__ == "__main__":
    main()
