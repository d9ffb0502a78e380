"""`bert-paddle submission RUN ... -o FILE.zip`: write or check a zip for the GLUE server."""

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bert_paddle.common import flags, read_files
from bert_paddle.common.error_exit import output_errors
from bert_paddle.common.errors import DataError, OutputError
from bert_paddle.common.flag_fields import PathUse
from bert_paddle.common.flags import flag
from bert_paddle.common.printed_lines import print_line

DESCRIPTION = """Assemble a GLUE submission from the predictions of runs, or check a zip.

  bert-paddle submission out/CoLA out/SST-2 out/MNLI -o submission.zip --fill_missing
  bert-paddle submission --check submission.zip

Each RUN is the --output_dir of a run with --do_predict. A submission has eleven files, each with
one prediction for every row of the official test set.
"""
SUBMISSION, OTHER = "submission", "other"


@dataclasses.dataclass
class SubmissionArgs:
    """Everything `submission` takes."""

    runs: tuple[str, ...] = flags.positional(
        "RUN ...", "folders of runs with predictions/", paths=None
    )
    output: str | None = flag(
        None, "the zip to write", group=SUBMISSION, alias="o", path=PathUse.OUTPUT
    )
    fill_missing: bool = flag(
        False,
        "for tasks without predictions, predict the majority class or the mean score in every row",
        group=SUBMISSION,
    )
    check: str | None = flag(
        None, "a zip to check, instead of writing one", group=SUBMISSION, path=PathUse.INPUT
    )
    data_dir: str | None = flag(
        None,
        "with --fill_missing: folder of task folders with training sets; default: $GLUE_DATA_DIR, "
        "then $BERT_PADDLE_HOME/glue",
        group=SUBMISSION,
        path=PathUse.INPUT,
    )
    debug: bool = flag(False, "show the traceback of every error", group=OTHER)

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        if self.check is not None:
            if self.runs or self.output:
                yield "--check reads an existing zip: omit RUN and --output"
            return
        if not self.runs:
            yield "RUN is missing: give the folders of runs with --do_predict, or --check ZIP"
        if self.output is None:
            yield "--output (-o) is required: the zip to write"
        elif Path(self.output).is_dir():
            yield f"--output {self.output} is a folder: give the name of a zip"
        elif not Path(self.output).resolve().parent.is_dir():
            yield f"--output {self.output}: there is no folder {Path(self.output).parent}"
        if self.data_dir and not Path(self.data_dir).is_dir():
            yield f"--data_dir {self.data_dir}: no such folder"


def main(argv: Sequence[str]) -> None:
    """Write or check a submission. Raises UserError with all problems found."""
    args = flags.parse(SubmissionArgs, DESCRIPTION, argv)
    from bert_paddle import submission

    if args.check is not None:
        problems = submission.zip_problems(Path(args.check))
        if problems:
            raise DataError(f"{args.check}: {'; '.join(problems)}")
        count = len(submission.SUBMISSION_FILES)
        print_line(
            f"{args.check}: {count} files, all in the format that the GLUE server accepts",
            sys.stdout,
        )
        return
    _check_replaceable(Path(args.output or ""))
    contents = submission.collect([Path(run) for run in args.runs])
    if not args.fill_missing:
        submission.check_complete(contents)
    for file in submission.missing_files(contents):
        contents[file.name] = submission.fill_missing_file(file, args.data_dir, print_line)
    _write(Path(args.output or ""), submission.make_zip(contents))
    print_line(f"{args.output}: {len(contents)} files", sys.stdout)


def _check_replaceable(path: Path) -> None:
    """Raise OutputError if there is a file of this name that is not an earlier submission, such as
    the predictions of a run. Raises OSError."""
    from bert_paddle import submission

    if not read_files.exists(path) or not path.stat().st_size:
        return
    if not submission.is_submission(path):
        raise OutputError(
            f"--output {path} exists and was not written by this command, so it is not replaced: "
            "give another name"
        )


def _write(path: Path, content: bytes) -> None:
    from bert_paddle.common import atomic_files

    with output_errors(f"--output {path}", "give another path"):
        atomic_files.write_bytes(path, content)
