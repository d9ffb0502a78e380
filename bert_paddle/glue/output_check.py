"""The check of a fine-tuning run's output files, before anything is read or written."""

from collections.abc import Iterator
from pathlib import Path

from bert_paddle.common.errors import OutputError
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.tasks import TASKS, get_task
from bert_paddle.training import run_files, run_info
from bert_paddle.training.run_files import PREDICTIONS


def check_outputs(args: GlueArgs) -> None:
    """Check that no input and no file of others is in the way of the run's output files. Raises
    OutputError."""
    predictions_dir = Path(args.output_dir) / PREDICTIONS
    if args.do_predict and predictions_dir.exists() and not predictions_dir.is_dir():
        raise OutputError(f"{predictions_dir} is a file: move it, a folder of that name is needed")
    _check_other_training(args)
    run_files.check_outputs(args, args.inputs(), args.models(), _file_names(args), args.do_train)


def _check_other_training(args: GlueArgs) -> None:
    """Raise OutputError if a run without training would replace the description and the results of
    a training on another GLUE task (AX in the folder of MNLI's run)."""
    previous = run_info.read(Path(args.output_dir))
    task = previous.get("task")
    if not args.do_train and args.task_name and previous.get("trains"):
        if task in TASKS and task != args.task_name:
            raise OutputError(
                f"--output_dir {args.output_dir} contains a training on {task}, whose run.json and "
                "results would be replaced: give another --output_dir"
            )


def _file_names(args: GlueArgs) -> Iterator[str]:
    """The files with predictions that the run may write, relative to its output folder."""
    task = get_task(args.task_name) if args.task_name else None
    if args.do_eval:
        suffixes = [dev.suffix for dev in task.dev_sets] if task else [""]
        yield from (f"dev_predictions{suffix}.jsonl" for suffix in suffixes)
    if args.do_predict:
        if args.test_file or task is None:
            stems = [Path(args.test_file or "").stem]
        else:
            names = (task.name, *_diagnostic_tasks(task.name))
            test_sets = (test_set for name in names for test_set in TASKS[name].test_sets)
            stems = [Path(test_set.submission).stem for test_set in test_sets]
        for stem in stems:
            yield from (f"{PREDICTIONS}/{stem}.tsv", f"test_predictions_{stem}.jsonl")


def _diagnostic_tasks(name: str) -> list[str]:
    """The tasks that a task's model predicts too: AX with MNLI's."""
    return [other.name for other in TASKS.values() if other.model_task == name]
