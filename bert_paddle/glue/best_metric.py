"""--metric for a GLUE task: what selects the best step instead of the task's own metric."""

from dataclasses import replace

from bert_paddle.common.errors import UserError
from bert_paddle.glue.tasks import PrimaryMetric, Task

# Name of --metric -> names in all_results.json, where they differ.
_METRIC_NAMES = {"matthews": "matthews_correlation", "spearman": "spearmanr"}


def with_metric(task: Task, metric: str | None) -> Task:
    """The task, with the best step chosen by this --metric if one is given. Raises UserError if the
    task does not compute it."""
    if metric is None:
        return task
    name = _METRIC_NAMES.get(metric, metric)
    if name not in (*task.metrics, "loss"):
        known = {long: short for short, long in _METRIC_NAMES.items()}
        names = ", ".join(known.get(name, name) for name in (*task.metrics, "loss"))
        raise UserError(f"--metric {metric}: {task.name} has {names}")
    return replace(task, primary=PrimaryMetric((name,), name != "loss"))
