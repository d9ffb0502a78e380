"""The official GLUE files, fetched with a checked SHA-256 into `<home>/glue/<folder>`.

    <home>/glue/SST-2.zip.part    bytes received so far; the next run goes on from there
    <home>/glue/.SST-2-x1y2       files being unpacked; of no use to anyone, and cleared away
    <home>/glue/SST-2             the one above under its name: there means whole

A rename is the last step, so that a run killed anywhere leaves no folder that only looks whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from bert_paddle.common.errors import DataError, RunError
from bert_paddle.glue.data.fetch import CHUNK, Refused, Source, fetch, say
from bert_paddle.glue.tasks import Task

BASE_URL = "https://dl.fbaipublicfiles.com"
MAX_UNPACKED = 4 << 30  # bytes of one task's files; MNLI, the largest, stays below 1 GiB


# fmt: off
# Sizes and sums as TensorFlow Datasets publishes them; the AX file is the diagnostic TSV itself.
SOURCES: dict[str, tuple[Source, ...]] = {
    "CoLA": (Source("glue/data/CoLA.zip", 376_971,
        "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"),),
    "SST-2": (Source("glue/data/SST-2.zip", 7_439_277,
        "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"),),
    "STS-B": (Source("glue/data/STS-B.zip", 802_872,
        "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85"),),
    "QQP": (Source("glue/data/QQP.zip", 60_534_884,
        "67cb8f5fe66c90a0bc1bf5792e3924f63008b064ab7a473736c919d20bb140ad"),),
    "MNLI": (Source("glue/data/MNLI.zip", 312_783_507,
        "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633"),),
    "QNLI": (Source("glue/data/QNLIv2.zip", 10_627_589,
        "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5"),),
    "RTE": (Source("glue/data/RTE.zip", 697_150,
        "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee"),),
    "WNLI": (Source("glue/data/WNLI.zip", 28_999,
        "ae0e8e4d16f4d46d4a0a566ec7ecceccfd3fbfaa4a7a4b4e02848c0f2561ac46"),),
    "MRPC": (
        Source("senteval/senteval_data/msr_paraphrase_train.txt", 1_047_044,
            "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89"),
        Source("senteval/senteval_data/msr_paraphrase_test.txt", 441_275,
            "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784"),
        Source("glue/data/mrpc_dev_ids.tsv", 6_222,
            "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7"),
    ),
    "AX": (Source("glue/data/AX.tsv", 222_257,
        "0e13510b1bb14436ff7e2ee82338f0efb0133ecf2e73507a697dc210db3f05fd"),),
}
# fmt: on


def ensure(
    task: Task,
    home: str | Path,
    looked: Sequence[str] = (),
    base_url: str = BASE_URL,
    sources: Sequence[Source] | None = None,
    ways: str = "give --data_dir, set GLUE_DATA_DIR",
) -> Path:
    """Return `<home>/glue/<folder>`, downloading and unpacking the official files if need be.

    `looked` names the places searched before, and `ways` other ways out, for the error message.
    Safe for several processes at once, and to interrupt at any point. Raises DataError when the
    files cannot be had (offline, 404, wrong checksum ...), RunError when the disk is full.
    """
    root = Path(home) / "glue"
    target = root / task.folder
    if not _lacks(task, target):
        return target
    sources = SOURCES[task.name] if sources is None else sources
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root / f".{_plain(task)}.lock"):
            _download(task, root, base_url, sources)
    except Refused as refused:
        urls = " and ".join(f"{base_url}/{source.path}" for source in sources)
        raise DataError(
            f"{task.name}: no data found and no download: {refused}; looked in: "
            f"{'; '.join(looked or (str(target),))}; {ways}, put "
            f"{', '.join(task.files)} into {target}, or fetch {urls} into {root} and run again"
        ) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (RunError if full else DataError)(
            f"{error.filename or root}: {error.strerror or error}; make room there for "
            f"the download of {task.name} or set BERT_PADDLE_HOME to another folder"
        ) from None
    return target


def _download(task: Task, root: Path, base_url: str, sources: Sequence[Source]) -> None:
    target = root / task.folder
    lacks = _lacks(task, target)
    if not lacks:
        return  # another process was faster
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        # Official files beside somebody's own would make a set that nobody published.
        raise Refused(f"{target} is there without {', '.join(lacks)}; move it away for a new one")
    fetched = [fetch(f"{base_url}/{source.path}", source, root) for source in sources]
    for left in root.glob(f".{_plain(task)}-*"):
        shutil.rmtree(left, ignore_errors=True)  # by a killed run: we hold the lock
    folder = Path(tempfile.mkdtemp(prefix=f".{_plain(task)}-", dir=root))
    try:
        folder.chmod(0o755)  # others who share the cache may read it
        _unpack_or_forget(task, sources, fetched, folder)
        for path in folder.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        target.parent.mkdir(exist_ok=True)
        os.rename(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for source in sources:
        (root / f"{source.name}.part").unlink(missing_ok=True)


def _plain(task: Task) -> str:
    return task.folder.replace("/", "-")


def _lacks(task: Task, folder: Path) -> list[str]:
    return [name for name in task.files if not (folder / name).is_file()]


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that the system gives back however the process ends."""
    import fcntl

    with open(lock, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that is downloading the same task")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unpack_or_forget(
    task: Task, sources: Sequence[Source], fetched: Sequence[Path], folder: Path
) -> None:
    """Unpack; what cannot be unpacked and has no known SHA-256 is received anew the next time."""
    try:
        _unpack(task, fetched, folder)
    except Refused:
        for source, path in zip(sources, fetched, strict=True):
            if source.sha256 is None and path.suffix == ".part":
                path.unlink(missing_ok=True)
        raise


def _unpack(task: Task, fetched: Sequence[Path], folder: Path) -> None:
    if task.name == "MRPC":
        _split_mrpc(fetched, folder)
    elif fetched[0].name.removesuffix(".part").endswith(".zip"):
        _unzip(task, fetched[0], folder)
    else:
        shutil.copyfile(fetched[0], folder / task.files[0])


def _unzip(task: Task, path: Path, folder: Path) -> None:
    """Unpack the task's own files; no path that the archive names is ever written to."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            for name, member in members.items():
                inside = PurePosixPath(name.replace("\\", "/"))
                is_link = stat.S_ISLNK(member.external_attr >> 16)
                if is_link or inside.is_absolute() or ".." in inside.parts:
                    raise Refused(f"{path.name}: unsafe member {name!r}")
            lacks = [name for name in task.files if f"{task.folder}/{name}" not in members]
            if lacks:
                raise Refused(f"{path.name} has no {task.folder}/{lacks[0]}")
            wanted = {name: members[f"{task.folder}/{name}"] for name in task.files}
            if sum(member.file_size for member in wanted.values()) > MAX_UNPACKED:
                raise Refused(f"{path.name} unpacks to more than {MAX_UNPACKED} bytes")
            for name, member in wanted.items():
                with archive.open(member) as packed, open(folder / name, "xb") as file:
                    shutil.copyfileobj(packed, file, CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise Refused(f"{path.name} cannot be unpacked: {error}") from None


def _split_mrpc(fetched: Sequence[Path], folder: Path) -> None:
    """Make GLUE's three files of the corpus' two and the list of the id pairs that are dev."""
    train, test, ids = (path.read_bytes().rstrip(b"\n").split(b"\n") for path in fetched)
    pairs = {tuple(line.split(b"\t")) for line in ids}
    in_dev = [tuple(row.split(b"\t")[1:3]) in pairs for row in train]
    # In the test file a running index stands where the label was.
    index = [b"index", *(b"%d" % i for i in range(len(test) - 1))]
    files = {
        "train.tsv": [row for row, dev in zip(train, in_dev, strict=True) if not dev],
        "dev.tsv": train[:1] + [row for row, dev in zip(train, in_dev, strict=True) if dev],
        "test.tsv": [i + row[row.find(b"\t") :] for i, row in zip(index, test, strict=True)],
    }
    for name, lines in files.items():
        (folder / name).write_bytes(b"".join(line + b"\n" for line in lines))
