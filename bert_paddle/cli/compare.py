"""`bert-paddle compare`: whether the dev rows show a difference between two runs."""

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bert_paddle.common import flags
from bert_paddle.common.flags import flag, positional
from bert_paddle.common.printed_lines import print_line

if TYPE_CHECKING:
    from bert_paddle.glue.comparison import DevSetComparison, McNemar, MetricComparison

DESCRIPTION = """Test whether two runs on the same task differ on its dev rows.

  bert-paddle compare out/base out/large
  bert-paddle compare out/seed_1 out/seed_2 --json

For every metric: a paired bootstrap of the difference over the rows; for classes also McNemar's
exact test of the accuracies. Both are about these two models: for two settings, compare several
seeds of each (bert-paddle sweep). Of several labels per row, McNemar's test is of the rows
without a mistake.
"""
_ALPHA = 0.05


@dataclasses.dataclass
class CompareArgs:
    """Everything `bert-paddle compare` takes."""

    runs: tuple[str, ...] = positional(
        "RUN_A RUN_B", "--output_dir of two finished runs with --do_eval", minimum=2, paths=None
    )
    json: bool = flag(False, "print a JSON object", group="comparison")
    resamples: int = flag(
        10_000, "resamples of the rows for the bootstrap", group="comparison", minimum=100
    )
    seed: int = flag(0, "random seed of the resamples", group="comparison", minimum=0)
    debug: bool = flag(False, "show the traceback of every error", group="other")

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        if len(self.runs) > 2:
            yield (
                f"{len(self.runs)} runs are given: give two; bert-paddle report shows more of them "
                "beside each other"
            )


def main(argv: Sequence[str]) -> None:
    """Print the comparison. Raises DataError for runs that cannot be compared."""
    args = flags.parse(CompareArgs, DESCRIPTION, argv)
    from bert_paddle.glue import comparison

    run_a, run_b = args.runs
    compared = comparison.compare(Path(run_a), Path(run_b), args.resamples, args.seed)
    if args.json:
        print_line(json.dumps(comparison.as_dict(compared), ensure_ascii=False), sys.stdout)
        return
    print_line(f"{compared.task}: A is {run_a}, B is {run_b}", sys.stdout)
    for dev_set in compared.dev_sets:
        for line in _lines(dev_set):
            print_line(line, sys.stdout)
    print_line(
        "This is about these two models on rows like these: what another seed would change is not "
        "in it.",
        sys.stdout,
    )


def _lines(dev_set: "DevSetComparison") -> Iterator[str]:
    yield (
        f"{dev_set.name}: {dev_set.rows} rows, with different predictions in "
        f"{dev_set.different_predictions}"
    )
    for metric in dev_set.metrics:
        yield _metric_line(metric)
    if dev_set.mcnemar:
        yield _mcnemar_line(dev_set.mcnemar)


def _metric_line(metric: "MetricComparison") -> str:
    text = (
        f"  {metric.name}: A {metric.a:.4f}, B {metric.b:.4f}, B - A {metric.b - metric.a:+.4f}, "
    )
    if metric.interval is None:
        return text + "which is undefined for many resamples: nothing is shown"
    low, high = metric.interval
    text += f"95 % interval {low:+.4f} to {high:+.4f}: "
    if metric.shown:
        return text + f"{metric.shown} is better on rows like these"
    if low == high == 0:
        return text + "no difference is shown: it is 0 in every resample"
    return text + "no difference is shown: the interval contains 0"


def _mcnemar_line(test: "McNemar") -> str:
    text = (
        f"  right: both {test.both}, only A {test.only_a}, only B {test.only_b}, neither "
        f"{test.neither}; McNemar's exact test: p = {test.p_value:.3g}: "
    )
    if test.p_value >= _ALPHA:
        shares = "exact matches" if test.metric == "exact_match" else "accuracies"
        return text + f"no difference of the {shares} is shown at the 5 % level"
    better = "A" if test.only_a > test.only_b else "B"
    return text + f"{better} is right more often, at the 5 % level"
