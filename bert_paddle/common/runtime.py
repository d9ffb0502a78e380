"""The process environment, settled before paddle is imported; the only writer of os.environ.

Paddle's CPU build reads its thread count and MKL its code path once, at import. As they come,
both are slow: one thread, and on AMD processors a path made for old hardware.
"""

import contextlib
import ctypes
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of malloc.h
_PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def home_dir() -> Path:
    """Where models and data are kept: $BERT_PADDLE_HOME, else ~/.cache/bert_paddle."""
    return Path(os.environ.get("BERT_PADDLE_HOME") or "~/.cache/bert_paddle").expanduser()


def cache_dir() -> Path:
    """Where what can be made again is kept: bert_paddle in $XDG_CACHE_HOME, else in ~/.cache."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        return folder.expanduser() / "bert_paddle"
    except RuntimeError:  # nobody's home: then it cannot be written either, and nothing is kept
        return Path("/nonexistent/bert_paddle")


def is_launched() -> bool:
    """True in a process that `python -m paddle.distributed.launch` or our own spawn started."""
    return "PADDLE_TRAINER_ID" in os.environ


def set_rank_environment(rank: int, endpoints: list[str], gpus: bool) -> None:
    """Make this process rank `rank` of a job, in the variables that Paddle's launcher uses.

    endpoints: "host:port" of every process. With `gpus`, rank k takes the k-th visible GPU.
    """
    os.environ.update(
        PADDLE_TRAINER_ID=str(rank),
        PADDLE_TRAINERS_NUM=str(len(endpoints)),
        PADDLE_TRAINER_ENDPOINTS=",".join(endpoints),
        PADDLE_CURRENT_ENDPOINT=endpoints[rank],
        PADDLE_DISTRI_BACKEND="nccl" if gpus else "gloo",
    )
    if gpus:
        # Counted among the visible ones, as Paddle's own launcher does.
        os.environ["FLAGS_selected_gpus"] = str(rank)


def die_with_parent() -> None:
    """Have Linux end this process when its parent is gone, however that died."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _on_this_host() -> int:
    """How many of the job's processes run on this machine."""
    here = os.environ.get("PADDLE_CURRENT_ENDPOINT", "").split(":")[0]
    everyone = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    return max(1, sum(endpoint.split(":")[0] == here for endpoint in everyone))


def configure(processes: int, use_gpu: bool = True, inherited: bool = False) -> str:
    """Set threads, MKL's path and quiet start-up; say in one line what was set.

    processes: how many processes of this job share the machine's cores. `use_gpu=False` hides
    the GPUs. Settings that the user made are respected; `inherited`: this process has its
    parent's, which has chosen already.
    """
    if "paddle" in sys.modules:
        return "paddle was imported before: its thread settings stay as they are"
    if not use_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    _quiet()
    cores = len(os.sched_getaffinity(0))
    threads = str(max(1, cores // (_on_this_host() if is_launched() else processes)))
    # The launcher imports paddle, which writes OMP_NUM_THREADS=1 for its children: nobody's choice.
    chosen = os.environ.get("OMP_NUM_THREADS")
    if chosen is None or (is_launched() and chosen == "1" and not inherited):
        os.environ["OMP_NUM_THREADS"] = threads
    said = [f"{os.environ['OMP_NUM_THREADS']} thread(s) of {cores} core(s) for each process"]
    # Without views, a transpose is a fast kernel of its own; with them, the reshape that follows
    # it copies element by element. benchmarks/cpu_settings.md has what that costs.
    os.environ.setdefault("FLAGS_use_stride_kernel", "0")
    if _keep_memory():
        said.append("freed memory is kept for reuse")
    if _is_amd() and "MKL_DEBUG_CPU_TYPE" not in os.environ:
        os.environ["MKL_DEBUG_CPU_TYPE"] = "5"
        said.append("MKL's AVX2 path for AMD (MKL_DEBUG_CPU_TYPE=5)")
    return ", ".join(said)


def _keep_memory() -> bool:
    """Have glibc reuse freed memory: as it comes, each large tensor is mapped and unmapped, page
    fault by page fault. Settings of the user's own win."""
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


@contextlib.contextmanager
def suppress_lines(*words: str) -> Iterator[None]:
    """Drop what the block's Python code writes to stderr in lines with one of these words."""
    heard = io.StringIO()
    try:
        with contextlib.redirect_stderr(heard):
            yield
    finally:
        for line in heard.getvalue().splitlines():
            if not any(word in line for word in words):
                print(line, file=sys.stderr)


def import_paddle() -> None:
    """Import paddle without its advice on thread counts, which are set on purpose here, and
    without its signal handler, which answers a plain SIGTERM with a page of C++ traceback."""
    with suppress_lines("OMP_NUM_THREADS"):
        import paddle

    paddle.disable_signal_handler()


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _quiet() -> None:
    """Keep messages of libraries that a user can do nothing about off the screen."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    warnings.filterwarnings("ignore", message="No ccache found")
    warnings.filterwarnings("ignore", message="Setuptools is replacing distutils")
