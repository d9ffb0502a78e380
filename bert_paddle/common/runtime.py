"""Sets up the process before paddle is imported. No other module writes os.environ.

Paddle's CPU build reads its thread count, and MKL its code path, once at import. Both defaults are
slow: one thread, and on AMD processors a code path for old hardware.
"""

import contextlib
import ctypes
import io
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

from bert_paddle.common import hardware
from bert_paddle.common.errors import RunError
from bert_paddle.common.memory_limit import check_enough_for_paddle, memory_errors
from bert_paddle.common.printed_lines import print_line

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h
# Made by the libraries when they are imported, although we use none of them.
_LIBRARY_FOLDERS = (
    *("~/.cache/paddle/dataset", "~/.paddlenlp/models"),
    *("~/.paddlenlp/datasets", "~/.paddlenlp/packages"),
)
# What paddle prints when it is imported: about threads, which `configure` sets, and, beside the
# error, that it cannot be imported.
_PADDLES_LINES = ("OMP_NUM_THREADS", "Can not import paddle core")
_PR_SET_PDEATHSIG = 1  # from sys/prctl.h


def bert_paddle_home() -> Path:
    """The folder for models and data: $BERT_PADDLE_HOME, else ~/.cache/bert_paddle."""
    return Path(os.environ.get("BERT_PADDLE_HOME") or "~/.cache/bert_paddle").expanduser()


def cache_dir() -> Path:
    """The folder for regenerable files: bert_paddle in $XDG_CACHE_HOME, else in ~/.cache.

    A relative path counts as unset, as the XDG specification says: it would be another folder,
    perhaps another user's, wherever the program is started.
    """
    for folder in (os.environ.get("XDG_CACHE_HOME"), "~/.cache"):
        try:
            path = Path(folder or "").expanduser()
        except RuntimeError:  # no home directory
            continue
        if path.is_absolute():
            return path / "bert_paddle"
    return Path("/nonexistent/bert_paddle")  # cannot be written, so nothing is cached


def is_launched() -> bool:
    """True in a process started by `python -m paddle.distributed.launch` or by our own spawn."""
    return "PADDLE_TRAINER_ID" in os.environ


def child_environment() -> dict[str, str]:
    """The environment of a child `python -m bert_paddle...`: it imports this same package, and
    nothing from the working directory, which could be another user's (Python 3.11 and later)."""
    package = str(Path(__file__).resolve().parents[2])
    path = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}


def set_rank_environment(
    rank: int, endpoints: list[str], gpus: bool, secret: str | None = None
) -> None:
    """Make this process rank `rank` of a job: set the variables that Paddle's launcher sets.

    endpoints: "host:port" of every process. With `gpus`, rank k takes the k-th visible GPU.
    secret: what the ranks authenticate each other by; None leaves it as the user has set it.
    """
    if secret is not None:
        os.environ["BERT_PADDLE_JOB_SECRET"] = secret
    os.environ.update(
        PADDLE_TRAINER_ID=str(rank),
        PADDLE_TRAINERS_NUM=str(len(endpoints)),
        PADDLE_TRAINER_ENDPOINTS=",".join(endpoints),
        PADDLE_CURRENT_ENDPOINT=endpoints[rank],
        PADDLE_DISTRI_BACKEND="nccl" if gpus else "gloo",
    )
    if all(endpoint.startswith("127.0.0.1:") for endpoint in endpoints):
        # gloo would listen on the address of the host's name, for other hosts too.
        loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
        if loopback:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    if gpus:
        # An index into the visible GPUs, as Paddle's launcher sets it.
        os.environ["FLAGS_selected_gpus"] = str(rank)


def die_with_parent(parent: int | None = None) -> None:
    """Have the system send this process SIGTERM when its parent dies, even by SIGKILL; exit if it
    has died already. To be called as early as possible.

    parent: the parent's process id, as the parent itself has passed it on; None if it has not.
    """
    parent = os.getppid() if parent is None else parent
    is_set = False
    with contextlib.suppress(OSError, AttributeError):
        # Linux only. Its answer is 0.
        is_set = not ctypes.CDLL("libc.so.6").prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the call: no signal will come
        os._exit(128 + signal.SIGTERM)
    if not is_set:
        threading.Thread(target=_terminate_after_parent, daemon=True, name="parent").start()


def _terminate_after_parent() -> None:
    """Send this process, which multiprocessing has started, SIGTERM when its parent has ended."""
    import multiprocessing.connection

    process = multiprocessing.parent_process()
    if process is not None:
        # A pipe whose other end the parent keeps open, on any system.
        multiprocessing.connection.wait([process.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def parent_is_paddles_launcher() -> bool:
    """Whether the parent process is `python -m paddle.distributed.launch`, not some script that may
    end before its ranks."""
    try:
        command = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    except OSError:
        return False
    return b"paddle.distributed.launch" in command or b"paddle/distributed/launch" in command


def _processes_on_this_host() -> int:
    """The number of the job's processes on this host."""
    host = os.environ.get("PADDLE_CURRENT_ENDPOINT", "").split(":")[0]
    endpoints = os.environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")
    return max(1, sum(endpoint.split(":")[0] == host for endpoint in endpoints))


def configure(processes: int, use_gpu: bool = True, inherited: bool = False) -> str:
    """Set thread count, MKL's code path and memory reuse, and silence libraries. Returns a summary.

    processes: how many processes of this job share the cores. use_gpu: False hides the GPUs.
    inherited: the parent process has already called this function. Variables set by the user are
    not changed.
    """
    if "paddle" in sys.modules:
        return "paddle is imported already: its thread settings are unchanged"
    if not use_gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    _silence_libraries()
    cores = hardware.available_cores()
    threads = str(max(1, cores // (_processes_on_this_host() if is_launched() else processes)))
    # Paddle's launcher imports paddle, which sets OMP_NUM_THREADS=1 for the children: override it.
    current = os.environ.get("OMP_NUM_THREADS")
    if current is None or (is_launched() and current == "1" and not inherited):
        os.environ["OMP_NUM_THREADS"] = threads
    notes = [f"{os.environ['OMP_NUM_THREADS']} thread(s) of {cores} core(s) for each process"]
    # Without strided views, a transpose is one fast kernel; with them, the reshape that follows
    # copies element by element. Measured in benchmarks/cpu_settings.md.
    os.environ.setdefault("FLAGS_use_stride_kernel", "0")
    if _reuse_freed_memory():
        notes.append("freed memory is kept for reuse")
    if _is_amd() and "MKL_DEBUG_CPU_TYPE" not in os.environ:
        os.environ["MKL_DEBUG_CPU_TYPE"] = "5"
        notes.append("MKL's AVX2 path for AMD (MKL_DEBUG_CPU_TYPE=5)")
    return ", ".join(notes)


def _reuse_freed_memory() -> bool:
    """Have glibc reuse freed memory; by default it maps and unmaps each large tensor, with page
    faults every time. The user's own MALLOC_ settings take precedence. Returns whether the
    settings were changed."""
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    # Tensors of up to 1 GiB come from the heap, which keeps up to 2 GiB of free memory at its end.
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


@contextlib.contextmanager
def suppress_lines(*patterns: str) -> Iterator[None]:
    """Drop lines that Python code in the block writes to stderr and that contain a pattern; print
    the others when the block ends."""
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            yield
    finally:
        for line in captured.getvalue().splitlines():
            if not any(pattern in line for pattern in patterns):
                print_line(line)


@contextlib.contextmanager
def writable_home() -> Iterator[None]:
    """Have the libraries make their folders in a temporary one during the block, if they cannot
    make them in the home directory: it may be read-only, or none. Raises RunError if there is no
    place for a temporary one either."""
    if _can_make_folders():
        yield
        return
    before = os.environ.get("HOME")
    try:
        folder = tempfile.TemporaryDirectory(prefix="bert_paddle_home_")
    except OSError as error:
        raise RunError(
            f"PaddlePaddle cannot make its folders in the home directory, nor in that for "
            f"temporary files ({error.strerror}): set HOME or TMPDIR to a folder that can be "
            "written"
        ) from None
    with folder as temporary:
        os.environ["HOME"] = temporary
        try:
            yield
        finally:
            if before is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = before


def _can_make_folders() -> bool:
    try:
        for folder in _LIBRARY_FOLDERS:
            Path(folder).expanduser().mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return False
    return True


def import_paddle() -> None:
    """Import paddle without its warning about thread counts, which `configure` sets, and without
    its signal handler, which prints a C++ traceback on SIGTERM. A SIGTERM during the import is
    delivered after it. Raises RunError if there is too little memory."""
    check_enough_for_paddle()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        with suppress_lines(*_PADDLES_LINES), writable_home(), memory_errors():
            import paddle

        paddle.disable_signal_handler()
        # Which has also removed ours, without Python's knowledge.
        if (handler := signal.getsignal(signal.SIGTERM)) is not None:
            with contextlib.suppress(ValueError):  # not the main thread
                signal.signal(signal.SIGTERM, handler)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _silence_libraries() -> None:
    """Suppress library messages that are of no use to the user."""
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    warnings.filterwarnings("ignore", message="No ccache found")
    warnings.filterwarnings("ignore", message="Setuptools is replacing distutils")
