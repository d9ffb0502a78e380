"""NVIDIA's driver, as nvidia-smi describes it, and whether this build of Paddle fits it."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_QUERY = ("name", "memory.total", "compute_cap", "driver_version")
_TIMEOUT = 20  # seconds: the first call of a sleeping driver is slow


@dataclass(frozen=True)
class Driver:
    """What nvidia-smi says. gpus: a description of each GPU; problem: why it says nothing, "" if it
    does; is_installed: whether there is such a program."""

    gpus: tuple[str, ...] = ()
    problem: str = ""
    is_installed: bool = True


def ask_driver() -> Driver:
    """Ask nvidia-smi."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT
        )
    except FileNotFoundError:
        return Driver(problem="nvidia-smi is not there", is_installed=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Driver(problem=f"nvidia-smi: {error}")
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode:
        message = (lines or done.stderr.split("\n"))[0]
        return Driver(problem=f"nvidia-smi: {message or f'exit code {done.returncode}'}")
    return Driver(tuple(_describe(line) for line in lines))


def _describe(line: str) -> str:
    """A line of nvidia-smi's table in words; unchanged if it has other columns."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != len(_QUERY):
        return line
    name, memory, capability, driver = cells
    return f"{name}, {memory}, compute capability {capability}, driver {driver}"


def build_problem(
    facts: Mapping[str, Any], driver: Driver, device: str, visible: str | None
) -> str:
    """Why this build of Paddle cannot use this machine's GPUs, and the way out; "" if it can, or if
    there are none.

    facts: of Paddle: gpu_build, gpus (a list, or the error when they were counted), cuda; {} if it
    cannot be used. device: auto, cpu or gpu, as asked for. visible:
    the variable CUDA_VISIBLE_DEVICES.
    """
    if device == "cpu" or not facts:
        return ""
    way_out = "bash scripts/environment.sh --paddle gpu installs the build that fits the driver"
    if not facts["gpu_build"]:
        if driver.gpus:
            return f"the CPU build of Paddle beside {len(driver.gpus)} GPU(s): {way_out}"
        return ""
    if facts["gpus"] and not isinstance(facts["gpus"], str):
        return ""
    if visible is not None and visible.split(",")[0].strip() in ("", "-1"):
        return ""  # hidden on purpose
    if not driver.gpus:
        return (
            f"the GPU build of Paddle, but no GPU ({driver.problem or 'none is listed'}): {way_out}"
        )
    problem = f": {facts['gpus']}" if isinstance(facts["gpus"], str) else ""
    return f"the GPU build of Paddle (CUDA {facts['cuda']}) sees no GPU{problem}: {way_out}"


def unfit_build() -> str:
    """`build_problem` of this process, which has imported Paddle and sees no GPU."""
    import paddle

    gpu_build = paddle.is_compiled_with_cuda()
    cuda = paddle.version.cuda() if gpu_build else ""
    facts = {"gpu_build": gpu_build, "gpus": [], "cuda": cuda}
    return build_problem(facts, ask_driver(), "auto", os.environ.get("CUDA_VISIBLE_DEVICES"))
