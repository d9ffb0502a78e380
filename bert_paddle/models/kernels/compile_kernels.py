"""kernels.c as a library of this machine: compiled at the first use, kept for the next."""

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, hardware, runtime

SOURCE = Path(__file__).with_name("kernels.c")
# Sums may be reordered, so that they can be made in vectors; infinities stay what they are.
_FLAGS = "-O3 -march=native -ffast-math -fno-finite-math-only -fopenmp -fPIC -std=gnu11".split()
if platform.machine() == "x86_64":
    _FLAGS.append("-mprefer-vector-width=512")
_LARGE, _REAL, _SEED, _POINTER = ctypes.c_int64, ctypes.c_float, ctypes.c_uint32, ctypes.c_void_p
_DROPOUT = [_SEED, _SEED, _REAL]  # seed, threshold, scale
_SIGNATURES: dict[str, list[Any]] = {
    "bias_gelu": [*[_POINTER] * 3, _LARGE, _LARGE],
    "bias_gelu_grad": [*[_POINTER] * 3, _LARGE, _LARGE],
    "dropout_add_norm": [*[_POINTER] * 7, _LARGE, _LARGE, *_DROPOUT, _REAL],
    "dropout_add_norm_grad": [*[_POINTER] * 9, _LARGE, _LARGE, *_DROPOUT],
    "embed": [*[_POINTER] * 11, _LARGE, _LARGE, *_DROPOUT, _REAL],
    "embed_grad": [*[_POINTER] * 13, *[_LARGE] * 5, *_DROPOUT],
    "column_sums": [*[_POINTER] * 2, _LARGE, _LARGE],
    "squares": [*[_POINTER] * 2, _LARGE],
    "adamw": [_POINTER, _LARGE, *[_REAL] * 6],
    "attention": [*[_POINTER] * 11, _LARGE, _LARGE, _LARGE, *_DROPOUT],
    "attention_grad": [*[_POINTER] * 11, _LARGE, _LARGE, _LARGE, *_DROPOUT],
}


_DIGEST = hashlib.sha256().digest_size  # of a library of the cache, written behind it

# Those that take memory of their own, and say whether they got it.
_CHECKED = {
    "column_sums",
    "attention",
    "squares",
    *(name for name in _SIGNATURES if name.endswith("_grad")),
}


class Kernels:
    """The functions of kernels.c, called with Paddle tensors and numpy arrays in place of pointers.

    The interpreter is free for other threads while one runs. Raises MemoryError for want of memory.
    """

    def __init__(self, path: Path):
        from paddle.profiler import RecordEvent

        self._library, self._event = ctypes.CDLL(str(path)), RecordEvent
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes = arguments
            function.restype = ctypes.c_int if name in _CHECKED else None

    def __call__(self, name: str, *arguments: Any) -> None:
        values = [_plain(value) for value in arguments]
        with self._event(name):  # for a profile
            failed = getattr(self._library, name)(*values)
        if failed and name in _CHECKED:
            raise MemoryError(f"no memory for {name}")


def _plain(value: Any) -> Any:
    if hasattr(value, "data_ptr"):
        return value.data_ptr()
    return value.ctypes.data if hasattr(value, "ctypes") else value


@functools.cache
def kernels() -> tuple[Kernels | None, str]:
    """The kernels, or None and why there are none. To be called after paddle is imported, whose
    thread pool they share."""
    chosen = os.environ.get("CC", "")
    try:
        compilers = _compilers(chosen)
    except ValueError as error:
        return None, f"CC is {chosen!r}: {error}"
    compiler = next((one for one in compilers if shutil.which(one[0])), None)
    if compiler is None:
        names = " or ".join(" ".join(one) for one in compilers)
        return None, f"no C compiler is here ({names})"
    try:
        return _loaded(compiler), ""
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"{' '.join(compiler)} could not make them: {_reason(error)}"


def _compilers(chosen: str) -> list[list[str]]:
    words = [word for word in shlex.split(chosen) if word]
    return [words] if words else [["gcc"], ["cc"], ["clang"]]


def _reason(error: Exception) -> str:
    """One line of what a compiler said: that of its error, not what led there."""
    lines = (getattr(error, "stderr", None) or "").strip().splitlines() or [str(error)]
    return next((line for line in lines if "error:" in line.lower()), lines[0])


def _loaded(compiler: Sequence[str]) -> Kernels:
    """The kernels of the cache, compiled where they are not there yet, are damaged or cannot be
    loaded: made where the C library is newer, say."""
    import paddle

    # Paddle's own OpenMP library: a second one would have a second set of threads, and each set's
    # waiting threads would take the cores from the other's working ones.
    threads = next((Path(paddle.__file__).parent / "libs").glob("libiomp5*"), None)
    if threads is None:
        raise OSError("this PaddlePaddle brings no libiomp5")
    about = [*compiler, hardware.processor(), hardware.instructions(), paddle.__version__, *_FLAGS]
    text = chr(0).join([*about, SOURCE.read_text("utf-8")])
    path = runtime.cache_dir() / "kernels" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if _whole(path):
        with contextlib.suppress(OSError):
            return Kernels(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
            made = _compile(compiler, threads, Path(scratch))
            content = made.read_bytes()
            made.write_bytes(content + hashlib.sha256(content).digest())
            atomic_files.sync(made)
            os.replace(made, path)
        return Kernels(path)
    # A home that cannot be written, has no room left, or from which nothing may be run.
    except (OSError, subprocess.CalledProcessError):
        with tempfile.TemporaryDirectory() as scratch:
            # Once loaded, the file need not be there any more.
            return Kernels(_compile(compiler, threads, Path(scratch)))


def _whole(path: Path) -> bool:
    """Whether a library of the cache is as it was written: the loader would map one that is cut
    off, and the process be killed at a page that is missing."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]


def _compile(compiler: Sequence[str], threads: Path, scratch: Path) -> Path:
    unit, library = scratch / "kernels.o", scratch / "kernels.so"
    for command in (
        [*compiler, *_FLAGS, "-c", str(SOURCE), "-o", str(unit)],
        [*compiler, "-shared", str(unit), str(threads), "-lm", "-o", str(library)],
    ):
        subprocess.run(
            command, check=True, capture_output=True, text=True, errors="replace", timeout=120
        )
    return library
