"""What benchmarks/yardstick.py reads from a run's folder and from a --help text."""

import hashlib
import json
import re
import statistics
from pathlib import Path
from typing import Any

TIMES = ("runtime", "per_second")


class Mistake(Exception):
    """What keeps the yardstick from measuring, in one line."""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def files_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def results_of(folder: Path, work: Path) -> dict[str, Any]:
    """all_results.json without times and rates, and without the place of the folder."""
    text = (folder / "all_results.json").read_text(encoding="utf-8").replace(str(work), "{work}")
    return {k: v for k, v in json.loads(text).items() if not k.endswith(TIMES)}


def records_of(folder: Path, kind: str) -> dict[str, dict[str, Any]]:
    """The records of metrics.jsonl of one kind by step, without rates."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [r for r in map(json.loads, lines) if r["kind"] == kind]
    if len({r["step"] for r in records}) < len(records):
        raise Mistake(f"{folder / 'metrics.jsonl'} has a step twice")
    left_out = ("kind", "step")
    return {
        str(r["step"]): {k: v for k, v in r.items() if k not in left_out and not k.endswith(TIMES)}
        for r in records
    }


def outcome(folder: Path, steps: int) -> dict[str, Any]:
    """What a training computed: every step, every evaluation, the weights and moments at its end.
    Raises Mistake where a step is missing."""
    trained = records_of(folder, "train")
    if set(trained) != {str(step) for step in range(1, steps + 1)}:
        raise Mistake(f"{folder / 'metrics.jsonl'} lacks some of the steps 1 to {steps}")
    last = folder / f"model_{steps}"
    weights = [last / "model.safetensors", last / "state" / "optimizer.safetensors"]
    return {
        "steps": trained,
        "evaluations": records_of(folder, "eval"),
        "sha256": {str(path.relative_to(folder)): sha256(path) for path in weights},
    }


def step_time(folder: Path) -> float:
    """The median time of a step in milliseconds."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rates = [r["steps_per_second"] for r in map(json.loads, lines) if r["kind"] == "train"]
    return round(1000 / statistics.median(rates), 1)


def flags_of(text: str) -> dict[str, Any]:
    """The contract in a --help text: operands, and of each flag aliases, values and default. The
    words that explain a flag are left out."""
    usage = text.splitlines()[0].removeprefix("usage: ")
    found: dict[str, Any] = {"usage": usage}
    entry = r"^  (-{1,2}\w\S*.*?)(?:\n? {2,}|\n|\Z)((?:.*\n?)(?: {6,}\S.*\n?)*)"
    for head, words in re.findall(entry, text, re.MULTILINE):
        parts = [part.split(maxsplit=1) for part in head.split(", ")]
        told = re.findall(r"\(default ([^)]*)\)|\((required)\)", " ".join(words.split()))
        found[parts[0][0]] = {
            "aliases": [part[0] for part in parts[1:]],
            "values": parts[-1][1] if len(parts[-1]) > 1 else None,
            "default": (told[-1][0] or told[-1][1]) if told else None,
        }
    return found
