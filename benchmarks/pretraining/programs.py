"""Calls of this project's programs."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run(program: str, *words: str, **flags: Any) -> None:
    """Run a program of this project with these words and flags."""
    words += tuple(word for name, value in flags.items() for word in (f"--{name}", str(value)))
    print("$", shlex.join([program, *words]), flush=True)
    subprocess.run([sys.executable, "-u", program, *words], cwd=ROOT, check=True)
