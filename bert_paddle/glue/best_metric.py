"""--metric for a GLUE task: what selects the best step instead of the task's own metric."""

from dataclasses import replace

from bert_paddle.common.errors import UserError
from bert_paddle.glue.metrics import LOSS, METRICS, higher_is_better
from bert_paddle.glue.tasks import PrimaryMetric, Task


def with_metric(task: Task, metric: str | None) -> Task:
    """The task, with the best step chosen by this --metric if one is given. Raises UserError if the
    task does not compute it."""
    if metric is None:
        return task
    computed = {METRICS[key].flag_value or key: key for key in task.metrics} | {LOSS: LOSS}
    if metric not in computed:
        raise UserError(f"--metric {metric}: {task.name} has {', '.join(computed)}")
    name = computed[metric]
    return replace(task, primary=PrimaryMetric((name,), higher_is_better(name)))
