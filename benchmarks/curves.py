"""Loss curves of 200 updates of SST-2 with and without each of the things that make training fast.

    python -m benchmarks.curves --output_dir runs/curves --result benchmarks/results/curves-DATE

Where both sides compute the same up to rounding, the curves are laid one over the other, update by
update. Where their random draws differ (dropout of our kernels, the order of rows), each side is
run with the seeds 1, 2 and 3, and means over 50 updates are compared in standard errors. Finished
runs are kept, so it can be cut off and called again.
"""

import argparse
import json
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

from benchmarks import kept, seeds
from bert_paddle.common import run_log, runtime

UPDATES, WINDOW, SEEDS = 200, 50, (1, 2, 3)
FLAGS = (
    "--task_name SST-2 --do_train --batch_size 8 --learning_rate 2e-5 "
    f"--max_steps {UPDATES} --logging_steps 1 --save_total_limit 1 --report 0"
)
Variables = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Side:
    """One way to train: flags beside FLAGS, and variables of the environment."""

    flags: str = ""
    variables: Variables = ()
    dropout: bool = True

    def name(self) -> str:
        words = [*self.flags.split(), *("=".join(pair) for pair in self.variables)]
        return "_".join(words or ["default"]).replace("--", "") + ("" if self.dropout else "_still")


@dataclass(frozen=True)
class Lever:
    """What is compared, and whether the draws of both sides are the same."""

    name: str
    ours: Side
    without: Side
    same_draws: bool


LAYERS = "--cpu_kernels 0"
# A variable of the user's own keeps bert_paddle/common/runtime.py from choosing.
UNSET = (("FLAGS_use_stride_kernel", "1"), ("MALLOC_CHECK_", "0"))
TWO, ONE = (("OMP_NUM_THREADS", "2"),), (("OMP_NUM_THREADS", "1"),)
STILL = Side(LAYERS, dropout=False)
LEVERS = (
    Lever("kernels, no dropout", Side(dropout=False), STILL, True),
    Lever("kernels", Side(), Side(LAYERS), False),
    Lever("batches of like length", Side("--group_by_length"), Side(), False),
    Lever("settings of memory and views", Side(), Side(variables=UNSET), True),
    Lever("two threads", Side(variables=TWO), Side(variables=ONE), True),
    Lever("word pieces kept", Side(), Side(variables=(("XDG_CACHE_HOME", "empty"),)), True),
    Lever("saves beside training", Side("--save_steps 50"), Side("--save_steps 200"), True),
    Lever("--recompute", Side(f"{LAYERS} --recompute"), Side(LAYERS), True),
    Lever("--to_static", Side(f"{STILL.flags} --to_static", dropout=False), STILL, True),
    Lever(
        "--flash_attention", Side(f"{STILL.flags} --flash_attention", dropout=False), STILL, True
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    args = parser.parse_args()
    folder = args.output_dir.resolve()
    for lever in LEVERS:
        for seed in seeds_of(lever):
            for side in (lever.ours, lever.without):
                train(side, seed, folder)
    write(folder, args.result)


def seeds_of(lever: Lever) -> tuple[int, ...]:
    return SEEDS[:1] if lever.same_draws else SEEDS


def train(side: Side, seed: int, folder: Path) -> None:
    out = folder / side.name() / f"seed_{seed}"
    variables = dict(side.variables)
    if "XDG_CACHE_HOME" in variables:  # with the kernels, and without word pieces
        empty = folder / "cache"
        shutil.rmtree(empty, ignore_errors=True)
        for one in ("kernels", "models"):
            if (runtime.cache_dir() / one).is_dir():
                shutil.copytree(runtime.cache_dir() / one, empty / "bert_paddle" / one)
        variables["XDG_CACHE_HOME"] = str(empty)
    words = f"run_glue.py {FLAGS} {side.flags} --seed {seed} --output_dir {out}"
    words += f" --model_name_or_path {model(side, folder)}"
    kept.run(words.split(), out, variables)


def model(side: Side, folder: Path) -> str:
    """The packaged weights, or a copy of them whose configuration has no dropout."""
    if side.dropout:
        return "all-minilm-l6-v2"
    still = folder / "without_dropout"
    if not still.is_dir():
        shutil.copytree(runtime.cache_dir() / "models" / "all-minilm-l6-v2", still)
        path = still / "config.json"
        rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | rates), "utf-8")
    return str(still)


def curve(side: Side, seed: int, folder: Path) -> list[float]:
    """The training loss of each update."""
    records = run_log.read_metrics(folder / side.name() / f"seed_{seed}")
    found = [record["loss"] for record in records if record["kind"] == "train"]
    if len(found) != UPDATES:
        raise SystemExit(f"{side.name()}, seed {seed}: {len(found)} updates, not {UPDATES}")
    return found


def write(folder: Path, result: Path) -> None:
    """All curves as JSON, and the comparison as Markdown."""
    sides = {(side, seed) for v in LEVERS for seed in seeds_of(v) for side in (v.ours, v.without)}
    curves = {key: curve(*key, folder) for key in sides}
    named = {f"{side.name()} seed {seed}": values for (side, seed), values in curves.items()}
    about = [kept.where(folder / s.name() / f"seed_{seed}") for s, seed in curves]
    text = json.dumps({"about": about[0], "losses": dict(sorted(named.items()))})
    result.with_suffix(".json").write_text(text + "\n", "utf-8")
    lines = [f"# Loss curves of {UPDATES} updates with and without what makes training fast", ""]
    lines += [kept.environment_line(about), ""]
    lines += [f"`run_glue.py {FLAGS} --model_name_or_path all-minilm-l6-v2`", ""]
    lines += ["## The same up to rounding", "", "Seed 1; loss per update.", ""]
    lines += ["| | beside | last 50 updates, mean loss | largest difference | of which update |"]
    lines += ["|---" * 5 + "|"]
    for lever in (one for one in LEVERS if one.same_draws):
        lines.append(laid_over(lever, *(curves[side, 1] for side in (lever.ours, lever.without))))
    lines += ["", "## Other draws", ""]
    lines += [f"Seeds {SEEDS}; mean loss of {WINDOW} updates.", ""]
    lines += [f"| | updates {seeds.head('with', 'without')}"]
    lines += ["|---" * 7 + "|"]
    for lever in (one for one in LEVERS if not one.same_draws):
        given = [[curves[side, s] for s in SEEDS] for side in (lever.ours, lever.without)]
        lines += in_windows(lever, *given)
    result.with_suffix(".md").write_text("\n".join(lines) + "\n", "utf-8")


def laid_over(lever: Lever, ours: list[float], without: list[float]) -> str:
    apart = [abs(a - b) for a, b in zip(ours, without, strict=True)]
    means = [statistics.mean(one[-WINDOW:]) for one in (ours, without)]
    where = apart.index(max(apart)) + 1 if max(apart) else "none"
    return (
        f"| {lever.name} | `{lever.without.name()}` | {means[0]:.6f}, {means[1]:.6f} "
        f"| {max(apart):.1e} | {where} |"
    )


def in_windows(lever: Lever, ours: list[list[float]], without: list[list[float]]) -> list[str]:
    lines = []
    for begin in range(0, UPDATES, WINDOW):
        end = begin + WINDOW
        sides = [[statistics.mean(one[begin:end]) for one in given] for given in (ours, without)]
        lines.append(f"| {lever.name} | {begin + 1}-{end} {seeds.compared(*sides)}")
    return lines


if __name__ == "__main__":
    main()
