"""A recipe: the settings of each task, from a file that ships with the package or from a YAML file
of the user's, with the same form."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import config_file, flags
from bert_paddle.common.errors import UserError
from bert_paddle.common.flag_fields import flag_names
from bert_paddle.common.suggest import did_you_mean, nearest
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.loss_args import LossArgs
from bert_paddle.glue.tasks import TASKS, get_task

_FOLDER = Path(__file__).parent
RECIPES = ("hugging_face", "paddlenlp", "bert_paper")  # files of this folder
DEFAULT = "hugging_face"
_ALL = "all"  # the key of what all tasks share

# Flags and their texts by task.
Recipe = dict[str, dict[str, str]]


def read_recipe(name_or_path: str, task_names: Sequence[str]) -> tuple[Recipe, list[str]]:
    """Returns the settings of these tasks, and a message for each mistake in the file."""
    path = Path(name_or_path)
    if name_or_path in RECIPES:
        path = _FOLDER / f"{name_or_path}.yaml"
    try:
        mapping = config_file.compose(path)
    except ValueError as error:
        matches = nearest(name_or_path, RECIPES)
        hint = f" (did you mean the recipe {matches[0]}?)" if matches else ""
        listed = ", ".join(RECIPES)
        return {}, [f"--recipe {name_or_path}: {error}{hint}; the built-in recipes: {listed}"]
    problems: list[str] = []
    by_task: Recipe = {}
    for key, value in mapping.value:
        location = f"{path}:{key.start_mark.line + 1}"
        name = str(key.value)
        try:
            name = name if name == _ALL else get_task(name).name
        except UserError as error:
            problems.append(f"{location}: {error}, and {_ALL} for what they share")
            continue
        if value.id != "mapping":
            problems.append(f"{location}: {name} takes flags, such as {{num_train_epochs: 3}}")
        elif name in by_task:
            problems.append(f"{location}: {name} is there twice")
        else:
            by_task[name] = _settings(path, value, problems)
    shared = by_task.get(_ALL, {})
    settings = {
        name: suiting(shared, name, task_names) | by_task.get(name, {}) for name in task_names
    }
    return settings, problems


def suiting(shared: Mapping[str, str], name: str, task_names: Sequence[str]) -> dict[str, str]:
    """What a task takes of the settings that all of `task_names` share: one whose labels are scores
    takes no flags about classes, unless none of these tasks has classes."""
    has_classes = {other: bool(TASKS[other].labels) for other in task_names}
    if has_classes[name] or not any(has_classes.values()):
        return dict(shared)
    about_classes = flag_names(LossArgs)
    return {flag: text for flag, text in shared.items() if flag not in about_classes}


def _settings(path: Path, mapping: Any, problems: list[str]) -> dict[str, str]:
    """The flags in a YAML mapping, by their names. Adds a message to `problems` for each mistake.
    Values are checked with the command line's."""
    fields: Mapping[str, Any] = flags.fields_by_name(GlueArgs)
    of_benchmark = {*flag_names(GlueArgs, set_by_sweep=True), "task_name"}
    settings: dict[str, str] = {}
    for key, value in mapping.value:
        location, typed = f"{path}:{key.start_mark.line + 1}", str(key.value)
        field = fields.get(typed.removeprefix("--").replace("-", "_"))
        if field is None:
            hint = did_you_mean(typed, fields, "; see bert-paddle glue --help")
            problems.append(f"{location}: {typed[:80]} is not a flag of run_glue.py{hint}")
        elif field.name in of_benchmark:
            problems.append(f"{location}: {field.name} is not for a recipe: the benchmark sets it")
        elif value.id != "scalar":
            problems.append(f"{location}: {typed} takes one value")
        else:
            settings[field.name] = value.value
    return settings
