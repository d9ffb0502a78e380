"""Write the report of one run into its folder, or a page that compares several runs."""

import os
from collections.abc import Sequence
from pathlib import Path

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.error_exit import output_errors
from bert_paddle.common.errors import OutputError
from bert_paddle.report import figures, page, run_data
from bert_paddle.report.run_data import RunData
from bert_paddle.training import run_files
from bert_paddle.training.run_files import PICTURES, REPORT_PAGE

COMPARISON = "comparison.html"


def write_run_report(folder: Path) -> Path:
    """Write report.html and pictures/*.png into a run's folder. Returns the path of report.html.

    Raises OutputError if the folder has no metrics or results, cannot be written, or has files of
    these names that no report wrote.
    """
    run = run_data.read(folder)
    run_files.check_report_outputs(folder)
    run.name = folder.resolve().name
    text, pictures = page.render([run])
    pictures_dir = folder / PICTURES
    with output_errors(f"the report in {folder}", "write the page elsewhere with --output"):
        pictures_dir.mkdir(exist_ok=True)
        written = {figures.write_png(picture, pictures_dir) for picture in pictures}
        for old in set(pictures_dir.glob("*.png")) - written:
            if run_files.is_own(old):  # from an earlier report, and not in this one
                old.unlink()
        atomic_files.write_text(folder / REPORT_PAGE, text)
    return folder / REPORT_PAGE


def write_reports(folders: Sequence[Path], output: Path | None) -> list[Path]:
    """Write the report of one run, or one page that compares several. Returns the paths of the
    pages written.

    folders: folders of runs; a folder that contains run folders, such as a sweep's, means all of
    them. output: the page to write. None: for one run, report.html and pictures/ in its folder; for
    several runs, comparison.html, in `folders[0]` if `folders` has one entry, else in the current
    folder. Raises OutputError for a folder without a run, and if the page cannot be written or
    would replace a file that is no page.
    """
    run_dirs = [path for folder in folders for path in run_data.runs_inside(folder) or [folder]]
    run_dirs = list({path.resolve(): path for path in run_dirs}.values())  # without duplicates
    if output is None and len(run_dirs) == 1:
        return [write_run_report(run_dirs[0])]
    if output is None:
        output = (folders[0] if len(folders) == 1 else Path()) / COMPARISON
    if output.is_dir():
        example = output / REPORT_PAGE
        raise OutputError(f"{output} is a folder: give the page a name, such as {example}")
    if not output.parent.is_dir():
        raise OutputError(f"{output.parent}: no such folder to write {output.name} into")
    runs = [run_data.read(folder) for folder in run_dirs]
    _check_page_replaceable(output)
    _name_runs(runs)
    text = page.render(runs)[0]
    with output_errors(str(output), "write it elsewhere with --output"):
        atomic_files.write_text(output, text)
    return [output]


def _check_page_replaceable(output: Path) -> None:
    """Raise OutputError if the page to write is an existing file that is not a page of a report,
    such as a file of one of the runs."""
    if read_files.exists(output) and output.stat().st_size and not run_files.is_page(output):
        raise OutputError(
            f"{output} exists and is not a report's page, so it is not replaced: give another "
            "name with --output"
        )


def _name_runs(runs: Sequence[RunData]) -> None:
    """Set each run's name to the path of its folder, without the parent folders common to all."""
    paths = [run.folder.resolve() for run in runs]
    common = Path(os.path.commonpath(paths)) if len(paths) > 1 else paths[0].parent
    for run, path in zip(runs, paths, strict=True):
        run.name = path.relative_to(common).as_posix() if path != common else path.name
