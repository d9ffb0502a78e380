"""Find or download the original CoLA release, which scripts/walkthrough.py uses.

Warstadt et al. 2019 (arXiv:1805.12471). Its files have no header and four columns: source, label,
the source's own acceptability mark, sentence. in_domain_train is GLUE's training set; in_domain_dev
and out_of_domain_dev together are GLUE's dev set.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from bert_paddle.common.download import RemoteFile
from bert_paddle.common.errors import DataError
from bert_paddle.glue.data import download, tsv
from bert_paddle.glue.tasks import TASKS, DevSet, TrainSet

# The walk-through evaluates on TEST_FILE as its test set.
TRAIN_FILE, TEST_FILE = "in_domain_train.tsv", "out_of_domain_dev.tsv"
# The release as a Task, so that data.tsv and data.download can read and download it.
RELEASE = replace(
    TASKS["CoLA"],
    name="CoLA, the original release",
    folder="cola_public/raw",
    train=TrainSet(TRAIN_FILE, 8551),
    dev_sets=(DevSet("in_domain_dev.tsv", 527), DevSet(TEST_FILE, 516)),
    test_sets=(),
)
BASE_URL = "https://nyu-mll.github.io"
# The archive's size and checksum are not published; the row counts of its files are checked.
REMOTE_FILES = (RemoteFile("CoLA/cola_public_1.1.zip", None, None),)
DIR_VARIABLE = "COLA_PUBLIC_DIR"


def find_release(
    data_dir: str | None,
    environ: Mapping[str, str],
    home: Path,
    warn: Callable[[str], None],
    base_url: str = BASE_URL,
) -> Path:
    """The folder with the release's files: in `data_dir`, else in $COLA_PUBLIC_DIR, else in
    <home>/glue, into which it is downloaded if missing.

    `data_dir` and $COLA_PUBLIC_DIR may be cola_public/raw, cola_public, or the parent of
    cola_public; `warn` is called for each of their files whose row count is not the release's.
    Raises DataError if they lack the files, and if the download fails or has other row counts.
    """
    if data_dir == "":
        raise DataError("--data_dir is empty: give the folder, or omit the flag")
    given_dir = data_dir if data_dir is not None else environ.get(DIR_VARIABLE)
    if given_dir:
        folder = _find_inside(Path(given_dir))
        if folder is None:
            option = "--data_dir" if data_dir else f"${DIR_VARIABLE}"
            raise DataError(
                f"{option} {given_dir}: no {TRAIN_FILE} and {TEST_FILE} there, nor in its "
                "subfolders raw and cola_public/raw: give the folder of the original release, or "
                f"omit {option} to download it"
            )
        for problem in _row_count_problems(folder):
            warn(f"{problem}: results are not comparable with those on the release")
        return folder
    folder = download.ensure_downloaded(
        RELEASE, home, (), base_url, REMOTE_FILES, f"give --data_dir, set {DIR_VARIABLE}"
    )
    for problem in _row_count_problems(folder):  # report the first one
        raise DataError(f"{problem}: delete {folder} to download it again, or give --data_dir")
    return folder


def _find_inside(folder: Path) -> Path | None:
    """`folder`, or its subfolder, that has the training and test file; None if there is none."""
    for subfolder in ("", "raw", "cola_public/raw"):
        if all((folder / subfolder / name).is_file() for name in (TRAIN_FILE, TEST_FILE)):
            return folder / subfolder
    return None


def _row_count_problems(folder: Path) -> list[str]:
    """One message per file whose row count differs from the release's; skips missing files."""
    problems = []
    for name in (file for file in RELEASE.files if (folder / file).is_file()):
        # All files have the same columns, so "train" reads each of them.
        count = len(tsv.read_task_file(RELEASE, folder / name, "train"))
        (official,) = RELEASE.official_rows(name)
        if count != official:
            problems.append(f"{folder / name}: {count} rows, the release has {official}")
    return problems
