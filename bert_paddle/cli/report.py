"""`bert-paddle report`: rebuild a run's report.html, or compare several runs in one page."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from bert_paddle.common import flags
from bert_paddle.common.flag_fields import PathUse
from bert_paddle.common.flags import flag, positional
from bert_paddle.common.printed_lines import print_line

DESCRIPTION = """Rebuild a run's report.html and pictures/, or compare several runs in one page.

  python -m bert_paddle report out/
  python -m bert_paddle report out/seed_1 out/seed_2 out/seed_3 -o seeds.html
"""


@dataclasses.dataclass
class ReportArgs:
    """Everything `bert-paddle report` takes."""

    runs: tuple[str, ...] = positional(
        "RUN...",
        "--output_dir of a run, finished or not; or a folder with several of them",
        minimum=1,
        paths=None,
    )
    output: str | None = flag(
        None,
        "the page to write; default: RUN/report.html for one run, comparison.html for several",
        group="report",
        alias="o",
        path=PathUse.OUTPUT,
    )


def main(argv: Sequence[str]) -> None:
    """Write the report of the given runs, and print its path. Raises UserError for a folder without
    a run."""
    args = flags.parse(ReportArgs, DESCRIPTION, argv)
    from bert_paddle.report import build

    output = Path(args.output) if args.output else None
    for path in build.write_reports([Path(run) for run in args.runs], output):
        print_line(f"report: {path}", sys.stdout)
