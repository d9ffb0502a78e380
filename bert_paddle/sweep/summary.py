"""Messages of a sweep: why a run failed, the last lines, and the all_results.json of seeds."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, hardware, run_log
from bert_paddle.sweep import run_status
from bert_paddle.sweep.plan import Plan
from bert_paddle.sweep.table import Summary, best_line
from bert_paddle.training.run import RESULTS_FILE

_MAX_ERROR_LENGTH = 300  # characters of an error in a table


def results_or_none(folder: Path) -> dict[str, Any] | None:
    """The results of a finished run, or None."""
    return run_status.read_results(folder) or None


def failure_reason(code: int, output: str) -> str:
    """Why a run ended without results. code: its exit code, a signal's number if negative."""
    number = -code if code < 0 else code - 128
    if number > 0:
        try:
            return f"stopped by {signal.Signals(number).name}"
        except ValueError:
            pass
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    last = (errors or lines or ["it printed nothing"])[-1]
    if code == 0:
        last = f"ended without {RESULTS_FILE}; {last}"
    return f"exit code {code}: {last.removeprefix('error: ')[:_MAX_ERROR_LENGTH]}"


def heading(plan: Plan) -> list[str]:
    """The first lines of the Markdown table: task, model, settings, machine."""
    args = plan.runs[0].args
    title = "Seeds" if plan.stem == "seeds" else "Sweep"
    shared = [
        f"--{name} {text}" for name, text in plan.runs[0].settings.items() if name not in plan.names
    ]
    return [
        f"# {title}: {args.task_name or args.train_file}, {args.model_name_or_path}",
        "",
        f"{len(plan.runs)} run(s), each with: `{' '.join(shared)}`",
        "",
        f"Machine: {hardware.describe()}",
    ]


def summary_lines(summary: Summary) -> Iterator[str]:
    """The last lines on the terminal: for seeds alone mean and deviation, else the best run."""
    remark = summary.remark
    if summary.plan.names:
        best = best_line(summary).replace("`", "")
        yield f"{best.removesuffix('.')}; {remark}" if remark else best
        return
    group = summary.groups[0]
    end = f", {remark}" if remark else ""
    for key in run_status.metric_values(group.means):
        deviation = group.deviations.get(key)
        spread = "" if deviation is None else f" ± {deviation:.6f}"
        yield f"{key}: {group.means[key]:.6f}{spread} (seeds: {group.finished}){end}"


def write_results(summary: Summary) -> None:
    """Write the all_results.json of several seeds: the mean of every metric and loss under its own
    key, the sample standard deviation under <key>_std (null for one seed)."""
    group = summary.groups[0]
    finished = [outcome for outcome in group.outcomes if outcome.results]
    first = finished[0].results or {}
    values: dict[str, Any] = {
        "task": first.get("task"),
        # Results on demo rows must not pass for the task's, not even as part of a mean.
        "data": "demo" if "demo" in summary.data else ", ".join(summary.data),
        **({"warning": summary.remark} if summary.data != ("demo",) and summary.remark else {}),
        "seeds": [outcome.run.seed for outcome in finished],
        "failed_seeds": [outcome.run.seed for outcome in group.outcomes if outcome.failure],
    }
    for key in run_status.metric_values(group.means):
        values |= {key: group.means[key], f"{key}_std": group.deviations.get(key)}
    values["per_seed"] = {str(outcome.run.seed): outcome.scores for outcome in finished}
    atomic_files.write_json(summary.plan.folder / RESULTS_FILE, run_log.finite_or_none(values))
