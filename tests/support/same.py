"""Two runs that must be one: everything they leave, compared with no tolerance but for times."""

import json
import re
from pathlib import Path
from typing import Any

from bert_paddle.training import checkpoint

# Names of what a clock says, in metrics.jsonl, all_results.json and train_state.json.
_TIMES = re.compile(r".*seconds.*|.*_runtime|.*_per_second")
_PATHS = ("output_dir", "resume_from_checkpoint", "save_total_limit", "num_workers")


def without_times(value: Any) -> Any:
    """Nested JSON without times, and without flags that say where and how a run was started."""
    if isinstance(value, dict):
        return {
            name: without_times(inner)
            for name, inner in value.items()
            if not _TIMES.fullmatch(name) and name not in _PATHS
        }
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def plain_lines(text: str) -> list[str]:
    """Log lines without speeds."""
    return [re.sub(r"speed: .*? step/s(, .*? sequences/s)?", "", s) for s in text.splitlines()]


def records(folder: Path) -> list[Any]:
    path = folder / "metrics.jsonl"
    return [without_times(json.loads(line)) for line in path.read_text().splitlines()]


def checkpoint_files(folder: Path) -> dict[str, Any]:
    """Content of every file of a checkpoint: bytes, or the state without times."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == checkpoint.STATE:
            found[name] = without_times(json.loads(path.read_text()))
        elif name != checkpoint.MANIFEST:
            found[name] = path.read_bytes()
    return found


def differences(one: Path, other: Path, step: int) -> list[str]:
    """What differs between the checkpoint of a step, the records and the results of two runs."""
    differ = []
    for folder in (one, other):
        wrong = checkpoint.find_damage(checkpoint.checkpoint_dir(folder, step))
        if wrong:
            return [f"{folder}: model_{step}: {wrong}"]
    a, b = (checkpoint_files(checkpoint.checkpoint_dir(folder, step)) for folder in (one, other))
    differ += [f"model_{step}/{name}" for name in a.keys() | b.keys() if a.get(name) != b.get(name)]
    if records(one) != records(other):
        differ.append("metrics.jsonl")
    results = [json.loads((f / "all_results.json").read_text()) for f in (one, other)]
    if without_times(results[0]) != without_times(results[1]):
        differ.append("all_results.json")
    return differ
