"""Tables and the picture of a pre-training made by scripts/reproduce_pretraining.sh.

    python benchmarks/pretraining/short_summary.py RESULTS_DIR --to docs/PRETRAINING_RESULTS.md

Reads the runs' own files (metrics.jsonl, all_results.json, the shards' metadata) and writes the
Markdown file and, beside it, pretraining_curve.png.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.pretraining import held_out  # noqa: E402
from bert_paddle.common import hardware, runtime  # noqa: E402
from bert_paddle.common.run_log import read_metrics  # noqa: E402
from bert_paddle.pretrain.data import schema  # noqa: E402

BY_HAND = "<!-- what follows is written by hand and kept -->"
TASKS = {"SST-2": ("eval_accuracy",), "MRPC": ("eval_accuracy", "eval_f1")}


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
    below.set_xlabel("updates")
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
    vocab = runtime.bert_paddle_home() / "models" / held_out.BEFORE_VOCAB / "vocab.txt"
    found = held_out.describe(args.results / "shards", vocab)
    floor, most = found["unigram_loss"], found["more_frequent_relation"]
    picture = args.to.with_name("pretraining_curve.png")
    draw(records, floor, picture)
    rates = [r["sequences_per_second"] for r in records if r["kind"] == "train"]
    lines = [
        "# A small pre-training, measured",
        "",
        "By `bash scripts/reproduce_pretraining.sh`, which says what each step does; "
        "`benchmarks/pretraining/short_summary.py` made this page.",
        f"{time.strftime('%Y-%m-%d')}, {hardware.describe()}. One thread, other programs "
        "beside: the rates are no measure of speed.",
        "",
        "4 layers x 256 (benchmarks/pretraining/bert_4x256.json: no dropout, for a run that sees "
        "no row twice), batch 32, length 64, AdamW, peak rate 7e-4, "
        f"{values['global_step']} updates = {values['epoch']:.2f} epochs of "
        f"{values['train_samples']:,} rows; {statistics.median(rates):.1f} sequences/s (median of "
        "the log lines).",
        "",
        "![curves](pretraining_curve.png)",
        "",
        f"Held out: the unigram entropy of the masked tokens is **{floor:.3f}** nats; the more "
        f"frequent relation has {most:.1%}.",
        "",
        "| updates | masked words: loss | right | perplexity | relations: loss | right |",
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
