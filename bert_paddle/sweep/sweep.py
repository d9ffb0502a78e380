"""Run a sweep: skip finished runs, run the others, write the tables, print the best."""

import sys
from collections.abc import Sequence

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import Interrupted, OutputError, RunError
from bert_paddle.common.printed_lines import print_line
from bert_paddle.sweep import child_processes, csv_table, model_check, output_check, table
from bert_paddle.sweep import summary as sweep_summary
from bert_paddle.sweep.plan import Plan
from bert_paddle.sweep.run_queue import RunQueue, program_command
from bert_paddle.sweep.table import Summary
from bert_paddle.training import run_files
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.run import RESULTS_FILE


def run_sweep(
    plan: Plan,
    parallel: int | None = None,
    program: Sequence[str] | None = None,
    resume: bool = True,
) -> Summary:
    """Run all runs that are not finished, each in its own process, and write the tables.

    parallel: runs at a time; None for one per GPU, or one on the CPU. program: the command that
    takes each run's flags; None for the plan's. resume: whether runs of an earlier call may be
    resumed and finished ones kept. Returns the summary of all runs. Raises OutputError if the
    folder has runs that do not belong to the plan or may not be resumed, WeightsError and FlagError
    for models that cannot be found or do not suit the flags (those of `program` are not checked),
    RunError if any run failed, Interrupted after a signal.
    """
    with lock_output_dir(plan.folder):
        queue = _Sweep(plan, resume, checks_models=program is None)
        unfinished = [outcome for outcome in queue.outcomes if outcome.results is None]
        slots = child_processes.make_slots(*_processes_and_gpus(plan), parallel)
        signal_number = queue.run(unfinished, slots, program or program_command(plan.program))
        return queue.finish(signal_number)


def _processes_and_gpus(plan: Plan) -> tuple[int, list[str]]:
    """The largest number of processes that a run needs, and the ids of the GPUs it may use."""
    gpus_per_run = [run.args.n_gpu for run in plan.runs if run.args.device != "cpu"]
    processes = max(1, *gpus_per_run) if gpus_per_run else 1
    return processes, child_processes.visible_gpus() if any(gpus_per_run) else []


class _Sweep(RunQueue):
    """The state of a sweep. resume: as in run_sweep; checks_models: whether to check the models of
    the runs that are not finished. Creating an instance reads which runs are finished and writes
    the tables; raises UserError as run_sweep does."""

    def __init__(self, plan: Plan, resume: bool, checks_models: bool):
        super().__init__(plan.folder, plan.runs, plan.overwrite, resume)
        self.plan = plan
        if plan.duplicates:
            print_line(f"{plan.duplicates} duplicate combination(s) skipped")
        if run_files.contains_run(plan.folder):
            raise OutputError(
                f"--output_dir {plan.folder} is itself a run's folder: give another folder"
            )
        output_check.check_outputs(plan)
        self.read_finished()
        if checks_models:
            model_check.check_models([one.run for one in self.outcomes if one.results is None])
        # Results of an earlier call: a sweep that is not finished has none.
        (plan.folder / RESULTS_FILE).unlink(missing_ok=True)
        self.write_tables()

    def finish(self, signal_number: int | None) -> Summary:
        """Write and print the summary. Raises RunError if a run failed, Interrupted on a signal."""
        if signal_number is not None:
            raise Interrupted(self.interrupted(signal_number), signal_number)
        self.write_tables()
        summary = table.summarize(self.plan, self.outcomes)
        if self.plan.is_seed_sweep and any(outcome.results for outcome in self.outcomes):
            sweep_summary.write_results(summary)
        for line in sweep_summary.summary_lines(summary):
            print_line(line, sys.stdout)
        markdown_path, csv_path = table.table_paths(self.plan.folder, self.plan.table_stem)
        print_line(f"tables: {markdown_path}, {csv_path}", sys.stdout)
        if message := self.failures_message(markdown_path):
            raise RunError(message)
        return summary

    def resume_command(self) -> str:
        command = super().resume_command()
        if self.plan.is_seed_sweep and (self.overwrite or not self.resume):
            command += " with --resume_from_checkpoint auto"
        return command

    def write_tables(self) -> None:
        """Write both tables, each atomically."""
        summary = table.summarize(self.plan, self.outcomes)
        markdown_path, csv_path = table.table_paths(self.plan.folder, self.plan.table_stem)
        atomic_files.write_text(
            markdown_path, table.page(summary, sweep_summary.heading(self.plan))
        )
        atomic_files.write_text(csv_path, csv_table.as_csv(summary))
