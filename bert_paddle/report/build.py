"""Write the report of one run into its folder, or a page that compares several runs."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from bert_paddle.common import atomic_files
from bert_paddle.common.error_exit import output_errors
from bert_paddle.common.errors import OutputError
from bert_paddle.report import figures, page, run_data
from bert_paddle.report.run_data import RunData

_GENERATED = re.compile(
    r"(loss|loss_terms|metrics|perplexity|learning_rate|throughput|lengths|mcc_by_batch"
    r"|(scatter|confusion)(_\d+)?)\.png"
)
PAGE, PICTURES, COMPARISON = "report.html", "pictures", "comparison.html"


def write_run_report(folder: Path) -> Path:
    """Write report.html and pictures/*.png into a run's folder. Returns the path of report.html.

    Raises OutputError if the folder has no metrics or results, or cannot be written.
    """
    run = run_data.read(folder)
    run.name = folder.resolve().name
    text, pictures = page.render([run])
    pictures_dir = folder / PICTURES
    with output_errors(f"the report in {folder}", "write the page elsewhere with --output"):
        pictures_dir.mkdir(exist_ok=True)
        written = {figures.write_png(picture, pictures_dir) for picture in pictures}
        for old in set(pictures_dir.glob("*.png")) - written:
            if _GENERATED.fullmatch(old.name):  # from an earlier report, and not in this one
                old.unlink()
        atomic_files.write_text(folder / PAGE, text)
    return folder / PAGE


def write_reports(folders: Sequence[Path], output: Path | None) -> list[Path]:
    """Write the report of one run, or one page that compares several. Returns the paths of the
    pages written.

    folders: folders of runs; a folder that contains run folders, such as a sweep's, means all of
    them. output: the page to write. None: for one run, report.html and pictures/ in its folder; for
    several runs, comparison.html, in `folders[0]` if `folders` has one entry, else in the current
    folder. Raises OutputError for a folder without a run, and if the page cannot be written.
    """
    run_dirs = [path for folder in folders for path in run_data.runs_inside(folder) or [folder]]
    run_dirs = list({path.resolve(): path for path in run_dirs}.values())  # without duplicates
    if output is None and len(run_dirs) == 1:
        return [write_run_report(run_dirs[0])]
    if output is None:
        output = (folders[0] if len(folders) == 1 else Path()) / COMPARISON
    if output.is_dir():
        raise OutputError(f"{output} is a folder: give the page a name, such as {output / PAGE}")
    if not output.parent.is_dir():
        raise OutputError(f"{output.parent}: no such folder to write {output.name} into")
    runs = [run_data.read(folder) for folder in run_dirs]
    _name_runs(runs)
    text = page.render(runs)[0]
    with output_errors(str(output), "write it elsewhere with --output"):
        atomic_files.write_text(output, text)
    return [output]


def _name_runs(runs: Sequence[RunData]) -> None:
    """Set each run's name to the path of its folder, without the parent folders common to all."""
    paths = [run.folder.resolve() for run in runs]
    common = Path(os.path.commonpath(paths)) if len(paths) > 1 else paths[0].parent
    for run, path in zip(runs, paths, strict=True):
        run.name = path.relative_to(common).as_posix() if path != common else path.name
