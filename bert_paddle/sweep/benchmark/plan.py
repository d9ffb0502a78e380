"""The runs of a benchmark: each task with each seed, and AX with MNLI's models. All flags, the
recipe and the data files are checked before the first run starts."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from bert_paddle.common import flags, runtime
from bert_paddle.common.errors import DataError, FlagError, RunError
from bert_paddle.common.flag_fields import flag_names
from bert_paddle.common.flag_texts import FlagText
from bert_paddle.common.printed_lines import print_line
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data import download, tsv
from bert_paddle.glue.tasks import TASKS, Task
from bert_paddle.sweep.benchmark import recipes
from bert_paddle.sweep.benchmark.args import FROM_MNLI, MNLI, BenchmarkArgs
from bert_paddle.sweep.plan import SweepRun, given_flags

AX = "AX"
_LAST = "model_<last step>"  # of an MNLI run that is not finished


@dataclasses.dataclass(frozen=True)
class BenchmarkPlan:
    """The runs, in their order. settings: of each task that is trained, by flag, for the tables."""

    folder: Path
    runs: tuple[SweepRun, ...]
    overwrite: bool
    settings: Mapping[str, Mapping[str, str]]


def plan_benchmark(args: BenchmarkArgs) -> BenchmarkPlan:
    """Plan the runs. Raises FlagError with all mistakes in the recipe and in the runs' flags, and
    DataError for tasks whose files are neither there nor can be downloaded."""
    tasks = args.task_names
    recipe, problems = recipes.read_recipe(args.recipe, tasks)
    shared = {
        name: text for name, text in given_flags(args).items() if name in flag_names(GlueArgs)
    }
    shared.pop("do_predict", None)
    actions = {"do_train": "1", "do_eval": "1"}
    taken = {name: recipes.suiting(shared, name, tasks) for name in tasks}
    settings = {
        name: {**recipe.get(name, {}), **taken[name], "task_name": name, **actions}
        for name in tasks
    }
    of_tasks = {name: settings[name] | {"output_dir": args.output_dir} for name in tasks}
    problems += problems_by_task({name: _flag_problems(one) for name, one in of_tasks.items()})
    if problems:
        raise FlagError(problems)
    for name in tasks:
        if left_out := [f"--{flag}" for flag in shared if flag not in taken[name]]:
            print_line(f"{name}: without {', '.join(left_out)}: its labels are scores, no classes")
    predicted = _find_data(tasks, args)
    folder = Path(args.output_dir)
    runs = []
    for name in tasks:
        if name in predicted:
            settings[name]["do_predict"] = "1"
        for seed in args.seed_list:
            of_run = dict(settings[name])
            if args.from_mnli and name in FROM_MNLI:
                of_run["model_name_or_path"] = str(run_folder(folder, MNLI, seed) / _LAST)
            runs.append(build_run(folder, name, seed, of_run))
    if MNLI in tasks and AX in predicted:
        kept = {name: text for name, text in shared.items() if not _needs_training(name)}
        for seed in args.seed_list:
            model = str(run_folder(folder, MNLI, seed) / _LAST)
            recipe_length = {k: v for k, v in settings[MNLI].items() if k == "max_seq_length"}
            of_run = {**recipe_length, **kept, "model_name_or_path": model}
            of_run |= {"task_name": AX, "do_predict": "1"}
            runs.append(build_run(folder, AX, seed, of_run))
    return BenchmarkPlan(folder, tuple(runs), args.overwrite_output_dir, settings)


def problems_by_task(problems: Mapping[str, Iterable[str]]) -> list[str]:
    """The problems of each task's runs, each problem once, with the tasks that have it unless all
    do."""
    tasks_by_problem: dict[str, list[str]] = {}
    for name, of_task in problems.items():
        for problem in of_task:
            tasks_by_problem.setdefault(problem, []).append(name)
    return [
        problem if len(names) == len(problems) else f"{problem} ({', '.join(names)})"
        for problem, names in tasks_by_problem.items()
    ]


def _flag_problems(texts: Mapping[str, str]) -> list[str]:
    try:
        _build_args(texts)
    except FlagError as error:
        return error.problems
    return []


def run_folder(folder: Path, task_name: str, seed: int) -> Path:
    """The folder of a run."""
    return folder / task_name / f"seed_{seed}"


def build_run(folder: Path, task_name: str, seed: int, settings: Mapping[str, str]) -> SweepRun:
    """A run of a task with these flags. Raises FlagError."""
    output_dir = run_folder(folder, task_name, seed)
    args = _build_args({**settings, "seed": str(seed), "output_dir": str(output_dir)})
    values = {"task": task_name}
    return SweepRun(values, seed, output_dir, dict(settings), args, f"{task_name}, seed {seed}")


def with_mnli_model(run: SweepRun, folder: Path, mnli_results: Mapping[str, object]) -> SweepRun:
    """The run with the model of a finished MNLI run of its seed. mnli_results: the content of that
    run's all_results.json."""
    model = run_folder(folder, MNLI, run.seed) / str(mnli_results.get("eval_model"))
    settings = {**run.settings, "model_name_or_path": str(model)}
    return build_run(folder, run.values["task"], run.seed, settings)


def starts_from_mnli(run: SweepRun) -> bool:
    """Whether the run's model is that of an MNLI run of the benchmark."""
    parent = Path(run.settings["model_name_or_path"]).parent
    return parent.name == run.folder.name and parent.parent == run.folder.parent.parent / MNLI


def _needs_training(name: str) -> bool:
    return bool(flags.fields_by_name(GlueArgs)[name].metadata["needs"])


def _build_args(texts: Mapping[str, str]) -> GlueArgs:
    return flags.build_args(
        GlueArgs, {name: FlagText(text, f"--{name}") for name, text in texts.items()}
    )


def _find_data(tasks: list[str], args: BenchmarkArgs) -> list[str]:
    """The tasks, AX included, whose test sets can be predicted. Files of a task that are not there
    are downloaded. Raises DataError with all tasks whose files cannot be had; with an explicit
    --do_predict these include test files."""
    predicted, problems, without_tests = list[str](), list[str](), list[str]()
    asked = "do_predict" in args.explicit_flags and args.do_predict
    predicts = asked or "do_predict" not in args.explicit_flags
    for name in tasks:
        task = TASKS[name]
        assert task.train is not None
        needed = [task.train.file, task.dev_sets[0].file]
        tests = [test_set.file for test_set in task.test_sets]
        if predicts and _is_there(task, args, [*needed, *tests]):
            predicted.append(name)
        elif _is_there(task, args, needed) and not asked:
            without_tests += [name] if predicts else []
        elif problem := _download_problem(task, args, [*needed, *(tests if predicts else [])]):
            problems.append(problem)
        else:
            predicted += [name] if predicts else []
    if problems:
        ways = "" if not asked else " (--do_predict 0 does without test sets)"
        raise DataError(f"{'; '.join(problems)}{ways}")
    if without_tests:
        names = ", ".join(without_tests)
        print_line(f"no test files of {names}: their test sets are not predicted")
    if predicts and MNLI in tasks:
        if _is_there(TASKS[AX], args, None):
            predicted.append(AX)
        else:
            print_line(f"{AX}: no local file: it is not predicted")
    return predicted


def _is_there(task: Task, args: BenchmarkArgs, needed: list[str] | None) -> bool:
    home = runtime.bert_paddle_home()
    return tsv.find_task_dir(task, args.data_dir, os.environ, home, needed).folder is not None


def _download_problem(task: Task, args: BenchmarkArgs, needed: list[str]) -> str | None:
    """Download a task's files; the message of the error if that is not possible."""
    home = runtime.bert_paddle_home()
    search = tsv.find_task_dir(task, args.data_dir, os.environ, home, needed)
    if args.dry_run:
        print_line(f"{task.name}: no local files: a run would download them")
        return None
    if task.name in download.OFFICIAL_FILES:
        print_line(f"{task.name}: no local files, downloading them into {home / 'glue'}")
    try:
        download.ensure_downloaded(task, home, search.rejected)
    except (DataError, RunError) as error:
        return str(error)
    return None
