"""Descriptions of the machine and the software versions, for results and measurements."""

import functools
import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "paddlenlp")


def available_cores() -> int:
    """The number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        return os.cpu_count() or 1


def processor() -> str:
    """The processor's name."""
    return _cpuinfo_field("model name") or platform.processor() or platform.machine()


def instruction_sets() -> str:
    """The instruction sets that the processor (or virtual machine) supports, as sorted names; ""
    if the system does not list them."""
    return " ".join(sorted(_cpuinfo_field("flags").split()))


def _cpuinfo_field(name: str) -> str:
    """A field of the first processor in /proc/cpuinfo; "" if there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def machine() -> str:
    """The processor, and the number of cores that this process may use."""
    return f"{processor()}, {available_cores()} core(s)"


def versions(*more: str) -> dict[str, str]:
    """The versions of Python, PaddlePaddle, PaddleNLP and `more` packages; only installed ones."""
    found = {name: version for name in (*PACKAGES, *more) if (version := _version(name))}
    return {"Python": platform.python_version(), **found}


@functools.cache  # a model card is written with each checkpoint
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe(*more: str) -> str:
    """Hardware and versions in one line."""
    return f"{machine()}; {', '.join(f'{name} {v}' for name, v in versions(*more).items())}"
