"""What Paddle says of itself and of its devices; these functions run in a part's process."""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, runtime
from bert_paddle.models.kernels import compile_kernels


def write_facts(device: str, result: Path) -> None:
    """Write what `read_facts` returns. device: auto, cpu or gpu."""
    atomic_files.write_json(result, read_facts(device))


def read_facts(device: str) -> dict[str, Any]:
    """Facts that need Paddle; of one that cannot be had, the error as a text.

    gpu_build, cuda, cudnn, commit: of this build. gpus: name, memory in bytes and compute
    capability of each visible one; [] with --device cpu. threads: a description. kernels: only on a
    CPU, why the C kernels cannot be used; "" if they can.
    """
    threads = runtime.configure(1, use_gpu=device != "cpu")
    runtime.import_paddle()
    import paddle

    facts: dict[str, Any] = {
        "version": paddle.__version__,
        "commit": str(paddle.version.commit)[:12],
        "gpu_build": paddle.is_compiled_with_cuda(),
        "cuda": _or_error(paddle.version.cuda),
        "cudnn": _or_error(paddle.version.cudnn),
        "gpus": _or_error(_gpus) if device != "cpu" else [],
        "threads": threads,
        "omp_threads": os.environ.get("OMP_NUM_THREADS", ""),
    }
    if not facts["gpus"]:
        paddle.set_device("cpu")
        facts["kernels"] = _or_error(lambda: compile_kernels.load_kernels()[1])
    return facts


def _gpus() -> list[dict[str, Any]]:
    """The visible GPUs, in Paddle's order."""
    from paddle.device import cuda

    gpus = []
    for index in range(cuda.device_count()):
        properties = cuda.get_device_properties(index)
        capability = [properties.major, properties.minor]
        gpus.append(
            {
                "name": properties.name,
                "memory": properties.total_memory,
                "capability": capability,
            }
        )
    return gpus


def _or_error(function: Callable[[], Any]) -> Any:
    """The function's result, or the error it raised as a text."""
    try:
        return function()
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]


def write_run_check(device: str, result: Path) -> None:
    """Write the lines that Paddle's own check prints. Raises what it raises."""
    runtime.configure(1, use_gpu=device != "cpu")
    runtime.import_paddle()
    import paddle

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        paddle.utils.run_check()
    atomic_files.write_json(result, printed.getvalue().splitlines())
