"""Texts of a sweep: why a run failed, the heading of the tables, the final lines on the terminal;
and the all_results.json of `--seeds`."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, hardware, markdown, run_log
from bert_paddle.common.intervals import interval_key
from bert_paddle.glue.args import GlueArgs
from bert_paddle.sweep import run_status
from bert_paddle.sweep.plan import Plan
from bert_paddle.sweep.programs import RunArgs
from bert_paddle.sweep.table import Summary, best_line
from bert_paddle.training.run import RESULTS_FILE

_MAX_ERROR_LENGTH = 300  # longer error messages are truncated in a table


def results_or_none(folder: Path) -> dict[str, Any] | None:
    """The content of all_results.json in `folder`, or None if it is missing or unreadable."""
    return run_status.read_results(folder) or None


def failure_reason(code: int, output: str) -> str:
    """Why a run ended without results. code: its exit code, or minus the number of the signal that
    ended it; output: what it printed."""
    # A shell or a program that handles a signal exits with 128 plus its number.
    signal_number = -code if code < 0 else code - 128
    if signal_number > 0:
        try:
            return f"stopped by {signal.Signals(signal_number).name}"
        except ValueError:
            pass  # no signal has this number
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    message = (errors or lines or ["it printed nothing"])[-1]
    if code == 0:
        message = f"ended without {RESULTS_FILE}; {message}"
    return f"exit code {code}: {message.removeprefix('error: ')[:_MAX_ERROR_LENGTH]}"


def heading(plan: Plan) -> list[str]:
    """The first lines of the Markdown page: task, model, settings that all runs share, machine."""
    args = plan.runs[0].args
    title = "Seeds" if plan.is_seed_sweep else "Sweep"
    shared = [
        f"--{name} {text}"
        for name, text in plan.runs[0].settings.items()
        if name not in plan.grid_flags
    ]
    return [
        "# " + markdown.one_line(f"{title}: {_task_or_file(args)}, {args.model_name_or_path}"),
        "",
        f"{len(plan.runs)} run(s), each with: {markdown.code(' '.join(shared))}",
        "",
        f"Machine: {hardware.describe()}",
    ]


def _task_or_file(args: RunArgs) -> str | None:
    return (args.task_name if isinstance(args, GlueArgs) else None) or args.train_file


def summary_lines(summary: Summary) -> Iterator[str]:
    """The final lines on the terminal: the best combination and run; without a grid, the mean,
    deviation and t-interval of every metric and loss."""
    remark = summary.remark
    if summary.plan.grid_flags:
        best = best_line(summary).replace("`", "")
        yield f"{best.removesuffix('.')}; {remark}" if remark else best
        return
    group = summary.groups[0]
    suffix = f", {remark}" if remark else ""
    for key in run_status.metric_values(group.means):
        deviation = group.deviations.get(key)
        deviation_text = "" if deviation is None else f" ± {deviation:.6f}"
        mean = f"{group.means[key]:.6f}{deviation_text}"
        ends = group.intervals.get(key)
        reach = f", t-interval {ends[0]:.6f} to {ends[1]:.6f}" if ends else ""
        yield f"{key}: {mean} (seeds: {group.finished_text}){reach}{suffix}"


def write_results(summary: Summary) -> None:
    """Write the all_results.json of `--seeds`. Every metric and loss has three keys: its own for
    the mean over the seeds, <key>_std for the sample standard deviation, and <key>_ci95 for the
    t-interval of the mean (both null for one seed)."""
    group = summary.groups[0]
    finished = [outcome for outcome in group.outcomes if outcome.results]
    first = finished[0].results or {}
    values: dict[str, Any] = {
        "task": first.get("task"),
        # A mean that includes results on demo data must not be mistaken for a result on the task.
        "data": "demo" if "demo" in summary.data else ", ".join(summary.data),
        **({"warning": summary.remark} if summary.data != ("demo",) and summary.remark else {}),
        "seeds": [outcome.run.seed for outcome in finished],
        "failed_seeds": [outcome.run.seed for outcome in group.outcomes if outcome.failure],
    }
    for key in run_status.metric_values(group.means):
        values |= {key: group.means[key], f"{key}_std": group.deviations.get(key)}
        values[interval_key(key)] = group.intervals.get(key)
    values["per_seed"] = {str(outcome.run.seed): outcome.scores for outcome in finished}
    atomic_files.write_json(summary.plan.folder / RESULTS_FILE, run_log.finite_or_none(values))
