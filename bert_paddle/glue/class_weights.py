"""The class weights of a run, once its classes and training rows are known."""

import numpy as np

from bert_paddle.common.errors import DataError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.loss_args import BALANCED, LossArgs, order_weights, parse_weights
from bert_paddle.glue.tasks import Task

_MAX_LISTED = 20


def resolve(args: LossArgs, task: Task, train: Examples | None, log: RunLog) -> np.ndarray | None:
    """The weights of the task's classes, float32 [classes], in their order, logged; None without
    --class_weights. Raises DataError for flags that do not suit the task, which `loss_problems`
    can tell without the data only of a GLUE task."""
    names = task.labels if task.has_classes else None
    for problem in args.loss_problems(names, "" if task.has_classes else task.output):
        raise DataError(problem)
    if args.class_weights is None or train is None:
        return None
    weights = parse_weights(args.class_weights)
    if weights == BALANCED:
        assert train.labels is not None
        values = balanced(train.labels, task, train.source)
    else:
        values = np.array(order_weights(weights, task.labels))
    listed = [f"{name} {value:.4g}" for name, value in zip(task.labels, values, strict=True)]
    more = ", ..." if len(listed) > _MAX_LISTED else ""
    log.note(f"class weights: {', '.join(listed[:_MAX_LISTED])}{more}")
    return values.astype(np.float32)


def balanced(labels: np.ndarray, task: Task, source: str) -> np.ndarray:
    """rows / (classes * rows of the class) for each class, so that all classes have the same weight
    in sum, and the mean weight of a row is 1 (scikit-learn's class_weight="balanced").

    labels: class indices [n]. Raises DataError, naming `source`, for a class without a row.
    """
    counts = np.bincount(labels, minlength=len(task.labels))
    if not counts.all():
        name = task.labels[int(np.flatnonzero(counts == 0)[0])]
        raise DataError(
            f"--class_weights {BALANCED}: {source} has no row of class {name}: give the weights"
        )
    return len(labels) / (len(counts) * counts)
