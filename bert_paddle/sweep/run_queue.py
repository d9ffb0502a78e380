"""The runs of a sweep or a benchmark, each in a process of its own, and their outcomes so far:
which are finished, which are resumed, which failed."""

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bert_paddle.common.errors import OutputError
from bert_paddle.common.printed_lines import print_line
from bert_paddle.sweep import child_processes, run_status
from bert_paddle.sweep import summary as sweep_summary
from bert_paddle.sweep.child_processes import ChildProcess
from bert_paddle.sweep.plan import SweepRun
from bert_paddle.sweep.table import RunOutcome, column_title


def program_command(program: str) -> tuple[str, ...]:
    """The command that takes the flags of a run. program: a command of bert-paddle."""
    return sys.executable, "-u", "-m", "bert_paddle", program


class RunQueue:
    """The runs in a folder. overwrite: start all over; resume: whether those of an earlier call may
    be resumed and finished ones kept. A subclass writes the tables (`write_tables`)."""

    name = "sweep"  # in messages

    def __init__(self, folder: Path, runs: Sequence[SweepRun], overwrite: bool, resume: bool):
        self.folder, self.overwrite, self.resume = folder, overwrite, resume
        self.outcomes = [RunOutcome(run) for run in runs]
        self.outcome_by_log: dict[Path, RunOutcome] = {}

    def write_tables(self) -> None:
        """Write the tables of the outcomes so far; called whenever one of them has changed."""
        raise NotImplementedError

    def resume_command(self) -> str:
        """A description of the command that resumes, such as "the same command"."""
        command = "the same command"
        return f"{command} without --overwrite_output_dir" if self.overwrite else command

    def unknown_settings(self, run: SweepRun) -> tuple[str, ...]:
        """Names of flags whose values for a run are known only when others have finished."""
        return ()

    def read_finished(self) -> None:
        """Store and print which runs are already finished. Raises OutputError if a run was started
        with other settings, or was started and may not be resumed."""
        if self.overwrite:
            return
        mismatched = []
        for outcome in self.outcomes:
            status = run_status.read_status(outcome.run, self.unknown_settings(outcome.run))
            outcome.results = status.results
            name = outcome.run.folder.relative_to(self.folder).as_posix()
            if status.differences:
                mismatched.append(f"{name}: {', '.join(status.differences)}")
            elif status.started and not self.resume:
                raise OutputError(
                    f"--output_dir {self.folder} already contains runs "
                    f"({name}): resume with "
                    "--resume_from_checkpoint auto, start over with "
                    "--overwrite_output_dir, or give another folder"
                )
        if mismatched:
            more = f"; and {len(mismatched) - 1} more run(s)" if len(mismatched) > 1 else ""
            raise OutputError(
                f"{self.folder} contains runs with other settings: {mismatched[0]}{more}; "
                "give those settings, another --output_dir, or --overwrite_output_dir to start over"
            )
        for outcome in self.outcomes:
            if outcome.results is not None:
                print_line(f"{self.label(outcome)}: already finished", sys.stdout)

    def run(
        self,
        outcomes: Sequence[RunOutcome],
        slots: Sequence[Mapping[str, str]],
        program: Sequence[str],
    ) -> int | None:
        """Run these, as many at a time as there are slots (child_processes.make_slots). program:
        the command that takes each run's flags. Returns the number of the first signal, if any."""
        children = [
            ChildProcess(
                [*program, *outcome.run.argv(self.overwrite)],
                outcome.run.folder / run_status.LOG_FILE,
            )
            for outcome in outcomes
        ]
        self.outcome_by_log |= {
            child.log: outcome for child, outcome in zip(children, outcomes, strict=True)
        }
        if len(slots) > 1:
            print_line(f"{min(len(slots), len(children))} runs at a time")
        return child_processes.run_children(children, slots, self._on_start, self._on_exit)

    def _on_start(self, child: ChildProcess) -> None:
        """Create a run's folder and print that it is running; called just before it starts."""
        outcome = self.outcome_by_log[child.log]
        outcome.run.folder.mkdir(parents=True, exist_ok=True)
        print_line(f"{self.label(outcome)}: running, output in {child.log}", sys.stdout)

    def _on_exit(self, child: ChildProcess, code: int, output: str) -> None:
        """Store a run's outcome, print it and update the tables; called when the run has ended."""
        outcome = self.outcome_by_log[child.log]
        outcome.results = sweep_summary.results_or_none(outcome.run.folder) if code == 0 else None
        if outcome.results:
            metrics = [f"{column_title(k)}: {v:.6f}" for k, v in outcome.scores.items()]
            line = ", ".join(["finished", *metrics])
            print_line(f"{self.label(outcome)}: {line}", sys.stdout)
        else:
            outcome.failure = sweep_summary.failure_reason(code, output)
            # A signal ended the run. It may have been sent to all of them: see `interrupted`.
            outcome.ended_by_signal = code < 0 or code > 128
            print_line(f"{self.label(outcome)}: {outcome.failure}; see {child.log}")
        self.write_tables()

    def interrupted(self, signal_number: int) -> str:
        """Count the runs that a signal ended as not finished, instead of failed, and update the
        tables. Returns a message: how many runs are finished, and how to resume."""
        for outcome in self.outcomes:
            if outcome.ended_by_signal:
                outcome.failure = None
        self.write_tables()
        finished = sum(bool(outcome.results) for outcome in self.outcomes)
        return (
            f"{signal.Signals(signal_number).name}: stopped with {finished} of "
            f"{len(self.outcomes)} runs finished; those in progress saved a checkpoint if training "
            f"had started; {self.resume_command()} resumes the {self.name}"
        )

    def failures_message(self, table: Path) -> str | None:
        """Which runs failed and how to run them again; None if none did. table: where they are
        listed."""
        failed = [outcome for outcome in self.outcomes if outcome.failure]
        if not failed:
            return None
        names = [outcome.run.folder.relative_to(self.folder).as_posix() for outcome in failed]
        more = ", ..." if len(names) > 5 else ""
        return (
            f"{len(failed)} of {len(self.outcomes)} runs failed ({', '.join(names[:5])}"
            f"{more}), see {table}; {self.resume_command()} runs them again"
        )

    def label(self, outcome: RunOutcome) -> str:
        """The run's number and description, such as "[2/6] batch_size 16, seed 1"."""
        number = next(i for i, other in enumerate(self.outcomes, 1) if other is outcome)
        return f"[{number}/{len(self.outcomes)}] {outcome.run.label}"
