"""The original CoLA release, which its walk-through works on: found, or downloaded.

Warstadt et al. 2019 (arXiv:1805.12471). Its files have no header and four fields: source, label,
the author's mark, sentence. GLUE's dev set is in_domain_dev and out_of_domain_dev together; GLUE's
training set is in_domain_train.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from bert_paddle.common.errors import DataError
from bert_paddle.glue.data import download, tsv
from bert_paddle.glue.data.fetch import Source
from bert_paddle.glue.tasks import TASKS, DevSet, TrainSet

COLUMNS = ("source", "label", "mark", "sentence")
TRAIN_FILE, TEST_FILE = "in_domain_train.tsv", "out_of_domain_dev.tsv"
# The release as a task, so that the readers and the download know its files.
RELEASE = replace(
    TASKS["CoLA"],
    name="CoLA, the original release",
    folder="cola_public/raw",
    train=TrainSet(TRAIN_FILE, 8551),
    dev_sets=(DevSet("in_domain_dev.tsv", 527), DevSet(TEST_FILE, 516)),
    test_sets=(),
)
BASE_URL = "https://nyu-mll.github.io"
# Neither its size nor a checksum has been published: what is unpacked is checked by its rows.
SOURCES = (Source("CoLA/cola_public_1.1.zip", None, None),)
VARIABLE = "COLA_PUBLIC_DIR"


def locate(
    data_dir: str | None,
    environ: Mapping[str, str],
    home: Path,
    warn: Callable[[str], None],
    base_url: str = BASE_URL,
) -> Path:
    """The folder of the release's files: below `data_dir`, else $COLA_PUBLIC_DIR, else
    <home>/glue, where it is downloaded to if need be.

    Each may be cola_public/raw, cola_public, or the folder that holds it. `warn` is told where the
    rows are not as many as the release has. Raises DataError where the files are not in
    `data_dir`, and where a download fails or is not the release.
    """
    if data_dir == "":
        raise DataError("--data_dir is empty: give the folder, or leave the flag out")
    named = data_dir if data_dir is not None else environ.get(VARIABLE)
    if named:
        found = _inside(Path(named))
        if found is None:
            said = "--data_dir" if data_dir else f"${VARIABLE}"
            raise DataError(
                f"{said} {named}: no {TRAIN_FILE} and {TEST_FILE} there, nor in its raw or "
                "cola_public/raw: give the folder of the original release, or none for a download"
            )
        for wrong in _wrong_counts(found):
            warn(f"{wrong}: figures got with it are not those of the release")
        return found
    folder = download.ensure(
        RELEASE, home, (), base_url, SOURCES, f"give --data_dir, set {VARIABLE}"
    )
    for wrong in _wrong_counts(folder):
        raise DataError(f"{wrong}: delete {folder} for a new download, or give --data_dir")
    return folder


def _inside(folder: Path) -> Path | None:
    for inside in ("", "raw", "cola_public/raw"):
        if all((folder / inside / name).is_file() for name in (TRAIN_FILE, TEST_FILE)):
            return folder / inside
    return None


def _wrong_counts(folder: Path) -> list[str]:
    """What is wrong with the numbers of rows of the files that are there."""
    wrong = []
    for name in (part for part in RELEASE.files if (folder / part).is_file()):
        count = len(tsv.load(RELEASE, folder / name, "train"))
        (official,) = RELEASE.official_rows(name)
        if count != official:
            wrong.append(f"{folder / name}: {count} rows, the release has {official}")
    return wrong
