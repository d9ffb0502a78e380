"""Which devices there are, by NVIDIA's driver and by Paddle, and whether the build fits them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bert_paddle.cli.selfcheck.facts import NOTE, OFF, OK, Fact
from bert_paddle.cli.selfcheck.ways import Device
from bert_paddle.common.gpu_driver import Driver, build_problem

_GIB = 2**30


def make_device(facts: Mapping[str, Any]) -> Device:
    """The device for `ways.skip_reason`, from `paddle_facts.read_facts`; a CPU without C kernels if
    there are none."""
    gpus = facts.get("gpus") or []
    if isinstance(gpus, str) or not facts:
        return Device(kernels="it is not known whether they can be used")
    capability = min((tuple(gpu["capability"]) for gpu in gpus), default=(0, 0))
    names = tuple(gpu["name"] for gpu in gpus)
    return Device(len(gpus), capability, facts.get("kernels", ""), names)


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
