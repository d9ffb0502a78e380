"""What a figure was measured on: processor, cores, versions."""

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("paddlepaddle", "paddlepaddle-gpu", "paddlenlp")


def processor() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


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


def described(*more: str) -> str:
    """Hardware and versions in one line."""
    return f"{hardware()}; {', '.join(f'{name} {v}' for name, v in versions(*more).items())}"
