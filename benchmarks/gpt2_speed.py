"""GPT-2's training steps and generation, beside transformers, in turns.

    python benchmarks/gpt2_speed.py [--rounds 3] [--generation_rounds 1] [--busy]
        [--output benchmarks/gpt2_speed.md]

Models with GPT-2's 50,257 tokens from random weights, float32, two threads. Training, 6 layers x
384: forward, backward, clipping, AdamW, dropout 0.1. Generation, GPT-2's own 12 x 768: 200 tokens
after a prompt of 16, top-k 50, top-p 0.95; ours with the cache of keys and values and without,
transformers' generate with its cache. Needs the peers' environment (benchmarks/peers/setup.sh).
Writes Markdown.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.suite import contest, options  # noqa: E402
from benchmarks.suite.contest import OURS, Contestant, Job  # noqa: E402
from bert_paddle.common import atomic_files, hardware  # noqa: E402
from bert_paddle.models import gpt2, gpt2_weights  # noqa: E402
from bert_paddle.models.gpt2_config import Gpt2Config  # noqa: E402

VOCAB = 50257
TRAINED, GENERATING = (6, 384, 6), (12, 768, 12)  # layers, width, heads
STEPS = {(2, 256): 1, (8, 128): 1}  # {(rows, tokens): steps in a block}
PROMPT, NEW_TOKENS = 16, 200
OUR_SCRIPT, THEIR_SCRIPT = "benchmarks/suite/our_gpt2.py", "benchmarks/peers/hf_gpt2.py"


def write_model(folder: Path, sizes: tuple[int, int, int]) -> None:
    """A Hugging Face folder with random weights."""
    layers, width, heads = sizes
    config = Gpt2Config(VOCAB, width, layers, heads, 1024, 4 * width)
    folder.mkdir()
    weights = gpt2_weights.to_hugging_face(gpt2.initial_tensors(config, 42))
    atomic_files.write_json(folder / "config.json", config.as_hugging_face())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def contestants(models: Path) -> dict[str, list[Contestant]]:
    """Who takes part, by the name of the job. models: the folder of both."""
    jobs: dict[str, list[Contestant]] = {}
    for (rows, tokens), steps in STEPS.items():
        spec = {"job": "training", "rows": rows, "tokens": tokens, "steps": steps}
        jobs[f"training step, {rows} x {tokens} tokens"] = _pair(models / "trained", spec)
    spec = {"job": "generation", "prompt": PROMPT, "new_tokens": NEW_TOKENS, "cache": True}
    pair = _pair(models / "generating", spec)
    slow = pair[0].spec | {"cache": False}
    without = Contestant("without", "bert_paddle, without the cache", OUR_SCRIPT, slow, OURS)
    jobs[f"{NEW_TOKENS} tokens"] = [*pair, without]
    return jobs


def _pair(model: Path, spec: dict) -> list[Contestant]:
    spec = spec | {"model": str(model), "vocab": VOCAB}
    return [
        Contestant("ours", "bert_paddle", OUR_SCRIPT, spec, OURS),
        Contestant("hf", "transformers", THEIR_SCRIPT, spec),
    ]


def rows_of_table(name: str, blocks: dict[str, list[dict]], labels: dict[str, str]) -> list[str]:
    """Medians, and the median over the rounds of each contestant's time by ours."""
    ours = [block["seconds"] for block in blocks["ours"]]
    lines = []
    for key, theirs in blocks.items():
        seconds = [block["seconds"] for block in theirs]
        ratio = statistics.median(np.divide(seconds, ours))
        spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
        cpu = statistics.median(block["cpu_seconds"] / block["parts"] for block in theirs)
        others = statistics.median(block["others"] for block in theirs)
        lines.append(
            f"| {name} | {labels[key]} | {statistics.median(seconds):.2f} | {spread} | "
            f"{ratio:.2f} | {cpu:.2f} | {others:.1f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--generation_rounds", type=int, default=1)
    parser.add_argument("--busy", action="store_true", help="say that other work was running")
    parser.add_argument("--output", type=Path, help="write the page there, too")
    flags = parser.parse_args()
    state = "busy with other work (see the last column)" if flags.busy else "otherwise idle"
    lines = [
        "# GPT-2: training steps and generation beside transformers",
        "",
        f"    python benchmarks/gpt2_speed.py --rounds {flags.rounds} "
        f"--generation_rounds {flags.generation_rounds}",
        "",
        f"{time.strftime('%Y-%m-%d')}, {hardware.describe()}, {state}. {VOCAB:,} tokens in "
        "the vocabulary, random weights, float32, two threads, in turns; training 6 layers x 384, "
        "generation 12 x 768. Seconds for a step, or "
        f"for {NEW_TOKENS} tokens after {PROMPT}; the ratio is the median over the "
        "rounds of a time by ours in the same round: above 1, ours is faster.",
        "",
        "| job | by | median, s | range | ratio | CPU s | cores of others |",
        "|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        write_model(Path(scratch) / "trained", TRAINED)
        write_model(Path(scratch) / "generating", GENERATING)
        for name, takers in contestants(Path(scratch)).items():
            rounds = flags.rounds if name.startswith("training") else flags.generation_rounds
            asked = options.Options(("gpt2",), rounds, 0, (), (), quick=False)
            job = Job(name, "s", False, {}, {}, {})
            contest.rounds(job, takers, asked, Path(scratch))
            lines += rows_of_table(name, job.blocks, job.labels)
    text = "\n".join(lines) + "\n"
    print(text)
    if flags.output:
        flags.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
