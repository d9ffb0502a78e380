"""What a figure was measured on: processor, cores, versions."""

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "paddlenlp")


def processor() -> str:
    """The processor's name."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def instructions() -> str:
    """The names of the instruction sets that the processor, or the virtual machine, lets be used;
    "" where the system does not say."""
    return " ".join(sorted(_of_processor("flags").split()))


def _of_processor(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((one.partition(":")[2].strip() for one in lines if one.startswith(name)), "")


def hardware() -> str:
    """Processor and the cores that this process may use."""
    return f"{processor()}, {len(os.sched_getaffinity(0))} core(s)"


def versions(*more: str) -> dict[str, str]:
    """The versions of what a run depends on and of `more` packages, as far as installed."""
    found = {"Python": platform.python_version()}
    for name in (*PACKAGES, *more):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def describe(*more: str) -> str:
    """Hardware and versions in one line."""
    return f"{hardware()}; {', '.join(f'{name} {v}' for name, v in versions(*more).items())}"
