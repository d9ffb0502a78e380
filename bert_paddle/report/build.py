"""Reports written where they belong: a run's into its folder, that of several where one says."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from bert_paddle.common import atomic_files
from bert_paddle.common.error_exit import output_errors
from bert_paddle.common.errors import OutputError
from bert_paddle.report import figures, page, run_data
from bert_paddle.report.run_data import RunData

_OURS = re.compile(
    r"(loss|loss_terms|metrics|perplexity|learning_rate|throughput|lengths|mcc_by_batch"
    r"|(scatter|confusion)(_\d+)?)\.png"
)
PAGE, PICTURES, COMPARISON = "report.html", "pictures", "comparison.html"


def write_run_report(folder: Path) -> Path:
    """Write report.html and pictures/*.png into a run's folder; returns the page's path.

    Raises OutputError where the folder holds no measurement of a run, or cannot be written.
    """
    run = run_data.read(folder)
    run.name = folder.resolve().name
    text, pictures = page.build([run])
    beside = folder / PICTURES
    with output_errors(f"the report in {folder}", "give the page another place with --output"):
        beside.mkdir(exist_ok=True)
        kept = {figures.write_png(picture, beside) for picture in pictures}
        for old in set(beside.glob("*.png")) - kept:
            if _OURS.fullmatch(old.name):  # of an earlier report
                old.unlink()
        atomic_files.write_text(folder / PAGE, text)
    return folder / PAGE


def write_reports(folders: Sequence[Path], output: Path | None) -> list[Path]:
    """Write the report of one run, or of several in one page; returns the pages written.

    A folder of run folders (of a sweep) counts as its runs. output: the page; by default one run's
    is in its folder, with its pictures, and a comparison in the folder of run folders or here.
    Raises OutputError for folders without a run, and where the page cannot be written.
    """
    expanded = [one for folder in folders for one in run_data.runs_inside(folder) or [folder]]
    expanded = list({one.resolve(): one for one in expanded}.values())
    if output is None and len(expanded) == 1:
        return [write_run_report(expanded[0])]
    if output is None:
        output = (folders[0] if len(folders) == 1 else Path()) / COMPARISON
    if output.is_dir():
        raise OutputError(f"{output} is a folder: give the page a name, such as {output / PAGE}")
    if not output.parent.is_dir():
        raise OutputError(f"{output.parent}: no such folder to write {output.name} into")
    runs = [run_data.read(folder) for folder in expanded]
    _name(runs)
    text = page.build(runs)[0]
    with output_errors(str(output), "give another place with --output"):
        atomic_files.write_text(output, text)
    return [output]


def _name(runs: Sequence[RunData]) -> None:
    """Name each run by its folder, without what all their paths begin with."""
    paths = [run.folder.resolve() for run in runs]
    common = Path(os.path.commonpath(paths)) if len(paths) > 1 else paths[0].parent
    for run, path in zip(runs, paths, strict=True):
        run.name = path.relative_to(common).as_posix() if path != common else path.name
