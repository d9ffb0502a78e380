"""Run a sweep: skip finished runs, run the others, write the tables, print the best."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import Interrupted, OutputError, RunError
from bert_paddle.common.printed_lines import print_line
from bert_paddle.sweep import child_processes, csv_table, output_check, run_status, table
from bert_paddle.sweep import summary as sweep_summary
from bert_paddle.sweep.child_processes import ChildProcess
from bert_paddle.sweep.plan import Plan
from bert_paddle.sweep.table import RunOutcome, Summary
from bert_paddle.training import run_files
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.run import RESULTS_FILE

PROGRAM = (sys.executable, "-u", "-m", "bert_paddle", "glue")


def run_sweep(
    plan: Plan,
    parallel: int | None = None,
    program: Sequence[str] | None = None,
    resume: bool = True,
) -> Summary:
    """Run all runs that are not finished, each in its own process, and write the tables.

    parallel: runs at a time; None for one per GPU, or one on the CPU. program: the command that
    takes each run's flags; None for PROGRAM. resume: whether runs of an earlier call may be resumed
    and finished ones kept. Returns the summary of all runs. Raises OutputError if the folder has
    runs that do not belong to the plan or may not be resumed, RunError if any run failed,
    Interrupted after a signal.
    """
    with lock_output_dir(plan.folder):
        sweep = _Sweep(plan, resume)
        unfinished = [outcome for outcome in sweep.outcomes if outcome.results is None]
        children = [
            ChildProcess(
                [*(program or PROGRAM), *outcome.run.argv(plan.overwrite)],
                outcome.run.folder / run_status.LOG_FILE,
            )
            for outcome in unfinished
        ]
        sweep.outcome_by_log = {
            child.log: outcome for child, outcome in zip(children, unfinished, strict=True)
        }
        slots = child_processes.make_slots(*_processes_and_gpus(plan), parallel)
        if len(slots) > 1:
            print_line(f"{min(len(slots), len(children))} runs at a time")
        signal_number = child_processes.run_children(children, slots, sweep.on_start, sweep.on_exit)
        return sweep.finish(signal_number)


def _processes_and_gpus(plan: Plan) -> tuple[int, list[str]]:
    """The largest number of processes that a run needs, and the ids of the GPUs it may use."""
    gpus_per_run = [run.args.n_gpu for run in plan.runs if run.args.device != "cpu"]
    processes = max(1, *gpus_per_run) if gpus_per_run else 1
    return processes, child_processes.visible_gpus() if any(gpus_per_run) else []


@dataclass
class _Sweep:
    """The state of a sweep: the outcome of each run so far. resume: as in run_sweep. Creating an
    instance reads which runs are finished and writes the tables; raises OutputError as run_sweep
    does."""

    plan: Plan
    resume: bool

    def __post_init__(self) -> None:
        self.outcome_by_log: dict[Path, RunOutcome] = {}
        self.outcomes = [RunOutcome(run) for run in self.plan.runs]
        if self.plan.duplicates:
            print_line(f"{self.plan.duplicates} duplicate combination(s) skipped")
        if run_files.contains_run(self.plan.folder):
            raise OutputError(
                f"--output_dir {self.plan.folder} is itself a run's folder: give another folder"
            )
        output_check.check_outputs(self.plan)
        if not self.plan.overwrite:
            self._read_finished()
        # Results of an earlier call: a sweep that is not finished has none.
        (self.plan.folder / RESULTS_FILE).unlink(missing_ok=True)
        self._write()

    def _read_finished(self) -> None:
        """Store and print which runs are already finished. Raises OutputError if a run was started
        with other settings, or was started and `resume` is False."""
        mismatched = []
        for outcome in self.outcomes:
            status = run_status.read_status(outcome.run)
            outcome.results = status.results
            if status.differences:
                mismatched.append(f"{outcome.run.folder.name}: {', '.join(status.differences)}")
            elif status.started and not self.resume:
                raise OutputError(
                    f"--output_dir {self.plan.folder} already contains runs "
                    f"({outcome.run.folder.name}): resume with "
                    "--resume_from_checkpoint auto, start over with "
                    "--overwrite_output_dir, or give another folder"
                )
        if mismatched:
            more = f"; and {len(mismatched) - 1} more run(s)" if len(mismatched) > 1 else ""
            raise OutputError(
                f"{self.plan.folder} contains runs with other settings: {mismatched[0]}{more}; "
                "give those settings, another --output_dir, or --overwrite_output_dir to start over"
            )
        for outcome in self.outcomes:
            if outcome.results is not None:
                print_line(f"{self._label(outcome)}: already finished", sys.stdout)

    def on_start(self, child: ChildProcess) -> None:
        """Create a run's folder and print that it is running; called just before it starts."""
        outcome = self.outcome_by_log[child.log]
        outcome.run.folder.mkdir(parents=True, exist_ok=True)
        print_line(f"{self._label(outcome)}: running, output in {child.log}", sys.stdout)

    def on_exit(self, child: ChildProcess, code: int, output: str) -> None:
        """Store a run's outcome, print it and update the tables; called when the run has ended."""
        outcome = self.outcome_by_log[child.log]
        outcome.results = sweep_summary.results_or_none(outcome.run.folder) if code == 0 else None
        if outcome.results:
            metrics = (f"{table.column_title(k)}: {v:.6f}" for k, v in outcome.scores.items())
            print_line(f"{self._label(outcome)}: finished, {', '.join(metrics)}", sys.stdout)
        else:
            outcome.failure = sweep_summary.failure_reason(code, output)
            # A signal ended the run. It may have been sent to the whole sweep: see finish().
            outcome.ended_by_signal = code < 0 or code > 128
            print_line(f"{self._label(outcome)}: {outcome.failure}; see {child.log}")
        self._write()

    def finish(self, signal_number: int | None) -> Summary:
        """Write and print the summary. Raises RunError if a run failed, Interrupted on a signal."""
        if signal_number is not None:
            self._discard_interrupted_failures()
            self._write()
            raise Interrupted(self._interrupted_message(signal_number), signal_number)
        summary = self._write()
        if self.plan.is_seed_sweep and any(outcome.results for outcome in self.outcomes):
            sweep_summary.write_results(summary)
        for line in sweep_summary.summary_lines(summary):
            print_line(line, sys.stdout)
        markdown_path, csv_path = table.table_paths(self.plan.folder, self.plan.table_stem)
        print_line(f"tables: {markdown_path}, {csv_path}", sys.stdout)
        failed = [outcome.run.folder.name for outcome in self.outcomes if outcome.failure]
        if failed:
            more = ", ..." if len(failed) > 5 else ""
            raise RunError(
                f"{len(failed)} of {len(self.outcomes)} runs failed ({', '.join(failed[:5])}"
                f"{more}), see {markdown_path}; {self._resume_command()} runs them again"
            )
        return summary

    def _discard_interrupted_failures(self) -> None:
        """Count the runs that a signal ended as not finished, instead of failed."""
        for outcome in self.outcomes:
            if outcome.ended_by_signal:
                outcome.failure = None

    def _interrupted_message(self, signal_number: int) -> str:
        """How many runs are finished, and how to resume the sweep."""
        finished = sum(bool(outcome.results) for outcome in self.outcomes)
        return (
            f"{signal.Signals(signal_number).name}: stopped with {finished} of "
            f"{len(self.outcomes)} runs finished; those in progress saved a checkpoint if training "
            f"had started; {self._resume_command()} resumes the sweep"
        )

    def _resume_command(self) -> str:
        """A description of the command that resumes the sweep, such as "the same command"."""
        command = "the same command"
        if self.plan.overwrite:
            command += " without --overwrite_output_dir"
        if self.plan.is_seed_sweep and (self.plan.overwrite or not self.resume):
            command += " with --resume_from_checkpoint auto"
        return command

    def _label(self, outcome: RunOutcome) -> str:
        """The run's number and description, such as "[2/6] batch_size 16, seed 1"."""
        number = next(i for i, other in enumerate(self.outcomes, 1) if other is outcome)
        return f"[{number}/{len(self.outcomes)}] {outcome.run.label}"

    def _write(self) -> Summary:
        """Write both tables, each atomically; returns the summary they are made from."""
        summary = table.summarize(self.plan, self.outcomes)
        markdown_path, csv_path = table.table_paths(self.plan.folder, self.plan.table_stem)
        atomic_files.write_text(
            markdown_path, table.markdown(summary, sweep_summary.heading(self.plan))
        )
        atomic_files.write_text(csv_path, csv_table.as_csv(summary))
        return summary
