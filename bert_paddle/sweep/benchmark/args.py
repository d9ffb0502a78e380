"""The flags of `bert-paddle glue-benchmark`: its own, and those of run_glue.py for all runs."""

import dataclasses
from collections.abc import Iterator

from bert_paddle.common.args import CommonArgs
from bert_paddle.common.errors import UserError
from bert_paddle.common.flag_fields import PathUse, Results, flag
from bert_paddle.glue.args import GlueArgs, parse_seeds
from bert_paddle.glue.tasks import GLUE, TASKS, get_task
from bert_paddle.sweep.benchmark import recipes

BENCHMARK = "benchmark"
GLUE_TASKS = tuple(task.name for task in GLUE if task.train)
# The tasks with --from_mnli: the small ones of pairs, as in the published results of large models
# (Liu et al. 2019, RoBERTa, section 5.1).
FROM_MNLI, MNLI = ("MRPC", "STS-B", "RTE"), "MNLI"


@dataclasses.dataclass
class BenchmarkArgs(GlueArgs):
    """All flags. Those of run_glue.py override the recipe's."""

    tasks: str | None = flag(
        None, "CoLA,RTE: these tasks only", group=BENCHMARK, comma_separated=True
    )
    recipe: str = flag(
        recipes.DEFAULT,
        f"settings of each task: {', '.join(recipes.RECIPES)}, or a YAML file of that form",
        group=BENCHMARK,
        path=PathUse.INPUT,
        keywords=recipes.RECIPES,
    )
    from_mnli: bool = flag(
        False,
        f"start {', '.join(FROM_MNLI)} from the MNLI model of the same seed",
        group=BENCHMARK,
    )
    dry_run: bool = flag(
        False, "print the commands only", group=BENCHMARK, repeated=False, results=Results.SAME
    )

    def problems(self) -> Iterator[str]:
        """Problems with the benchmark's own flags, one message each; those of the runs' flags are
        found when the runs are planned."""
        names = list[str]()
        for name in (self.tasks or ",".join(GLUE_TASKS)).split(","):
            try:
                task = get_task(name)
            except UserError as error:
                yield f"--tasks: {error}"
                continue
            if task.train is None:
                yield f"--tasks: {task.name} has no training set; MNLI's model predicts it"
            names.append(task.name)
        if self.from_mnli and MNLI not in names:
            yield f"--from_mnli needs the model of MNLI: add {MNLI} to --tasks"
        if self.task_name is not None:
            yield "--task_name: give --tasks, such as --tasks CoLA,RTE"
        if self.data_file_flags() or self.test_file:
            yield "data files of your own are for bert-paddle glue: a benchmark has GLUE's"
        if self.resume_from_checkpoint is not None:
            yield "--resume_from_checkpoint: the same command resumes every run by itself"
        for name in ("do_train", "do_eval"):
            if name in self.explicit_flags and not getattr(self, name):
                yield f"--{name} 0: every run of a benchmark trains and evaluates"
        if self.seeds is not None:
            try:
                parse_seeds(self.seeds)
            except ValueError as error:
                yield f"--seeds: {error}"

    def finalize(self) -> None:
        """Set the models' names. What each run does is decided when it is planned."""
        CommonArgs.finalize(self)

    @property
    def task_names(self) -> list[str]:
        """The tasks to run, in the order of TASKS but MNLI first if others start from it."""
        chosen = {get_task(name).name for name in (self.tasks or ",".join(GLUE_TASKS)).split(",")}
        names = [name for name in TASKS if name in chosen]
        return sorted(names, key=lambda name: name != MNLI) if self.from_mnli else names

    @property
    def seed_list(self) -> list[int]:
        """The seeds of --seeds, else --seed."""
        return parse_seeds(self.seeds) if self.seeds else [self.seed]
