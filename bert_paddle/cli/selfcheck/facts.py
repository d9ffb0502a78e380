"""Facts about the machine, the installation and the folders, each with a verdict. Imports nothing
heavy: these facts can be told even if Paddle cannot be imported."""

import importlib.metadata
import locale
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import bert_paddle
from bert_paddle.common import hardware, own_cache, runtime
from bert_paddle.common.errors import BertPaddleError
from bert_paddle.glue.data import tsv
from bert_paddle.glue.tasks import TASKS
from bert_paddle.models import model_config

OK, NOTE, OFF = "ok", "note", "off"
_PACKAGES = (
    "paddlepaddle paddlepaddle-gpu paddlenlp numpy scipy scikit-learn safetensors tokenizers h5py "
    "matplotlib jinja2 pyyaml tqdm deflate sentencex jieba distributed onnx onnxruntime "
    "paddle2onnx visualdl"
).split()
# Names and beginnings of names.
_VARIABLES = tuple(
    "BERT_PADDLE_ CUDA_ FLAGS_ GLOO_ GLUE_ KMP_ LD_LIBRARY_PATH LD_PRELOAD MALLOC_ MKL_ NCCL_ "
    "NVIDIA_ OMP_ PADDLE_ XDG_CACHE_HOME".split()
)
_GB = 1e9
_LITTLE_SPACE = 5 * _GB  # bytes: two checkpoints of BERT-large
_LITTLE_SHARED_MEMORY = 256e6  # bytes: Docker's default of 64 MB is too little for NCCL
_FEW_FILES = 1024


@dataclass(frozen=True)
class Fact:
    """A line of the table. status: ok, note (worth knowing) or off (something is wrong)."""

    name: str
    value: str
    status: str = OK


def software_facts() -> Iterator[Fact]:
    """Versions, the two builds of Paddle, and variables that change how it runs."""
    environment = (
        "virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    )
    yield Fact("bert_paddle", bert_paddle.__version__)
    yield Fact("Python", f"{platform.python_version()}, {environment}")
    yield Fact("system", f"{platform.platform()}, {' '.join(platform.libc_ver())}".strip(", "))
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    yield Fact("packages", ", ".join(f"{name} {version}" for name, version in versions.items()))
    if {"paddlepaddle", "paddlepaddle-gpu"} <= versions.keys():
        yield Fact(
            "builds", "both paddlepaddle and paddlepaddle-gpu: uninstall both, install one", OFF
        )
    yield _compiler_fact()
    variables = {n: v for n, v in sorted(os.environ.items()) if n.startswith(_VARIABLES)}
    yield Fact("variables", ", ".join(f"{n}={v}" for n, v in variables.items()) or "none")
    proxies = sorted(name for name in os.environ if name.lower().endswith("_proxy"))
    if proxies:
        yield Fact("proxies", ", ".join(proxies))  # values may contain passwords
    yield _encoding_fact()


def _compiler_fact() -> Fact:
    """The C compiler of the kernels: $CC, or the first of the usual ones."""
    command = (os.environ.get("CC") or "").split()
    names = command[:1] or ["gcc", "cc", "clang"]
    found = next(filter(None, map(shutil.which, names)), None)
    return Fact("C compiler", found or f"no {' or '.join(names)}", OK if found else NOTE)


def _encoding_fact() -> Fact:
    encodings = {
        "files": locale.getpreferredencoding(False),
        "file names": sys.getfilesystemencoding(),
        "output": sys.stdout.encoding or "unknown",
    }
    is_utf8 = all(value.lower().replace("-", "") == "utf8" for value in encodings.values())
    text = ", ".join(f"{name} {value}" for name, value in encodings.items())
    if not is_utf8:
        return Fact("encoding", f"{text}: set LANG=C.UTF-8 to see all texts as they are", NOTE)
    return Fact("encoding", text)


def hardware_facts() -> Iterator[Fact]:
    """Processor, memory and limits of the process."""
    cores = f"{hardware.machine()} of {os.cpu_count()}"
    if quota := _cpu_quota():
        cores += f", limited to {quota:g} by the container"
    yield Fact("processor", cores)
    total, free = _memory("MemTotal"), _memory("MemAvailable")
    limit = _container_value("memory.max")
    memory = f"{total / _GB:.1f} GB, {free / _GB:.1f} GB free" if total else "unknown"
    if limit:
        memory += f", limited to {limit / _GB:.1f} GB by the container"
    yield Fact("memory", memory)
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        text, status = f"{size / _GB:.2g} GB", OK
        if size < _LITTLE_SHARED_MEMORY:
            text, status = f"{text}: little for several GPUs (docker run --shm-size=1g)", NOTE
        yield Fact("shared memory", text, status)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Fact("open files", f"up to {soft}", NOTE if 0 <= soft < _FEW_FILES else OK)


def _memory(field: str) -> float:
    """A field of /proc/meminfo in bytes; 0 if it is unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(float(line.split()[1]) * 1024 for line in lines if line.startswith(field))
    except (OSError, StopIteration, ValueError):
        return 0.0


def _container_value(name: str) -> float:
    """A limit of this control group (version 2); 0 if there is none."""
    try:
        return float(Path("/sys/fs/cgroup", name).read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):  # ValueError: "max"
        return 0.0


def _cpu_quota() -> float:
    """The number of cores that the control group allows; 0 if it sets no limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return float(quota) / float(period)
    except (OSError, ValueError):
        return 0.0


def folder_facts() -> Iterator[Fact]:
    """The folders for models, data and compiled kernels, and what is in them."""
    yield from _folder_facts("home", runtime.bert_paddle_home, "set BERT_PADDLE_HOME")
    yield from _folder_facts("cache", runtime.cache_dir, "set XDG_CACHE_HOME")
    yield from _folder_facts("temporary files", lambda: Path(tempfile.gettempdir()), "set TMPDIR")
    yield from _found_facts()


def _folder_facts(name: str, folder_of: Callable[[], Path], way_out: str) -> Iterator[Fact]:
    try:
        folder = folder_of()
        problem = _write_problem(folder)
        free = shutil.disk_usage(_existing(folder)).free
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        yield Fact(name, f"{error}: {way_out}", OFF)
        return
    text = f"{folder}, {free / _GB:.0f} GB free"
    if problem:
        yield Fact(name, f"{text}, not writable ({problem}): {way_out}", OFF)
    elif free < _LITTLE_SPACE:
        yield Fact(name, f"{text}: little for BERT's checkpoints", NOTE)
    elif name == "cache" and (untrusted := own_cache.problem("kernels")):
        yield Fact(name, f"{text}, not used: {untrusted}", NOTE)
    else:
        yield Fact(name, text)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _write_problem(folder: Path) -> str:
    """Why no file can be written in a folder, or in the nearest one above it; "" if one can."""
    try:
        with tempfile.NamedTemporaryFile(dir=_existing(folder), prefix=".bert_paddle_check."):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _found_facts() -> Iterator[Fact]:
    """The models and GLUE tasks in the folders where the programs look for them."""
    try:
        home = runtime.bert_paddle_home()
    except RuntimeError:
        return
    models = [path for path in sorted(home.glob("models/*")) if path.is_dir()]
    usable = [path.name for path in models if _is_model(path)]
    broken = [path.name for path in models if path.name not in usable]
    text = f"{', '.join(usable) or 'none'} in {home / 'models'}"
    text += f"; unusable: {', '.join(broken)}" if broken else ""
    yield Fact("models", text, NOTE if broken else OK)
    folders: dict[str, list[str]] = {}
    for task in TASKS.values():
        folder = tsv.find_task_dir(task, None, os.environ, home).folder
        if folder is not None:
            demo = " (invented)" if tsv.is_demo(folder) else ""
            folders.setdefault(str(folder.parent), []).append(task.name + demo)
    found = "; ".join(f"{', '.join(names)} in {folder}" for folder, names in folders.items())
    roots = [os.environ.get("GLUE_DATA_DIR"), str(home / "glue")]
    yield Fact("GLUE data", found or f"none in {' and '.join(filter(None, roots))}")


def _is_model(folder: Path) -> bool:
    try:
        model_config.read_config(folder)
    except BertPaddleError:
        return False
    return True
