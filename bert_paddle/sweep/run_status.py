"""The status of a run, read from its folder: finished, started, or started with other settings."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bert_paddle.common import read_files, runtime
from bert_paddle.common.flag_fields import Results, flag_names, flags_with
from bert_paddle.glue import tasks
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data import tsv
from bert_paddle.sweep.plan import SweepRun
from bert_paddle.sweep.programs import RunArgs
from bert_paddle.training import checkpoint, run_info
from bert_paddle.training.run import RESULTS_FILE

LOG_FILE = "log.txt"
_LARGEST = 1e150


@dataclass(frozen=True)
class RunStatus:
    """How far a run is. results: the content of all_results.json, if the run is finished.
    differences: messages on settings that were different when the run was started."""

    results: dict[str, Any] | None = None
    started: bool = False
    differences: list[str] = field(default_factory=list)  # such as "--seed was 1 and is 2"


def read_status(run: SweepRun, ignored: Collection[str] = ()) -> RunStatus:
    """Compare a planned run with the run in its folder, if there is one. ignored: as in
    `setting_differences`."""
    info, planned = run_info.read(run.folder), run.args.as_dict()
    results = read_results(run.folder)
    started = bool(results) or bool(checkpoint.saved_steps(run.folder))
    settings = info.get("settings")
    if not started or not isinstance(settings, dict):
        return RunStatus(started=started)
    differences = setting_differences(settings, run.args, ignored)
    before, now = info.get("data") or results.get("data"), data_origin(run.args)
    if before is not None and before != now:
        differences.append(f"the data were {before!r} and are {now!r} (--data_dir, $GLUE_DATA_DIR)")
    if differences:
        return RunStatus(started=True, differences=differences)
    later_actions = flag_names(type(run.args), results=Results.ADDED)
    missing_action = any(planned[name] and not settings.get(name) for name in later_actions)
    if not results or not info.get("finished") or missing_action:
        return RunStatus(started=True)
    return RunStatus(results, started=True)


def setting_differences(
    settings: Mapping[str, Any], args: RunArgs, ignored: Collection[str] = ()
) -> list[str]:
    """Messages such as "--seed was 1 and is 2" for flags that differ and would change the results.

    settings: those of an earlier run, by flag name. ignored: flags that are not compared, besides
    those that do not change the results.
    """
    differences = []
    for flag in flags_with(type(args), results=Results.CHANGED):
        # A run of a version without the flag did what its default does.
        before, value = settings.get(flag.name, flag.default), getattr(args, flag.name)
        if flag.name not in ignored and before != value:
            differences.append(f"--{flag.name} was {before!r} and is {value!r}")
    return differences


def data_origin(args: RunArgs) -> str:
    """The origin of the data that a run with these flags would read, as in all_results.json: "own",
    "demo" or "glue". If no files are found, the run would download those of GLUE."""
    if not isinstance(args, GlueArgs) or args.task_name is None:
        return "own"
    task = tasks.get_task(args.task_name)
    location = tsv.find_task_dir(task, args.data_dir, os.environ, runtime.bert_paddle_home())
    return "demo" if location.folder and tsv.is_demo(location.folder) else "glue"


def read_results(folder: Path) -> dict[str, Any]:
    """The content of all_results.json in `folder`; {} if it is missing or damaged. Raises OSError
    if it cannot be read: the run must not be repeated for that."""
    return read_files.read_json_object(folder / RESULTS_FILE) or {}


def metric_values(results: dict[str, Any]) -> dict[str, float]:
    """The metrics and losses in all_results.json, with the same keys; without the times, row counts
    and values that are not finite numbers."""
    not_metrics = ("runtime", "samples", "samples_per_second", "eval_tokens")
    numbers = {
        key: finite_number(value)
        for key, value in results.items()
        if key.startswith(("eval_", "test_")) and not any(part in key for part in not_metrics)
    }
    return {key: number for key, number in numbers.items() if number is not None}


def finite_number(value: Any) -> float | None:
    """A JSON value as a number; None if it is none, or none whose square is finite, as for a
    deviation."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < _LARGEST else None
