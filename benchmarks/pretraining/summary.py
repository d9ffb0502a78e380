"""The page of a pre-training and its picture, from what benchmarks.pretraining has kept."""

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.glue.tasks import TASKS

BY_HAND = "<!-- what follows is written by hand and kept -->"
Values = Mapping[str, Any]


def write(values: Values, page: Path) -> None:
    """Write the page, and beside it pretraining_curve.png. values: of the parts that are done."""
    curves = {int(k.split("_")[1]): v for k, v in values.items() if k.startswith("curve_")}
    draw(curves, values.get("held_out"), page.with_name("pretraining_curve.png"))
    lines = [
        "# A small pre-training, measured",
        "",
        "By `python -m benchmarks.pretraining`, which says what each step does. Written on "
        f"{time.strftime('%Y-%m-%d')}; {next(iter(curves.values()))['machine']}.",
        "",
        "![held-out curves](pretraining_curve.png)",
        "",
        *curve_table(curves),
        *(held_out_table(values["held_out"]) if "held_out" in values else []),
        *(fine_tuned_table(values) if "fine_tuned" in values else []),
    ]
    before = page.read_text(encoding="utf-8") if page.is_file() else ""
    kept = before[before.index(BY_HAND) :] if BY_HAND in before else ""
    page.write_text("\n".join(lines) + "\n" + kept, encoding="utf-8")


def draw(curves: Mapping[int, Values], held_out: Values | None, path: Path) -> None:
    """The held-out curves: masked words above, relations below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(7, 6), sharex=True)
    offset = 0
    for length, curve in sorted(curves.items()):
        steps, losses, _, _, right = np.array(curve["eval"], float).T
        trained = np.array(curve["train"], float).T
        above.plot(offset + trained[0], trained[1], alpha=0.4, label=f"training, {length} tokens")
        above.plot(offset + steps, losses, "o-", markersize=3, label=f"held out, {length} tokens")
        below.plot(offset + steps, 100 * right, "o-", markersize=3)
        offset += int(max(trained[0].max(), steps.max()))
    if held_out:
        floor = held_out["now"]["unigram_loss"]
        above.axhline(floor, linestyle="--", color="gray", label="word frequencies alone")
    above.set_ylabel("loss of masked words, nats")
    above.legend()
    below.axhline(50, linestyle="--", color="gray")
    below.set_ylabel("relations right, held out, %")
    below.set_xlabel("steps")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def curve_table(curves: Mapping[int, Values]) -> list[str]:
    """The evaluations of both phases."""
    lines = [
        "| tokens | step | masked words: loss | right | relations: loss | right | sequences/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for length, curve in sorted(curves.items()):
        speed = statistics.median(row[3] for row in curve["train"])
        for step, loss, right, nsp_loss, nsp_right in curve["eval"]:
            lines.append(
                f"| {length} | {step:,} | {loss:.3f} | {right:.1%} | {nsp_loss:.3f} | "
                f"{nsp_right:.1%} | {speed:.0f} |"
            )
    return lines


def held_out_table(found: Values) -> list[str]:
    """All held-out rows, beside the run before."""
    lines = [
        "",
        "## Held out",
        "",
        "| run | masked pieces | characters each | loss, nats | bits per character | "
        "by word frequencies, bits | relations right |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, title in (("now", "this one"), ("before", "that of 2026-11-21, 3,000 steps")):
        f = found[name]
        lines.append(
            f"| {title} | {f['masked']:,} | {f['characters']:.2f} | {f['mlm_loss']:.3f} | "
            f"**{f['mlm_loss_bits']:.3f}** | {f['unigram_loss_bits']:.3f} | "
            f"{f['nsp_accuracy']:.1%} |"
        )
    change = found["now"]["mlm_loss_bits"] / found["before"]["mlm_loss_bits"] - 1
    return [*lines, "", f"Bits per character: {change:+.1%}."]


def fine_tuned_table(values: Values) -> list[str]:
    """Each task from both starts: mean and deviation over the seeds, and the difference in its
    standard errors."""
    found: dict[tuple[str, str], list[float]] = {}
    rates = {start: max(means, key=means.get) for start, means in values["rates"].items()}
    for name, metrics in values["fine_tuned"].items():
        task, start, rate, seed = name.split("/")
        if rate == rates.get(start) and int(seed) in (1, 2, 3):
            found.setdefault((task, start), []).append(statistics.mean(metrics))
    lines = [
        "",
        "## Fine-tuned",
        "",
        "3 epochs, batch 32, 10 % warm-up, the first 10,000 training rows of SST-2 and QNLI, at "
        "most 128 tokens; the learning rate with the best mean of MRPC and SST-2 on another seed: "
        + ", ".join(f"{rate} {start}" for start, rate in rates.items())
        + ". Percent: the mean of a task's metrics on its dev set, and the deviation over seeds.",
        "",
        "| task | metrics | pretrained | random | difference | in standard errors |",
        "|---|---|---|---|---|---|",
    ]
    tasks = list(dict.fromkeys(task for task, _ in found))
    for task in tasks:
        both = [found.get((task, start), []) for start in ("pretrained", "random")]
        lines.append(f"| {task} | {', '.join(TASKS[task].metrics)} | {_cells(*both)} |")
    means = [
        [statistics.mean(of_seed) for of_seed in zip(*values, strict=False)]
        for start in ("pretrained", "random")
        if (values := [found[task, start] for task in tasks if (task, start) in found])
    ]
    if len(means) == 2:
        lines.append(f"| mean | | {_cells(*means)} |")
    return lines


def _cells(pretrained: list[float], random: list[float]) -> str:
    def cell(values: list[float]) -> str:
        if len(values) < 2:
            return ", ".join(f"{value:.2f}" for value in values)
        return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"

    cells = [cell(pretrained), cell(random), "", ""]
    if len(pretrained) > 1 and len(random) > 1:
        difference = statistics.mean(pretrained) - statistics.mean(random)
        error = sum(statistics.variance(v) / len(v) for v in (pretrained, random)) ** 0.5
        cells[2:] = [f"{difference:+.2f}", f"{difference / error:.1f}" if error else "–"]
    return " | ".join(cells)
