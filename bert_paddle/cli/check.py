"""`bert-paddle check`: the installation, the machine, and every way of computing on this device."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bert_paddle.common import flags
from bert_paddle.common.flag_fields import PathUse
from bert_paddle.common.flags import flag
from bert_paddle.common.printed_lines import print_line

DESCRIPTION = """Check the installation, and compare every way of computing with references.

  bert-paddle check
  bert-paddle check --speed --output check.json

The table is made to be pasted in a bug report. The exit code is 1 if something is wrong. See
docs/CHECK.md.
"""
CHECK, OTHER = "check", "other"


@dataclasses.dataclass
class CheckArgs:
    """Everything `bert-paddle check` takes."""

    speed: bool = flag(
        False, "also time steps of BERT-base and BERT-large (minutes more)", group=CHECK
    )
    output: str | None = flag(
        None,
        "also write all results into this JSON file",
        group=CHECK,
        alias="o",
        path=PathUse.OUTPUT,
    )
    device: str = flag(
        "auto", "auto: GPUs if available", group=CHECK, choices=("auto", "cpu", "gpu")
    )
    time_limit: int = flag(
        300, "seconds after which one part is given up", group=CHECK, minimum=1, maximum=10**6
    )
    debug: bool = flag(False, "show the traceback of every error", group=OTHER)

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        if self.output is not None:
            path = Path(self.output)
            if path.is_dir():
                yield f"--output {self.output} is a folder: give a file"
            elif not path.parent.is_dir():
                yield f"--output {self.output}: there is no folder {path.parent}"


def main(argv: Sequence[str]) -> None:
    """Run the check and print the table; exits with 1 if something is wrong. Raises OutputError if
    the JSON file cannot be written, UserError for wrong variables of a job."""
    args = flags.parse(CheckArgs, DESCRIPTION, argv)
    from bert_paddle.cli.selfcheck import check
    from bert_paddle.common import atomic_files
    from bert_paddle.common.error_exit import output_errors
    from bert_paddle.common.run_log import finite_or_none
    from bert_paddle.distributed import rendezvous

    rendezvous.check_environment()  # else every part says it
    content, text = check.run(args.device, args.time_limit, args.speed)
    for line in text.split("\n"):
        print_line(line, sys.stdout)
    if args.output is not None:
        with output_errors(f"--output {args.output}", "give another file"):
            atomic_files.write_json(Path(args.output), finite_or_none(content))
    sys.exit(1 if content["problems"] else 0)
