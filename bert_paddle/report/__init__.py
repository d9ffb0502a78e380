"""Reports of runs, report.html and pictures/, generated from the files in their output folders."""

from pathlib import Path

from bert_paddle.common.args import CommonArgs
from bert_paddle.common.run_log import RunLog
from bert_paddle.distributed import collectives


def write_after_run(args: CommonArgs, output_dir: Path, log: RunLog) -> None:
    """Write a finished run's report into its folder on rank 0, unless --report 0 disables it. A
    failure is only a warning, since the run itself has succeeded."""

    def write() -> None:
        try:
            from bert_paddle.report.build import write_run_report

            path = write_run_report(output_dir)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            log.warning(
                f"no report was written ({reason}); all other output is complete; write it with "
                f"`python -m bert_paddle report {output_dir}`"
            )
        else:
            log.note(f"report: {path}")

    if args.report:
        collectives.run_on_main(write)
