"""Names of the classes that differ from their spelling in the files (--label_names)."""

from collections.abc import Mapping
from typing import Any

from bert_paddle.common.errors import DataError
from bert_paddle.glue import custom_args
from bert_paddle.glue.tasks import Task

_FILE_LABELS = "file_labels"  # in config.json's entry for a user's own data


def named_classes(flag: str, labels: tuple[str, ...] | None) -> tuple[str, ...]:
    """The names in --label_names for these classes. Raises DataError for another number of them."""
    names, labels = custom_args.split_names(flag), labels or ()
    if len(names) != len(labels):
        classes = ", ".join(labels[:20]) or "the labels are numbers"
        raise DataError(
            f"--label_names {flag}: {len(names)} names for {len(labels)} classes ({classes})"
        )
    return names


def config_fields(task: Task) -> dict[str, Any]:
    """The spelling in the files for a saved model's config.json, if it differs from the names."""
    return {_FILE_LABELS: list(task.file_labels)} if task.file_labels != task.labels else {}


def file_labels(entry: Any, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The classes' spelling in files, from config.json's entry; None if there is none."""
    listed = entry.get(_FILE_LABELS) if isinstance(entry, Mapping) else None
    if isinstance(listed, list) and labels and len(listed) == len(labels):
        return tuple(map(str, listed))
    return None
