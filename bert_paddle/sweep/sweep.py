"""Running a sweep: skip the finished runs, run the others, write the tables, print the best."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import Interrupted, OutputError, RunError
from bert_paddle.sweep import child_processes, run_status, table
from bert_paddle.sweep import summary as sweep_summary
from bert_paddle.sweep.child_processes import ChildProcess
from bert_paddle.sweep.plan import Plan
from bert_paddle.sweep.table import RunOutcome, Summary
from bert_paddle.training import checkpoint
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.run import RESULTS_FILE

PROGRAM = (sys.executable, "-u", "-m", "bert_paddle", "glue")


def run_sweep(
    plan: Plan,
    parallel: int | None = None,
    program: Sequence[str] | None = None,
    resume: bool = True,
) -> Summary:
    """Run what is not finished yet, each run in a process of its own; write the tables.

    parallel: runs at a time; None for one per GPU, one on the CPU. program: the command that takes
    the flags of each run; None for PROGRAM. resume: whether runs that an earlier call started may
    be continued. Raises OutputError for a folder that holds other runs, RunError when some runs
    failed, Interrupted by a signal.
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
            _print_stderr(f"{min(len(slots), len(children))} runs at a time")
        signal_number = child_processes.run_children(children, slots, sweep.on_start, sweep.on_exit)
        return sweep.finish(signal_number)


def _processes_and_gpus(plan: Plan) -> tuple[int, list[str]]:
    """The number of processes of a run, and the GPUs available to them."""
    n_gpus = [run.args.n_gpu for run in plan.runs if run.args.device != "cpu"]
    processes = max(1, *n_gpus) if n_gpus else 1
    return processes, child_processes.visible_gpus() if any(n_gpus) else []


@dataclass
class _Sweep:
    """A plan being run, with the outcome of each run so far."""

    plan: Plan
    resume: bool

    def __post_init__(self) -> None:
        self.outcome_by_log: dict[Path, RunOutcome] = {}
        self.outcomes = [RunOutcome(run) for run in self.plan.runs]
        if self.plan.duplicates:
            _print_stderr(f"{self.plan.duplicates} combination(s) repeat another and are skipped")
        if checkpoint.contains_run(self.plan.folder):
            raise OutputError(
                f"--output_dir {self.plan.folder} holds a run of its own: give another folder"
            )
        if not self.plan.overwrite:
            self._read_finished()
        (self.plan.folder / RESULTS_FILE).unlink(missing_ok=True)  # until the new one is written
        self._write()

    def _read_finished(self) -> None:
        """Read the results of finished runs. Raises OutputError for runs that cannot be resumed."""
        mismatched = []
        for outcome in self.outcomes:
            status = run_status.read_status(outcome.run)
            outcome.results = status.results
            if status.differences:
                mismatched.append(f"{outcome.run.folder.name}: {', '.join(status.differences)}")
            elif status.started and not self.resume:
                raise OutputError(
                    f"--output_dir {self.plan.folder} already holds runs ({outcome.run.folder.name}"
                    "): resume with --resume_from_checkpoint auto, start over with "
                    "--overwrite_output_dir, or give another folder"
                )
        if mismatched:
            more = f"; and {len(mismatched) - 1} more run(s)" if len(mismatched) > 1 else ""
            raise OutputError(
                f"{self.plan.folder} holds runs with other settings: {mismatched[0]}{more}; give "
                "those settings, another --output_dir, or --overwrite_output_dir to start over"
            )
        for outcome in self.outcomes:
            if outcome.results is not None:
                print(f"{self._label(outcome)}: already finished", flush=True)

    def on_start(self, child: ChildProcess) -> None:
        """Called when a run starts."""
        outcome = self.outcome_by_log[child.log]
        outcome.run.folder.mkdir(parents=True, exist_ok=True)
        print(f"{self._label(outcome)}: running, output in {child.log}", flush=True)

    def on_exit(self, child: ChildProcess, code: int, output: str) -> None:
        """Called when a run has ended: store its outcome and update the tables."""
        outcome = self.outcome_by_log[child.log]
        outcome.results = sweep_summary.results_or_none(outcome.run.folder) if code == 0 else None
        if outcome.results:
            metrics = (f"{table.column_title(k)}: {v:.6f}" for k, v in outcome.scores.items())
            print(f"{self._label(outcome)}: finished, {', '.join(metrics)}", flush=True)
        else:
            outcome.failure = sweep_summary.failure_reason(code, output)
            outcome.interrupted = (
                code < 0 or code > 128
            )  # by a signal, perhaps one to the whole sweep
            _print_stderr(f"{self._label(outcome)}: {outcome.failure}; see {child.log}")
        self._write()

    def finish(self, signal_number: int | None) -> Summary:
        """Print the summary. Raises RunError for failures, Interrupted after a signal."""
        if signal_number is not None:
            raise Interrupted(self._interrupted_message(signal_number), signal_number)
        summary = self._write()
        if self.plan.stem == "seeds" and any(outcome.results for outcome in self.outcomes):
            sweep_summary.write_results(summary)
        for line in sweep_summary.summary_lines(summary):
            print(line)
        markdown_path, csv_path = table.table_paths(self.plan.folder, self.plan.stem)
        print(f"tables: {markdown_path}, {csv_path}", flush=True)
        failed = [outcome.run.folder.name for outcome in self.outcomes if outcome.failure]
        if failed:
            more = ", ..." if len(failed) > 5 else ""
            raise RunError(
                f"{len(failed)} of {len(self.outcomes)} runs failed ({', '.join(failed[:5])}"
                f"{more}), see {markdown_path}; {self._resume_command()} runs them again"
            )
        return summary

    def _interrupted_message(self, signal_number: int) -> str:
        for outcome in self.outcomes:
            if outcome.interrupted:
                outcome.failure = None
        self._write()
        finished = sum(bool(outcome.results) for outcome in self.outcomes)
        return (
            f"{signal.Signals(signal_number).name}: stopped with {finished} of "
            f"{len(self.outcomes)} runs finished; those in progress saved a checkpoint if training "
            f"had started; {self._resume_command()} resumes"
        )

    def _resume_command(self) -> str:
        """The command that resumes the sweep, in words."""
        command = "the same command"
        if self.plan.overwrite:
            command += " without --overwrite_output_dir"
        if self.plan.stem == "seeds" and (self.plan.overwrite or not self.resume):
            command += " with --resume_from_checkpoint auto"
        return command

    def _label(self, outcome: RunOutcome) -> str:
        number = next(i for i, other in enumerate(self.outcomes, 1) if other is outcome)
        return f"[{number}/{len(self.outcomes)}] {outcome.run.label}"

    def _write(self) -> Summary:
        """Write the tables, each atomically."""
        summary = table.summarize(self.plan, self.outcomes)
        markdown_path, csv_path = table.table_paths(self.plan.folder, self.plan.stem)
        atomic_files.write_text(
            markdown_path, table.markdown(summary, sweep_summary.heading(self.plan))
        )
        atomic_files.write_text(csv_path, table.as_csv(summary))
        return summary


def _print_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
