"""Download the official GLUE files into `<home>/glue/<folder>` and verify their SHA-256.

    <home>/glue/SST-2.zip.part    bytes received so far; the next run resumes from there
    <home>/glue/.SST-2-x1y2       temporary folder for unpacking
    <home>/glue/SST-2             the temporary folder, renamed when complete

The rename comes last, so that an interrupted run never leaves an incomplete task folder.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from bert_paddle.common.download import (
    CHUNK,
    DownloadError,
    RemoteFile,
    download_lock,
    fetch_file,
)
from bert_paddle.common.errors import DataError, RunError
from bert_paddle.glue.tasks import Task

BASE_URL = "https://dl.fbaipublicfiles.com"
MAX_UNPACKED = 4 << 30  # bytes of one task's files; MNLI's, the largest, have less than 1 GiB


# fmt: off
# Sizes and checksums as published by TensorFlow Datasets; AX is the diagnostic TSV itself.
OFFICIAL_FILES: dict[str, tuple[RemoteFile, ...]] = {
    "CoLA": (RemoteFile("glue/data/CoLA.zip", 376_971,
        "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"),),
    "SST-2": (RemoteFile("glue/data/SST-2.zip", 7_439_277,
        "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"),),
    "STS-B": (RemoteFile("glue/data/STS-B.zip", 802_872,
        "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85"),),
    "QQP": (RemoteFile("glue/data/QQP.zip", 60_534_884,
        "67cb8f5fe66c90a0bc1bf5792e3924f63008b064ab7a473736c919d20bb140ad"),),
    "MNLI": (RemoteFile("glue/data/MNLI.zip", 312_783_507,
        "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633"),),
    "QNLI": (RemoteFile("glue/data/QNLIv2.zip", 10_627_589,
        "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5"),),
    "RTE": (RemoteFile("glue/data/RTE.zip", 697_150,
        "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee"),),
    "WNLI": (RemoteFile("glue/data/WNLI.zip", 28_999,
        "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46"),),
    "MRPC": (
        RemoteFile("senteval/senteval_data/msr_paraphrase_train.txt", 1_047_044,
            "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89"),
        RemoteFile("senteval/senteval_data/msr_paraphrase_test.txt", 441_275,
            "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784"),
        RemoteFile("glue/data/mrpc_dev_ids.tsv", 6_222,
            "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7"),
    ),
    "AX": (RemoteFile("glue/data/AX.tsv", 222_257,
        "0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd"),),
}
# fmt: on


def ensure_downloaded(
    task: Task,
    home: str | Path,
    searched: Sequence[str] = (),
    base_url: str = BASE_URL,
    sources: Sequence[RemoteFile] | None = None,
    remedies: str = "give --data_dir, set GLUE_DATA_DIR",
) -> Path:
    """Return `<home>/glue/<folder>`, after downloading the official files if any is missing.

    `searched` (places without the files) and `remedies` are for the error message. Safe for
    concurrent processes and to interrupt at any point. Raises DataError if the download fails
    (offline, 404, wrong checksum ...) and for a task without one, RunError if the disk is full.
    """
    root = Path(home) / "glue"
    target = root / task.folder
    if not _missing_files(task, target):
        return target
    sources = OFFICIAL_FILES.get(task.name) if sources is None else sources
    looked = f"looked in: {'; '.join(searched or (str(target),))}; {remedies}"
    if sources is None:
        raise DataError(
            f"{task.name}: no data found, and there is no download of it; {looked}, or put "
            f"{', '.join(task.files)} into {target}"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        with download_lock(root / f".{_file_prefix(task)}.lock"):
            _download(task, root, base_url, sources)
    except DownloadError as error:
        urls = " and ".join(f"{base_url}/{source.path}" for source in sources)
        raise DataError(
            f"{task.name}: no data found, and the download failed: {error}; {looked}, put "
            f"{', '.join(task.files)} into {target}, or fetch {urls} into {root} and run again"
        ) from None
    except OSError as error:
        disk_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (RunError if disk_full else DataError)(
            f"{error.filename or root}: {error.strerror or error}; make room there for "
            f"the download of {task.name} or set BERT_PADDLE_HOME to another folder"
        ) from None
    return target


def _download(task: Task, root: Path, base_url: str, sources: Sequence[RemoteFile]) -> None:
    """Download and unpack the task's files, unless they exist; the caller holds the lock."""
    target = root / task.folder
    missing = _missing_files(task, target)
    if not missing:
        return  # another process downloaded them while this one waited for the lock
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        # Do not mix official files with a user's.
        raise DownloadError(
            f"{target} exists without {', '.join(missing)}; move it away to download the task"
        )
    fetched = [fetch_file(f"{base_url}/{source.path}", source, root) for source in sources]
    for stale in root.glob(f".{_file_prefix(task)}-*"):
        # Left by a killed run: no other process is unpacking, since this one holds the lock.
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{_file_prefix(task)}-", dir=root))
    try:
        folder.chmod(0o755)  # mkdtemp makes it private; other users may share the cache
        _unpack_or_discard(task, sources, fetched, folder)
        for path in folder.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        target.parent.mkdir(exist_ok=True)
        os.rename(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for source in sources:
        (root / f"{source.name}.part").unlink(missing_ok=True)


def _file_prefix(task: Task) -> str:
    """The prefix of the task's lock file and temporary folders, without slashes."""
    return task.folder.replace("/", "-")


def _missing_files(task: Task, folder: Path) -> list[str]:
    return [name for name in task.files if not (folder / name).is_file()]


def _unpack_or_discard(
    task: Task, sources: Sequence[RemoteFile], fetched: Sequence[Path], folder: Path
) -> None:
    """Unpack; on failure delete downloads without a known SHA-256, which may be damaged: the next
    run downloads them again."""
    try:
        _unpack(task, fetched, folder)
    except DownloadError:
        for source, path in zip(sources, fetched, strict=True):
            if source.sha256 is None and path.suffix == ".part":
                path.unlink(missing_ok=True)
        raise


def _unpack(task: Task, fetched: Sequence[Path], folder: Path) -> None:
    """Write the task's files, from its downloads, into `folder`."""
    if task.name == "MRPC":
        _split_mrpc(fetched, folder)
    elif fetched[0].name.removesuffix(".part").endswith(".zip"):
        _unzip(task, fetched[0], folder)
    else:
        shutil.copyfile(fetched[0], folder / task.files[0])


def _unzip(task: Task, path: Path, folder: Path) -> None:
    """Unpack the task's files into `folder` under their own names: paths in the archive are never
    used as targets."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            for name, member in members.items():
                member_path = PurePosixPath(name.replace("\\", "/"))
                is_link = stat.S_ISLNK(member.external_attr >> 16)
                if is_link or member_path.is_absolute() or ".." in member_path.parts:
                    raise DownloadError(f"{path.name}: unsafe member {name!r}")
            missing = [name for name in task.files if f"{task.folder}/{name}" not in members]
            if missing:
                raise DownloadError(f"{path.name} has no {task.folder}/{missing[0]}")
            task_members = {name: members[f"{task.folder}/{name}"] for name in task.files}
            if sum(member.file_size for member in task_members.values()) > MAX_UNPACKED:
                raise DownloadError(f"{path.name} unpacks to more than {MAX_UNPACKED} bytes")
            for name, member in task_members.items():
                with archive.open(member) as packed, open(folder / name, "xb") as file:
                    shutil.copyfileobj(packed, file, CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DownloadError(f"{path.name} cannot be unpacked: {error}") from None


def _split_mrpc(fetched: Sequence[Path], folder: Path) -> None:
    """Write GLUE's train, dev and test file from `fetched`: MRPC's training file, its test file and
    a list of the sentence id pairs in the dev set."""
    train, test, ids = (path.read_bytes().rstrip(b"\n").split(b"\n") for path in fetched)
    dev_ids = {tuple(line.split(b"\t")) for line in ids}
    in_dev = [tuple(row.split(b"\t")[1:3]) in dev_ids for row in train]
    # GLUE's test file has the row's index instead of the label.
    index = [b"index", *(b"%d" % i for i in range(len(test) - 1))]
    files = {
        "train.tsv": [row for row, dev in zip(train, in_dev, strict=True) if not dev],
        "dev.tsv": train[:1] + [row for row, dev in zip(train, in_dev, strict=True) if dev],
        "test.tsv": [i + row[row.find(b"\t") :] for i, row in zip(index, test, strict=True)],
    }
    for name, lines in files.items():
        (folder / name).write_bytes(b"".join(line + b"\n" for line in lines))
