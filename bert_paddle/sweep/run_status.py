"""What the folder of a run says: finished, begun, or run with other settings."""

import json
import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_paddle.common import runtime
from bert_paddle.glue import tasks
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data import tsv
from bert_paddle.sweep.plan import OneRun
from bert_paddle.training import checkpoint, run_info
from bert_paddle.training.run import RESULTS_FILE

LOG_FILE = "log.txt"
# Flags that do not change a run's results, nor what there is of them. --data_dir is among them
# since a folder may be moved; whether its rows are real or invented is compared by itself.
_BESIDE = frozenset(
    "output_dir overwrite_output_dir resume_from_checkpoint logging_steps save_total_limit debug "
    "device num_workers data_dir report visualdl_dir seeds".split()
)
_MORE_TO_DO = ("do_eval", "do_predict")  # what a finished training can still be asked for


@dataclass(frozen=True)
class RunStatus:
    """How far a run is. results: of all_results.json, where the run is finished."""

    results: dict[str, Any] | None = None
    begun: bool = False
    differ: list[str] = field(default_factory=list)  # "--seed was 1 and is 2"


def read_status(run: OneRun) -> RunStatus:
    """What there is of a run in its folder."""
    kept, wanted = run_info.read(run.folder), run.args.as_dict()
    results = read_results(run.folder)
    begun = bool(results) or bool(checkpoint.saved_steps(run.folder))
    settings = kept.get("settings")
    if not begun or not isinstance(settings, dict):
        return RunStatus(begun=begun)
    differ = differences(settings, run.args)
    was, now = kept.get("data") or results.get("data"), data_kind(run.args)
    if was is not None and was != now:
        differ.append(f"the data were {was!r} and are {now!r} (--data_dir, $GLUE_DATA_DIR)")
    if differ:
        return RunStatus(begun=True, differ=differ)
    lacks = any(wanted[name] and not settings.get(name) for name in _MORE_TO_DO)
    if not results or not kept.get("finished") or lacks:
        return RunStatus(begun=True)
    return RunStatus(results, begun=True)


def differences(
    settings: Mapping[str, Any], args: GlueArgs, beside: Collection[str] = ()
) -> list[str]:
    """The flags with which a run of these settings would come to other results: "--seed was 1 and
    is 2". beside: names of more flags that are not compared."""
    left_out = {*_BESIDE, *_MORE_TO_DO, *beside}
    return [
        f"--{name} was {settings[name]!r} and is {value!r}"
        for name, value in args.as_dict().items()
        if name in settings and name not in left_out and settings[name] != value
    ]


def data_kind(args: GlueArgs) -> str:
    """What a training with these flags would read: "own", "demo" or "glue", as in
    all_results.json. What is not here yet is downloaded, and so is GLUE's."""
    if args.task_name is None:
        return "own"
    task = tasks.get_task(args.task_name)
    found = tsv.find(task, args.data_dir, os.environ, runtime.home_dir())
    return "demo" if found.folder and tsv.is_demo(found.folder) else "glue"


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
