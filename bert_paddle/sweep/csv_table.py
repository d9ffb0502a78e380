"""The result table of a sweep in CSV, with unrounded numbers."""

import csv
import io

from bert_paddle.common.intervals import interval_key
from bert_paddle.common.printed_lines import escape
from bert_paddle.sweep.table import SeedGroup, Summary


def as_csv(summary: Summary) -> str:
    """The CSV table: one row per combination, ranked, with unrounded numbers."""
    keys = summary.keys
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [*summary.plan.grid_flags, "seeds", "finished", "failed", "score"]
        + [column for key in map(escape, keys) for column in _columns(key)]
    )
    for group in summary.groups:
        seeds = " ".join(str(outcome.run.seed) for outcome in group.outcomes)
        finished = sum(bool(outcome.results) for outcome in group.outcomes)
        failed = sum(bool(outcome.failure) for outcome in group.outcomes)
        numbers = [number for key in keys for number in _csv_numbers(group, key)]
        score = "" if group.score is None else group.score
        writer.writerow([*group.values.values(), seeds, finished, failed, score, *numbers])
    return text.getvalue()


def _columns(key: str) -> tuple[str, ...]:
    """The columns of a key: mean, deviation, the ends of its t-interval."""
    return key, f"{key}_std", f"{interval_key(key)}_low", f"{interval_key(key)}_high"


def _csv_numbers(group: SeedGroup, key: str) -> list[float | str]:
    """Mean, deviation and the ends of the interval of a key; "" for what there is none of."""
    ends = group.intervals.get(key, ("", ""))
    return [group.means.get(key, ""), group.deviations.get(key, ""), *ends]
