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


def described(*more: str) -> str:
    """Processor, cores, and the versions of what a run depends on and of `more` packages, as far
    as they are installed, in one line."""
    said = [f"Python {platform.python_version()}"]
    for name in (*PACKAGES, *more):
        try:
            said.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            pass
    return f"{processor()}, {len(os.sched_getaffinity(0))} core(s); {', '.join(said)}"
