"""Run a benchmark: skip finished runs, run the others, MNLI's dependents after MNLI; write the
tables after each; assemble the submission."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bert_paddle import submission
from bert_paddle.common import atomic_files, flags, hardware, runtime
from bert_paddle.common.errors import DataError, FlagError, Interrupted, RunError
from bert_paddle.common.printed_lines import print_line
from bert_paddle.glue.args import GlueArgs
from bert_paddle.models import hub, model_config
from bert_paddle.sweep import model_check
from bert_paddle.sweep.benchmark import output_check, page, table
from bert_paddle.sweep.benchmark.args import FROM_MNLI, MNLI, BenchmarkArgs
from bert_paddle.sweep.benchmark.plan import (
    BenchmarkPlan,
    plan_benchmark,
    problems_by_task,
    starts_from_mnli,
    with_mnli_model,
)
from bert_paddle.sweep.benchmark.table import BenchmarkTable
from bert_paddle.sweep.plan import SweepRun
from bert_paddle.sweep.run_queue import RunQueue, program_command
from bert_paddle.sweep.table import RunOutcome
from bert_paddle.training import run_info
from bert_paddle.training.output_lock import lock_output_dir

_MODEL_FLAG = "model_name_or_path"


def run_benchmark(
    args: BenchmarkArgs, program: Sequence[str] | None = None
) -> BenchmarkTable | None:
    """Run all runs that are not finished, one after another, each in its own process, and write the
    tables, the page and, if there are predictions for all of GLUE's test sets, the submission.

    program: the command that takes each run's flags. Returns the table; None for a dry run. Raises
    UserError for mistakes, before anything is trained; RunError if any run failed, Interrupted
    after a signal.
    """
    program = program or program_command("glue")
    if runtime.is_launched():
        raise FlagError(
            [
                "glue-benchmark starts a process for each run: call it without "
                "paddle.distributed.launch, with --n_gpu N for several cards"
            ]
        )
    plan = plan_benchmark(args)
    if args.dry_run:
        for run in plan.runs:
            print_line(
                shlex.join([*program, *run.argv(plan.overwrite)]),
                sys.stdout,
            )
        return None
    _check_model(args.model_name_or_path, plan)
    with lock_output_dir(plan.folder):
        queue = _Benchmark(plan, args)
        flags.save_settings(args, plan.folder)
        for is_dependent in (False, True):
            signal_number = queue.run_unfinished(is_dependent, program)
            if signal_number is not None:
                raise Interrupted(queue.interrupted(signal_number), signal_number)
        return queue.finish()


def _check_model(name: str, plan: BenchmarkPlan) -> None:
    """Find the model, downloading it if necessary, and compare its sizes with the flags of the
    runs. Raises WeightsError, FlagError."""
    folder = hub.find_model_dir(name, runtime.bert_paddle_home(), print_line)
    config = model_config.read_config(folder)
    problems = {
        run.values["task"]: model_check.bert_size_problems(run.args, config, folder)
        for run in plan.runs
        if isinstance(run.args, GlueArgs) and run.args.do_train
    }
    if found := problems_by_task(problems):
        raise FlagError(found)


def _start_text(args: BenchmarkArgs) -> str:
    """A sentence on the tasks that start from MNLI's model; "" if none do."""
    names = [name for name in args.task_names if args.from_mnli and name in FROM_MNLI]
    if not names:
        return ""
    *others, last = names
    listed = f"{', '.join(others)} and {last} start" if others else f"{last} starts"
    return f" {listed} from MNLI's model."


class _Benchmark(RunQueue):
    """The state of a benchmark. Creating an instance reads which runs are finished and writes the
    tables; raises OutputError if the folder has something else."""

    name = "benchmark"

    def __init__(self, plan: BenchmarkPlan, args: BenchmarkArgs):
        super().__init__(plan.folder, plan.runs, plan.overwrite, resume=True)
        self.plan = plan
        self.title = f"{output_check.TITLE}{args.model_name_or_path}"
        self.heading = [
            f"Recipe: {args.recipe}.{_start_text(args)}",
            f"Machine: {hardware.describe()}",
        ]
        output_check.check_outputs(plan, args)
        self.read_finished()
        for outcome in self._dependents():
            self._take_mnli_model(outcome)
        self.write_tables()

    def unknown_settings(self, run: SweepRun) -> tuple[str, ...]:
        # Which step of MNLI's model it started from is not known until MNLI is finished. A run that
        # started from another model is not the planned one.
        settings = run_info.read(run.folder).get("settings")
        earlier = Path(str(settings.get(_MODEL_FLAG)) if isinstance(settings, dict) else "")
        started_so = earlier.parent.parts[-2:] == (MNLI, run.folder.name)
        return (_MODEL_FLAG,) if starts_from_mnli(run) and started_so else ()

    def _dependents(self) -> list[RunOutcome]:
        return [outcome for outcome in self.outcomes if starts_from_mnli(outcome.run)]

    def _mnli_of(self, outcome: RunOutcome) -> RunOutcome:
        """The MNLI run of the same seed."""
        return next(
            other
            for other in self.outcomes
            if (other.run.values["task"], other.run.seed) == (MNLI, outcome.run.seed)
        )

    def _take_mnli_model(self, outcome: RunOutcome) -> None:
        """Give a run the model of its MNLI run, if that is finished."""
        if results := self._mnli_of(outcome).results:
            outcome.run = with_mnli_model(outcome.run, self.folder, results)

    def run_unfinished(self, is_dependent: bool, program: Sequence[str]) -> int | None:
        """Run those that start from an MNLI model, or the others. Returns the number of the first
        signal, if any."""
        dependents = self._dependents()
        unfinished = []
        for outcome in self.outcomes:
            if outcome.results is not None or (outcome in dependents) != is_dependent:
                continue
            if is_dependent and self._mnli_of(outcome).results is None:
                outcome.failure = "not run: its MNLI run failed, from whose model it starts"
                print_line(f"{self.label(outcome)}: {outcome.failure}")
                continue
            if is_dependent:
                self._take_mnli_model(outcome)
            unfinished.append(outcome)
        return self.run(unfinished, [{}], program)

    def write_tables(self) -> None:
        summary = table.summarize(self.plan, self.outcomes)
        folder, (recipe, machine) = self.folder, self.heading
        text = table.markdown(summary, [f"# {self.title}", "", recipe, "", machine])
        atomic_files.write_text(folder / output_check.MARKDOWN, text)
        atomic_files.write_text(folder / output_check.CSV, table.as_csv(summary))
        text = page.render(summary, self.title, self.heading)
        atomic_files.write_text(folder / output_check.PAGE, text)

    def finish(self) -> BenchmarkTable:
        """Write the tables and the submission, and print the scores. Raises RunError if a run
        failed."""
        self.write_tables()
        summary = table.summarize(self.plan, self.outcomes)
        for line in table.terminal_lines(summary):
            print_line(line, sys.stdout)
        paths = [self.folder / name for name in (output_check.PAGE, output_check.MARKDOWN)]
        print_line(f"tables: {', '.join(map(str, paths))}", sys.stdout)
        self._write_submission(summary)
        if message := self.failures_message(self.folder / output_check.MARKDOWN):
            raise RunError(message)
        return summary

    def _write_submission(self, summary: BenchmarkTable) -> None:
        """Write the zip, with each task's seed that is best on the dev set; or say why not."""
        path = self.folder / output_check.ZIP
        best = [outcome for task in summary.tasks if (outcome := task.best)]
        seeds = {outcome.run.values["task"]: outcome.run.seed for outcome in best}
        best += [
            outcome
            for outcome in self.outcomes
            if outcome.results and not outcome.run.args.do_train
            if outcome.run.seed == seeds.get(MNLI)
        ]
        runs = [
            outcome.run.folder
            for outcome in best
            if isinstance(outcome.run.args, GlueArgs) and outcome.run.args.do_predict
        ]
        try:
            contents, problem = submission.collect(runs), ""
        except DataError as error:
            first, *others = str(error).split("; ")
            contents, problem = {}, first + (f"; and {len(others)} more" if others else "")
        if missing := [file.task.name for file in submission.missing_files(contents)]:
            names = ", ".join(dict.fromkeys(missing))
            problem = problem or (
                f"no predictions for {names}; bert-paddle submission with --fill_missing gives a "
                "constant answer for them"
            )
            path.unlink(missing_ok=True)  # an earlier one would be of other predictions
            print_line(f"no submission: {problem}")
            return
        atomic_files.write_bytes(path, submission.make_zip(contents))
        listed = ", ".join(f"{name} {seed}" for name, seed in seeds.items())
        print_line(f"submission: {path} (seeds: {listed})", sys.stdout)
