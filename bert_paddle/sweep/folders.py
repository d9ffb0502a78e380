"""What the folder of a run says: finished, begun, or run with other settings."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_paddle import checkpoint, record
from bert_paddle.runs import RESULTS_FILE
from bert_paddle.sweep.plan import OneRun

LOG_FILE = "log.txt"
# Flags that do not change a run's results, nor what there is of them.
_BESIDE = frozenset(
    "output_dir overwrite_output_dir resume_from_checkpoint logging_steps save_total_limit debug "
    "device num_workers data_dir report visualdl_dir seeds".split()
)
_MORE_TO_DO = ("do_eval", "do_predict")  # what a finished training can still be asked for


@dataclass(frozen=True)
class Standing:
    """How far a run is. results: of all_results.json, where the run is finished."""

    results: dict[str, Any] | None = None
    begun: bool = False
    differ: list[str] = field(default_factory=list)  # "--seed was 1 and is 2"


def look(run: OneRun) -> Standing:
    """What there is of a run in its folder."""
    kept, wanted = record.read(run.folder), run.args.as_dict()
    results = read_results(run.folder)
    begun = bool(results) or bool(checkpoint.steps(run.folder))
    settings = kept.get("settings")
    if not begun or not isinstance(settings, dict):
        return Standing(begun=begun)
    differ = [
        f"--{name} was {settings[name]!r} and is {value!r}"
        for name, value in wanted.items()
        if name in settings and name not in (*_BESIDE, *_MORE_TO_DO) and settings[name] != value
    ]
    if differ:
        return Standing(begun=True, differ=differ)
    lacks = any(wanted[name] and not settings.get(name) for name in _MORE_TO_DO)
    if not results or not kept.get("finished") or lacks:
        return Standing(begun=True)
    return Standing(results, begun=True)


def read_results(folder: Path) -> dict[str, Any]:
    """The content of a folder's all_results.json; {} where there is none that can be read."""
    try:
        found = json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def scores(results: dict[str, Any]) -> dict[str, float]:
    """The metrics and losses among the values of all_results.json, by their keys there."""
    beside = ("runtime", "samples", "samples_per_second")
    return {
        key: float(value)
        for key, value in results.items()
        if key.startswith(("eval_", "test_"))
        and not any(part in key for part in beside)
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    }
