"""Which devices there are, by NVIDIA's driver and by Paddle, and whether the build fits them."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bert_paddle.cli.selfcheck.facts import NOTE, OFF, OK, Fact
from bert_paddle.cli.selfcheck.ways import Device

_QUERY = ("name", "memory.total", "compute_cap", "driver_version")
_TIMEOUT = 20  # seconds: the first call of a sleeping driver is slow
_GIB = 2**30


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


def make_device(facts: Mapping[str, Any]) -> Device:
    """The device for `ways.skip_reason`, from `paddle_facts.read_facts`; a CPU without C kernels if
    there are none."""
    gpus = facts.get("gpus") or []
    if isinstance(gpus, str) or not facts:
        return Device(kernels="it is not known whether they can be used")
    capability = min((tuple(gpu["capability"]) for gpu in gpus), default=(0, 0))
    names = tuple(gpu["name"] for gpu in gpus)
    return Device(len(gpus), capability, facts.get("kernels", ""), names)


def build_problem(
    facts: Mapping[str, Any], driver: Driver, device: str, visible: str | None
) -> str:
    """Why this build of Paddle cannot use this machine's GPUs, and the way out; "" if it can, or if
    there are none.

    facts: as `paddle_facts.read_facts` returns. device: auto, cpu or gpu, as asked for. visible:
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


def device_facts(
    facts: Mapping[str, Any], reason: str, driver: Driver, device: str
) -> Iterator[Fact]:
    """Paddle's build, the devices, threads and the C kernels. reason: why `facts` is empty."""
    if not facts:
        yield Fact("Paddle", f"cannot be used: {reason}", OFF)
    else:
        cuda = (
            f"CUDA {facts['cuda']}, cuDNN {facts['cudnn']}" if facts["gpu_build"] else "CPU build"
        )
        yield Fact("Paddle", f"{facts['version']} ({facts['commit']}), {cuda}")
    shown = "; ".join(driver.gpus) or driver.problem or "no GPU"
    is_fault = driver.is_installed and bool(driver.problem)
    yield Fact("NVIDIA driver", shown, NOTE if is_fault else OK)
    if not facts:
        return
    gpus: Sequence[Any] = facts["gpus"]
    if isinstance(gpus, str):
        yield Fact("GPUs by Paddle", gpus, OFF)
    elif gpus:
        yield Fact("GPUs by Paddle", "; ".join(map(_describe_gpu, gpus)))
    if problem := build_problem(facts, driver, device, os.environ.get("CUDA_VISIBLE_DEVICES")):
        yield Fact("build", problem, OFF)
    yield Fact("threads", facts["threads"])
    if "kernels" in facts:
        text = facts["kernels"]
        yield Fact("C kernels", text or "compiled", NOTE if text else OK)


def _describe_gpu(gpu: Mapping[str, Any]) -> str:
    capability = ".".join(map(str, gpu["capability"]))
    memory = f"{gpu['memory'] / _GIB:.1f} GiB"
    return f"{gpu['name']}, {memory}, compute capability {capability}"
