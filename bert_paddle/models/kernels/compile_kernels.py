"""kernels.c as a shared library: compiled for this machine on first use, then cached."""

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
# Sums may be reordered, which vectorizing them needs; infinities and NaN stay exact.
_FLAGS = "-O3 -march=native -ffast-math -fno-finite-math-only -fopenmp -fPIC -std=gnu11".split()
if platform.machine() == "x86_64":
    _FLAGS.append("-mprefer-vector-width=512")
_INT64, _FLOAT, _UINT32, _POINTER = ctypes.c_int64, ctypes.c_float, ctypes.c_uint32, ctypes.c_void_p
_DROPOUT = [_UINT32, _UINT32, _FLOAT]  # seed, threshold, scale
_SIGNATURES: dict[str, list[Any]] = {
    "bias_gelu": [*[_POINTER] * 3, _INT64, _INT64],
    "bias_gelu_grad": [*[_POINTER] * 3, _INT64, _INT64],
    "dropout_add_norm": [*[_POINTER] * 7, _INT64, _INT64, *_DROPOUT, _FLOAT],
    "dropout_add_norm_grad": [*[_POINTER] * 9, _INT64, _INT64, *_DROPOUT],
    "embed": [*[_POINTER] * 11, _INT64, _INT64, *_DROPOUT, _FLOAT],
    "embed_grad": [*[_POINTER] * 13, *[_INT64] * 5, *_DROPOUT],
    "column_sums": [*[_POINTER] * 2, _INT64, _INT64],
    "squares": [*[_POINTER] * 2, _INT64],
    "adamw": [_POINTER, _INT64, *[_FLOAT] * 6],
    "attention": [*[_POINTER] * 11, _INT64, _INT64, _INT64, *_DROPOUT],
    "attention_grad": [*[_POINTER] * 11, _INT64, _INT64, _INT64, *_DROPOUT],
}

# Kernels that allocate memory and return -1 where there is none.
_CHECKED = {
    "column_sums",
    "attention",
    "squares",
    *(name for name in _SIGNATURES if name.endswith("_grad")),
}
_DIGEST_SIZE = hashlib.sha256().digest_size  # the digest is appended to a cached library


class Kernels:
    """The functions of kernels.c, called with Paddle tensors and numpy arrays in place of pointers.

    A call releases the GIL.
    """

    def __init__(self, path: Path):
        from paddle.profiler import RecordEvent

        self._library, self._event = ctypes.CDLL(str(path)), RecordEvent
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes = arguments
            function.restype = ctypes.c_int if name in _CHECKED else None

    def run(self, name: str, *arguments: Any) -> None:
        """Call the kernel `name`. Raises MemoryError when it cannot allocate memory."""
        values = [_as_pointer(value) for value in arguments]
        with self._event(name):  # shown by --profile
            failed = getattr(self._library, name)(*values)
        if failed and name in _CHECKED:
            raise MemoryError(f"no memory for the kernel {name}")


def _as_pointer(value: Any) -> Any:
    if hasattr(value, "data_ptr"):
        return value.data_ptr()
    return value.ctypes.data if hasattr(value, "ctypes") else value


@functools.cache
def load_kernels() -> tuple[Kernels | None, str]:
    """The kernels, or None and the reason why there are none. Import paddle before calling: the
    kernels share its thread pool."""
    cc = os.environ.get("CC", "")
    try:
        compilers = _compiler_commands(cc)
    except ValueError as error:
        return None, f"CC is {cc!r}: {error}"
    compiler = next((command for command in compilers if shutil.which(command[0])), None)
    if compiler is None:
        names = " or ".join(" ".join(command) for command in compilers)
        return None, f"no C compiler found ({names})"
    try:
        return _load_or_compile(compiler), ""
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"{' '.join(compiler)} could not compile them: {_error_line(error)}"


def _compiler_commands(cc: str) -> list[list[str]]:
    command = [part for part in shlex.split(cc) if part]
    return [command] if command else [["gcc"], ["cc"], ["clang"]]


def _error_line(error: Exception) -> str:
    """The first line of a compiler's output that is an error, or else its first line."""
    lines = (getattr(error, "stderr", None) or "").strip().splitlines() or [str(error)]
    return next((line for line in lines if "error:" in line.lower()), lines[0])


def _load_or_compile(compiler: Sequence[str]) -> Kernels:
    """The cached kernels; compiled where they are missing, damaged or cannot be loaded (compiled
    against a newer C library, say)."""
    import paddle

    # Link Paddle's own OpenMP library: with a second one, the idle threads of each pool would spin
    # on the cores that the other needs.
    openmp = next((Path(paddle.__file__).parent / "libs").glob("libiomp5*"), None)
    if openmp is None:
        raise OSError("this PaddlePaddle ships no libiomp5")
    build = [
        *compiler,
        hardware.processor(),
        hardware.instruction_sets(),
        paddle.__version__,
        *_FLAGS,
    ]
    key = chr(0).join([*build, SOURCE.read_text("utf-8")])
    path = runtime.cache_dir() / "kernels" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    if _is_intact(path):
        with contextlib.suppress(OSError):
            return Kernels(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
            library = _compile(compiler, openmp, Path(scratch))
            content = library.read_bytes()
            library.write_bytes(content + hashlib.sha256(content).digest())
            atomic_files.sync(library)
            os.replace(library, path)
        return Kernels(path)
    # The cache is not writable, full, or mounted noexec.
    except (OSError, subprocess.CalledProcessError):
        with tempfile.TemporaryDirectory() as scratch:
            # The library stays mapped after its file is deleted.
            return Kernels(_compile(compiler, openmp, Path(scratch)))


def _is_intact(path: Path) -> bool:
    """Whether a cached library is as it was written. The loader would map a truncated one, and the
    process would die of SIGBUS at a missing page."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content[:-_DIGEST_SIZE]).digest() == content[-_DIGEST_SIZE:]


def _compile(compiler: Sequence[str], openmp: Path, scratch: Path) -> Path:
    object_file, library = scratch / "kernels.o", scratch / "kernels.so"
    for command in (
        [*compiler, *_FLAGS, "-c", str(SOURCE), "-o", str(object_file)],
        [*compiler, "-shared", str(object_file), str(openmp), "-lm", "-o", str(library)],
    ):
        subprocess.run(
            command, check=True, capture_output=True, text=True, errors="replace", timeout=120
        )
    return library
