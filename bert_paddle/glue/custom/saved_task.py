"""The task of a fine-tuned model: what its config.json says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import WeightsError
from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.glue.custom import class_names
from bert_paddle.glue.custom.columns import ChosenColumns
from bert_paddle.glue.label_args import DEFAULT_THRESHOLD
from bert_paddle.glue.tasks import TASKS, Task
from bert_paddle.models import model_config
from bert_paddle.models.model_config import MULTI_LABEL, ModelConfig

# Keys of a saved model's config.json, of the columns and of the thresholds.
_CONFIG_KEY, THRESHOLDS_KEY = "own_data", "thresholds"


@dataclass(frozen=True)
class SavedTask:
    """The task of a fine-tuned model, from its config.json; for a model to train, the defaults.
    labels: as in Task; None if unknown. pairs: whether the model takes pairs; None if unknown.
    glue_task: the GLUE task that the model was fine-tuned on, if any."""

    name: str = "own"
    labels: tuple[str, ...] | None = None
    file_labels: tuple[str, ...] | None = None  # as spelled in files, if not by their names
    columns: ChosenColumns | None = None
    pairs: bool | None = None
    glue_task: Task | None = None
    multi_label: bool = False  # any number of the labels is true of a row
    thresholds: tuple[float, ...] = ()  # of each label, with multi_label


def config_entry(task: Task) -> dict[str, Any]:
    """The columns as an entry for a saved model's config.json, by which the columns of later files
    are found; and the thresholds of several labels per row."""
    layout = task.labelled_columns
    assert layout
    entry: dict[str, Any] = {"text": layout.text_a, "pair": layout.text_b, "label": layout.label}
    entry |= {"label_columns": list(layout.label_columns)} if layout.label_columns else {}
    entry |= {"label_separator": layout.separator} if layout.separator else {}
    config = {_CONFIG_KEY: entry | class_names.config_fields(task)}
    if task.multi_label:
        config[THRESHOLDS_KEY] = dict(zip(task.labels, task.thresholds, strict=True))
    return config


def read_thresholds(raw: Mapping[str, Any], labels: Sequence[str], path: Path) -> tuple[float, ...]:
    """The thresholds in config.json, in the order of the labels; the default ones if there are
    none. Raises WeightsError if they are not a number between 0 and 1 for each label."""
    saved = raw.get(THRESHOLDS_KEY)
    if saved is None:
        return (DEFAULT_THRESHOLD,) * len(labels)
    values = [saved.get(name) for name in labels] if isinstance(saved, Mapping) else []
    numbers = [finite_float_or_none(value) for value in values]
    if len(numbers) != len(labels) or not all(n is not None and 0 < n < 1 for n in numbers):
        raise WeightsError(
            f"{path}: {THRESHOLDS_KEY} must have a number between 0 and 1 for each label: correct "
            "or remove it"
        )
    return tuple(float(n) for n in numbers if n is not None)


def saved_task(config: ModelConfig) -> SavedTask:
    """The task that a model's config.json describes; its fields are None where unknown."""
    raw = model_config.read_json_object(config.path)
    labels = config.values["labels"]
    if labels is not None and len(labels) == 1 or raw.get("problem_type") == "regression":
        labels = ()
    glue_task = TASKS.get(str(raw.get("finetuning_task")))
    is_multi_label = raw.get("problem_type") == MULTI_LABEL
    if glue_task and labels == glue_task.labels and not is_multi_label:
        columns = glue_test_columns(glue_task)
        return SavedTask(glue_task.name, labels, None, columns, glue_task.is_pair, glue_task)
    columns = _columns_from_config(raw.get(_CONFIG_KEY))
    file_labels = class_names.file_labels(raw.get(_CONFIG_KEY), labels)
    name = str(raw.get("finetuning_task") or "own") if columns else "own"
    pairs = None if columns is None else columns.pair is not None
    thresholds: tuple[float, ...] = ()
    if is_multi_label and labels:
        thresholds = read_thresholds(raw, labels, config.path)
    return SavedTask(name, labels, file_labels, columns, pairs, None, is_multi_label, thresholds)


def _columns_from_config(entry: Any) -> ChosenColumns | None:
    """The columns in config.json's entry for them; None if it is missing or malformed."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("text"), str):
        return None
    pair, label = entry.get("pair"), entry.get("label")
    pair, label = (name if isinstance(name, str) else None for name in (pair, label))
    names, separator = entry.get("label_columns"), entry.get("label_separator")
    is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return ChosenColumns(
        entry["text"],
        pair,
        label,
        tuple(names) if isinstance(names, list) and is_list else (),
        separator if isinstance(separator, str) and separator else None,
    )


def glue_test_columns(task: Task) -> ChosenColumns | None:
    """The columns of a GLUE task's test file; None if a column has several accepted names."""
    layout = task.test_columns
    if not isinstance(layout.text_a, str) or not isinstance(layout.text_b, str | None):
        return None
    return ChosenColumns(layout.text_a, layout.text_b)
