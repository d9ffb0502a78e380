"""The story of a sweep: see what is done, run the rest, keep the tables, tell the best."""

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
from bert_paddle.sweep.table import Outcome, Summary
from bert_paddle.training import checkpoint
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.run import RESULTS_FILE

PROGRAM = (sys.executable, "-u", "-m", "bert_paddle", "glue")


def run(
    plan: Plan,
    parallel: int | None = None,
    program: Sequence[str] | None = None,
    go_on: bool = True,
) -> Summary:
    """Run what is not finished yet, each run as a process of its own; write the tables.

    parallel: runs at a time; None for one per GPU, one on the CPU. program: what is run with the
    flags of each; None for PROGRAM. go_on: whether to go on with what an earlier start left.
    Raises OutputError for a folder that holds other runs, RunError when some runs failed,
    Interrupted by a signal.
    """
    with lock_output_dir(plan.folder):
        sweep = _Sweep(plan, go_on)
        waiting = [one for one in sweep.outcomes if one.results is None]
        todo = [
            ChildProcess(
                [*(program or PROGRAM), *one.run.argv(plan.overwrite)],
                one.run.folder / run_status.LOG_FILE,
            )
            for one in waiting
        ]
        sweep.by_log = {child.log: one for child, one in zip(todo, waiting, strict=True)}
        places = child_processes.slots(*_processes(plan), parallel)
        if len(places) > 1:
            print(f"{min(len(places), len(todo))} runs at a time", file=sys.stderr, flush=True)
        number = child_processes.run_children(todo, places, sweep.begun, sweep.ended)
        return sweep.finish(number)


def _processes(plan: Plan) -> tuple[int, list[str]]:
    """How many processes a run has, and the GPUs there are for them."""
    wanted = [one.args.n_gpu for one in plan.runs if one.args.device != "cpu"]
    most = max(1, *wanted) if wanted else 1
    return most, child_processes.visible_gpus() if any(wanted) else []


@dataclass
class _Sweep:
    """A plan at work."""

    plan: Plan
    go_on: bool

    def __post_init__(self) -> None:
        self.by_log: dict[Path, Outcome] = {}
        self.outcomes = [Outcome(one) for one in self.plan.runs]
        if self.plan.duplicates:
            _say(f"{self.plan.duplicates} combination(s) say the same as others and are left out")
        if checkpoint.holds_run(self.plan.folder):
            raise OutputError(
                f"--output_dir {self.plan.folder} holds a run of its own: give another folder"
            )
        if not self.plan.overwrite:
            self._look()
        (self.plan.folder / RESULTS_FILE).unlink(missing_ok=True)  # until the new one is whole
        self._write()

    def _look(self) -> None:
        """Take over what is finished. Raises OutputError for what cannot be gone on with."""
        wrong = []
        for outcome in self.outcomes:
            standing = run_status.read_status(outcome.run)
            outcome.results = standing.results
            if standing.differ:
                wrong.append(f"{outcome.run.folder.name}: {', '.join(standing.differ)}")
            elif standing.begun and not self.go_on:
                raise OutputError(
                    f"--output_dir {self.plan.folder} already holds runs ({outcome.run.folder.name}"
                    "): go on with --resume_from_checkpoint auto, start anew with "
                    "--overwrite_output_dir, or give another folder"
                )
        if wrong:
            more = f"; and {len(wrong) - 1} more run(s)" if len(wrong) > 1 else ""
            raise OutputError(
                f"{self.plan.folder} holds runs with other settings: {wrong[0]}{more}; give what "
                "they were run with, another --output_dir, or --overwrite_output_dir to begin anew"
            )
        for outcome in self.outcomes:
            if outcome.results is not None:
                print(f"{self._place(outcome)}: finished before", flush=True)

    def begun(self, child: ChildProcess) -> None:
        """A run starts."""
        outcome = self.by_log[child.log]
        outcome.run.folder.mkdir(parents=True, exist_ok=True)
        print(f"{self._place(outcome)}: running, output in {child.log}", flush=True)

    def ended(self, child: ChildProcess, code: int, said: str) -> None:
        """A run has ended: note what came of it, and bring the tables up to date."""
        outcome = self.by_log[child.log]
        outcome.results = sweep_summary.results_of(outcome.run.folder) if code == 0 else None
        if outcome.results:
            numbers = (f"{table.shown_key(k)}: {v:.6f}" for k, v in outcome.scores.items())
            print(f"{self._place(outcome)}: finished, {', '.join(numbers)}", flush=True)
        else:
            outcome.failure = sweep_summary.why(code, said)
            outcome.stopped = code < 0 or code > 128  # by a signal: perhaps one to all of us
            _say(f"{self._place(outcome)}: {outcome.failure}; see {child.log}")
        self._write()

    def finish(self, number: int | None) -> Summary:
        """Say what came of it all. Raises RunError for failures, Interrupted after a signal."""
        if number is not None:
            raise Interrupted(self._stopped(number), number)
        summary = self._write()
        if self.plan.stem == "seeds" and any(one.results for one in self.outcomes):
            sweep_summary.write_results(summary)
        for line in sweep_summary.lines(summary):
            print(line)
        page, sheet = table.tables_of(self.plan.folder, self.plan.stem)
        print(f"tables: {page}, {sheet}", flush=True)
        failed = [one.run.folder.name for one in self.outcomes if one.failure]
        if failed:
            more = ", ..." if len(failed) > 5 else ""
            raise RunError(
                f"{len(failed)} of {len(self.outcomes)} runs failed ({', '.join(failed[:5])}"
                f"{more}), see {page}; {self._again()} tries them again"
            )
        return summary

    def _stopped(self, number: int) -> str:
        for outcome in self.outcomes:
            if outcome.stopped:
                outcome.failure = None
        self._write()
        done = sum(bool(one.results) for one in self.outcomes)
        return (
            f"{signal.Signals(number).name}: stopped with {done} of {len(self.outcomes)} runs "
            f"finished; those under way have saved if they had begun; {self._again()} goes on"
        )

    def _again(self) -> str:
        """The command that goes on, in words."""
        words = "the same command"
        if self.plan.overwrite:
            words += " without --overwrite_output_dir"
        if self.plan.stem == "seeds" and (self.plan.overwrite or not self.go_on):
            words += " with --resume_from_checkpoint auto"
        return words

    def _place(self, outcome: Outcome) -> str:
        number = next(i for i, one in enumerate(self.outcomes, 1) if one is outcome)
        return f"[{number}/{len(self.outcomes)}] {outcome.run.label}"

    def _write(self) -> Summary:
        """Write the tables, each in one step."""
        summary = table.summarize(self.plan, self.outcomes)
        page, sheet = table.tables_of(self.plan.folder, self.plan.stem)
        atomic_files.write_text(page, table.markdown(summary, sweep_summary.heading(self.plan)))
        atomic_files.write_text(sheet, table.as_csv(summary))
        return summary


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
