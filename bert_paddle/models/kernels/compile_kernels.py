"""Compiles the kernels for this machine on first use, caches the shared library and loads it."""

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, hardware, own_cache

CACHE_NAME = "kernels"
# -ffast-math allows sums to be reordered, without which they are not vectorized;
# -fno-finite-math-only restores correct results for infinities and NaN.
_FLAGS = "-O3 -march=native -ffast-math -fno-finite-math-only -fopenmp -fPIC -std=gnu11".split()
if platform.machine() == "x86_64":
    _FLAGS.append("-mprefer-vector-width=512")
_INT64, _FLOAT, _UINT32, _POINTER = ctypes.c_int64, ctypes.c_float, ctypes.c_uint32, ctypes.c_void_p
_DROPOUT = [_UINT32, _UINT32, _FLOAT]  # seed, threshold, scale
_SIGNATURES: dict[str, list[Any]] = {
    "embed": [*[_POINTER] * 11, _INT64, _INT64, *_DROPOUT, _FLOAT],
    "embed_grad": [*[_POINTER] * 13, *[_INT64] * 5, *_DROPOUT],
    "squares": [*[_POINTER] * 2, _INT64],
    "adamw": [_POINTER, _INT64, *[_FLOAT] * 6],
    "cast_bfloat16": [_POINTER, _INT64],
    "few_rows_linear": [*[_POINTER] * 4, *[_INT64] * 3],
    "few_rows_scores": [*[_POINTER] * 3, *[_INT64] * 3],
    "bias_gelu": [*[_POINTER] * 4, _INT64, _INT64],
    "bias_gelu_grad": [*[_POINTER] * 4, _INT64, _INT64],
    "dropout_add_norm": [*[_POINTER] * 8, _INT64, _INT64, *_DROPOUT, _FLOAT],
    "dropout_add_norm_grad": [*[_POINTER] * 9, _INT64, _INT64, *_DROPOUT],
    "column_sums": [*[_POINTER] * 2, _INT64, _INT64],
    "attention": [*[_POINTER] * 14, _INT64, _INT64, _INT64, *_DROPOUT],
    "attention_grad": [*[_POINTER] * 11, _INT64, _INT64, _INT64, *_DROPOUT],
}
# Kernels that allocate memory and return -1 when they cannot.
_ALLOCATING = {"column_sums", "attention", "squares", "few_rows_linear"}
_ALLOCATING |= {name for name in _SIGNATURES if name.endswith("_grad")}
_DIGEST_SIZE = hashlib.sha256().digest_size  # the digest is appended to a cached library


class Kernels:
    """The functions of the C files, called with Paddle tensors and numpy arrays as pointers.

    The GIL is released during a call.
    """

    def __init__(self, path: Path):
        from paddle.profiler import RecordEvent

        self._library, self._record_event = ctypes.CDLL(str(path)), RecordEvent
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes = arguments
            function.restype = ctypes.c_int if name in _ALLOCATING else None

    def run(self, name: str, *arguments: Any) -> None:
        """Call the kernel `name`. Raises MemoryError when it cannot allocate memory."""
        values = [as_pointer(value) for value in arguments]
        with self._record_event(name):  # shown by --profile
            failed = getattr(self._library, name)(*values)
        if failed and name in _ALLOCATING:
            raise MemoryError(f"the kernel {name} could not allocate memory")


def as_pointer(value: Any) -> Any:
    """The address of a tensor's or array's data; any other value unchanged."""
    if hasattr(value, "data_ptr"):
        return value.data_ptr()
    return value.ctypes.data if hasattr(value, "ctypes") else value


@functools.cache
def load_kernels(stored: str = "float32") -> tuple[Kernels | None, str]:
    """The kernels and "", or None and the reason why they are unavailable. Import paddle before
    calling: the kernels share its thread pool.

    stored: the type of the activations that a layer keeps, float32 or bfloat16 (see stored.h)."""
    cc = os.environ.get("CC", "")
    try:
        commands = _compiler_commands(cc)
    except ValueError as error:
        return None, f"CC is {cc!r}: {error}"
    compiler = next((command for command in commands if shutil.which(command[0])), None)
    if compiler is None:
        tried = " or ".join(" ".join(command) for command in commands)
        return None, f"no C compiler found ({tried})"
    if stored == "bfloat16":
        compiler = [*compiler, "-DBFLOAT16"]
    try:
        return _load_or_compile(compiler), ""
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"{' '.join(compiler)} could not compile the kernels: {_error_line(error)}"


def _compiler_commands(cc: str) -> list[list[str]]:
    """The command in $CC, or the usual compilers in order of preference. Raises ValueError for an
    unclosed quotation mark."""
    command = [part for part in shlex.split(cc) if part]
    return [command] if command else [["gcc"], ["cc"], ["clang"]]


def _error_line(error: Exception) -> str:
    """The first line of a compiler's output that names an error; if none does, the first line."""
    lines = (getattr(error, "stderr", None) or "").strip().splitlines() or [str(error)]
    return next((line for line in lines if "error:" in line.lower()), lines[0])


def _load_or_compile(compiler: Sequence[str]) -> Kernels:
    """The cached kernels; compiled if missing, damaged or impossible to load (compiled against a
    newer C library, for example)."""
    import paddle

    # Link Paddle's own OpenMP library: with a second one, each pool's idle threads would spin on
    # the cores that the other pool needs.
    openmp_library = next((Path(paddle.__file__).parent / "libs").glob("libiomp5*"), None)
    if openmp_library is None:
        raise OSError("this PaddlePaddle ships no libiomp5")
    key_parts = [
        *compiler,
        hardware.processor(),
        hardware.instruction_sets(),
        paddle.__version__,
        *_FLAGS,
    ]
    key = chr(0).join(
        [*key_parts, *(file.read_text("utf-8") for file in _files(".c") + _files(".h"))]
    )
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.so"
    try:
        path = own_cache.open_folder(CACHE_NAME) / name
        if _is_intact(path):
            with contextlib.suppress(OSError):
                return Kernels(path)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch:
            library = _compile(compiler, openmp_library, Path(scratch))
            content = library.read_bytes()
            library.write_bytes(content + hashlib.sha256(content).digest())
            library.chmod(0o700)
            atomic_files.move_into_place(library, path)
        return Kernels(path)
    except (OSError, subprocess.CalledProcessError):
        # Perhaps another user can write to the cache, or its disk is read-only, full, or mounted
        # noexec: compile without the cache.
        with own_cache.temporary_folder() as folder:
            # The library stays mapped into memory after its file is deleted.
            return Kernels(_compile(compiler, openmp_library, folder))


def _files(suffix: str) -> list[Path]:
    """The kernels' source files with this suffix."""
    return sorted(Path(__file__).parent.glob(f"*{suffix}"))


def _is_intact(path: Path) -> bool:
    """Whether a cached library is this user's own and matches its digest. Loading a truncated one
    would succeed, and the process would die of SIGBUS when it touches a missing page."""
    try:
        with own_cache.open_file(path) as file:
            content = file.read()
    except OSError:
        return False
    return hashlib.sha256(content[:-_DIGEST_SIZE]).digest() == content[-_DIGEST_SIZE:]


def _compile(compiler: Sequence[str], openmp_library: Path, scratch: Path) -> Path:
    """Compile and link the C files in the folder `scratch`; return the shared library's path."""
    c_files = _files(".c")
    objects = [str(scratch / f"{file.stem}.o") for file in c_files]
    commands = [
        [*compiler, *_FLAGS, "-c", str(file), "-o", target]
        for file, target in zip(c_files, objects, strict=True)
    ]
    with ThreadPoolExecutor(len(commands)) as pool:
        list(pool.map(_run, commands))
    library = scratch / "kernels.so"
    _run([*compiler, "-shared", *objects, str(openmp_library), "-lm", "-o", str(library)])
    return library


def _run(command: Sequence[str]) -> None:
    subprocess.run(
        command, check=True, capture_output=True, text=True, errors="replace", timeout=120
    )
