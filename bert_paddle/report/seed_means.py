"""Mean, standard deviation and t-interval of runs that differ in their seed only."""

import statistics
from collections.abc import Sequence

from bert_paddle.common.intervals import mean_interval, metric_range
from bert_paddle.common.run_log import finite_float_or_none
from bert_paddle.report import result_names, tables
from bert_paddle.report.run_data import RunData
from bert_paddle.report.tables import Table


def table(runs: Sequence[RunData]) -> Table | None:
    """A row for each metric and loss, a column for each group of runs that differ in their seed
    only: mean ± sample standard deviation [t-interval]. None if no two runs do."""
    groups = [group for group in _groups(runs) if len(group) > 1]
    if not groups:
        return None
    keys = [
        key
        for key in dict.fromkeys(key for run in runs for key in run.results)
        if key.startswith(("eval_", "test_"))
        and any(finite_float_or_none(run.results.get(key)) is not None for run in runs)
    ]
    differing = [row[0] for row in tables.differing_settings(runs).rows if row[0] != "seed"]
    head = ["mean ± standard deviation", *(_group_name(group, differing) for group in groups)]
    rows = [
        [result_names.in_words(key), *(_spread(group, key) for group in groups)] for key in keys
    ]
    return Table(head, rows) if rows else None


def _groups(runs: Sequence[RunData]) -> list[list[RunData]]:
    """The runs by all that a comparison lists but their seed."""
    groups: dict[tuple[tuple[str, str], ...], list[RunData]] = {}
    for run in runs:
        values = tables.compared_settings(run)
        key = sorted((name, text) for name, text in values.items() if name != "seed")
        groups.setdefault((("task", run.task), *key), []).append(run)
    return list(groups.values())


def _group_name(group: Sequence[RunData], differing: Sequence[str]) -> str:
    values = tables.compared_settings(group[0])
    named = [f"{name} {values[name]}" for name in differing if name in values]
    return ", ".join([*named, f"{len(group)} seeds"])


def _spread(group: Sequence[RunData], key: str) -> str:
    """The mean ± deviation of a result over the runs that have it."""
    known = [finite_float_or_none(run.results.get(key)) for run in group]
    values = [value for value in known if value is not None]
    if not values:
        return "–"
    mean = tables.format_result(statistics.fmean(values))
    missing = f" ({len(values)} of {len(group)} runs)" if len(values) < len(group) else ""
    if len(values) == 1:
        return mean + missing
    spread = f"{mean} ± {tables.format_result(statistics.stdev(values))}"
    interval = mean_interval(values, metric_range(key))
    return f"{spread} [{tables.format_interval(interval)}]{missing}"
