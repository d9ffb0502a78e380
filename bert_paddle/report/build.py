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
    """Write report.html and pictures/*.png into a run's folder; returns the page's path.

    Raises OutputError where the folder has no metrics or results, or cannot be written.
    """
    run = run_data.read(folder)
    run.name = folder.resolve().name
    text, pictures = page.render([run])
    pictures_dir = folder / PICTURES
    with output_errors(f"the report in {folder}", "write the page elsewhere with --output"):
        pictures_dir.mkdir(exist_ok=True)
        written = {figures.write_png(picture, pictures_dir) for picture in pictures}
        for old in set(pictures_dir.glob("*.png")) - written:
            if _GENERATED.fullmatch(old.name):  # of an earlier report
                old.unlink()
        atomic_files.write_text(folder / PAGE, text)
    return folder / PAGE


def write_reports(folders: Sequence[Path], output: Path | None) -> list[Path]:
    """Write the report of one run, or of several in one page; returns the pages written.

    A folder of run folders (of a sweep) stands for its runs. output: the page; by default, that of
    one run is in its folder, with its pictures, and a comparison in the folder of run folders or
    in the current folder. Raises OutputError for folders without a run, and where the page cannot
    be written.
    """
    run_dirs = [path for folder in folders for path in run_data.runs_inside(folder) or [folder]]
    run_dirs = list({path.resolve(): path for path in run_dirs}.values())
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
    """Name each run by its folder, without the common part of all paths."""
    paths = [run.folder.resolve() for run in runs]
    common = Path(os.path.commonpath(paths)) if len(paths) > 1 else paths[0].parent
    for run, path in zip(runs, paths, strict=True):
        run.name = path.relative_to(common).as_posix() if path != common else path.name
