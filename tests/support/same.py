"""Compares all that two runs write, exactly but for times."""

import json
import re
from pathlib import Path
from typing import Any

from bert_paddle.training import checkpoint

# Keys of times in metrics.jsonl, all_results.json and train_state.json.
_TIMES = re.compile(r".*seconds.*|.*_runtime|.*_per_second")
_START_FLAGS = ("output_dir", "resume_from_checkpoint", "save_total_limit", "num_workers")


def without_times(value: Any) -> Any:
    """Nested JSON without times and without flags of where and how a run was started."""
    if isinstance(value, dict):
        return {
            name: without_times(inner)
            for name, inner in value.items()
            if not _TIMES.fullmatch(name) and name not in _START_FLAGS
        }
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def plain_lines(text: str) -> list[str]:
    """Log lines without speeds."""
    return [re.sub(r"speed: .*? step/s(, .*? sequences/s)?", "", s) for s in text.splitlines()]


def records(folder: Path) -> list[Any]:
    path = folder / "metrics.jsonl"
    return [without_times(json.loads(line)) for line in path.read_text().splitlines()]


def checkpoint_files(folder: Path) -> dict[str, Any]:
    """The content of a checkpoint's files: bytes, or the training state without times."""
    contents: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == checkpoint.STATE_FILE:
            contents[name] = without_times(json.loads(path.read_text()))
        elif name != checkpoint.MANIFEST_FILE:
            contents[name] = path.read_bytes()
    return contents


def differences(run_a: Path, run_b: Path, step: int) -> list[str]:
    """Which files of a step's checkpoint, metrics and results differ between two runs."""
    differ = []
    runs = run_a, run_b
    for run in runs:
        damage = checkpoint.find_damage(checkpoint.checkpoint_dir(run, step))
        if damage:
            return [f"{run}: model_{step}: {damage}"]
    a, b = (checkpoint_files(checkpoint.checkpoint_dir(run, step)) for run in runs)
    differ += [f"model_{step}/{name}" for name in a.keys() | b.keys() if a.get(name) != b.get(name)]
    if records(run_a) != records(run_b):
        differ.append("metrics.jsonl")
    results = [json.loads((f / "all_results.json").read_text()) for f in runs]
    if without_times(results[0]) != without_times(results[1]):
        differ.append("all_results.json")
    return differ
