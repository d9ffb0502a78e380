"""What is said of a sweep: why a run failed, the lines at the end, the seeds' all_results.json."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, hardware, run_log
from bert_paddle.sweep import run_status
from bert_paddle.sweep.plan import Plan
from bert_paddle.sweep.table import Summary, best_line
from bert_paddle.training.run import RESULTS_FILE

_LONGEST = 300  # characters of an error in a table


def results_of(folder: Path) -> dict[str, Any] | None:
    """What a finished run has left, or None."""
    return run_status.read_results(folder) or None


def why(code: int, said: str) -> str:
    """Why a run ended without results. code: its exit code, negative for a signal's number; said:
    what it printed."""
    number = -code if code < 0 else code - 128
    if number > 0:
        try:
            return f"stopped by {signal.Signals(number).name}"
        except ValueError:
            pass
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    last = (errors or lines or ["it printed nothing"])[-1]
    if code == 0:
        last = f"ended without {RESULTS_FILE}; {last}"
    return f"exit code {code}: {last.removeprefix('error: ')[:_LONGEST]}"


def heading(plan: Plan) -> list[str]:
    """The first lines of the table's page: task, model, settings, machine."""
    args = plan.runs[0].args
    title = "Seeds" if plan.stem == "seeds" else "Sweep"
    rest = [
        f"--{name} {text}" for name, text in plan.runs[0].settings.items() if name not in plan.names
    ]
    return [
        f"# {title}: {args.task_name or args.train_file}, {args.model_name_or_path}",
        "",
        f"{len(plan.runs)} run(s), each with: `{' '.join(rest)}`",
        "",
        f"Machine: {hardware.describe()}",
    ]


def lines(summary: Summary) -> Iterator[str]:
    """The last lines on the terminal: of seeds alone mean and deviation, else the best."""
    remark = summary.remark
    if summary.plan.names:
        best = best_line(summary).replace("`", "")
        yield f"{best.removesuffix('.')}; {remark}" if remark else best
        return
    group = summary.groups[0]
    end = f", {remark}" if remark else ""
    for key in run_status.scores(group.means):
        deviation = group.deviations.get(key)
        spread = "" if deviation is None else f" ± {deviation:.6f}"
        yield f"{key}: {group.means[key]:.6f}{spread} (seeds: {group.finished}){end}"


def write_results(summary: Summary) -> None:
    """Write the all_results.json of several seeds: for every metric and loss of the runs the mean
    under its own key and the sample standard deviation under <key>_std, null for one seed."""
    group = summary.groups[0]
    finished = [one for one in group.outcomes if one.results]
    first = finished[0].results or {}
    values: dict[str, Any] = {
        "task": first.get("task"),
        # Figures of invented rows must not pass for a task's, and be it the part of a mean.
        "data": "demo" if "demo" in summary.data else ", ".join(summary.data),
        **({"warning": summary.remark} if summary.data != ("demo",) and summary.remark else {}),
        "seeds": [one.run.seed for one in finished],
        "failed_seeds": [one.run.seed for one in group.outcomes if one.failure],
    }
    for key in run_status.scores(group.means):
        values |= {key: group.means[key], f"{key}_std": group.deviations.get(key)}
    values["per_seed"] = {str(one.run.seed): one.scores for one in finished}
    atomic_files.write_json(summary.plan.folder / RESULTS_FILE, run_log.finite_or_none(values))
