"""From nothing to the first training step of scripts/quickstart.sh, in a fresh clone with an empty
home and empty caches of uv and pip, by several Pythons, and at an older commit, which knew pip
only.

    python benchmarks/install.py --pythons PY... [--before COMMIT] [--installers uv pip] > FILE.md

Needs a package index in reach and nothing installed. GLUE_DATA_DIR spares the attempt to download
SST-2.
"""

import argparse
import datetime
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_STAMPS = ("installed", "lock.sha256")  # what environment.sh writes last, and what it once wrote


class Outcome(NamedTuple):
    """What one installation came to; seconds from the start of the command."""

    packages: int
    megabytes: float
    installed: float
    first_step: float


def main() -> None:
    """Measures each case in turn and prints the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pythons", nargs="+", default=[sys.executable])
    parser.add_argument("--installers", nargs="+", default=["uv"], choices=("uv", "pip"))
    parser.add_argument("--before", metavar="COMMIT", help="also this commit, by pip")
    options = parser.parse_args()
    print("# From nothing to the first training step\n")
    print(
        "`benchmarks/install.py`: `scripts/quickstart.sh` in a fresh clone with an empty home and"
    )
    print("empty caches of uv and pip; MB without what the installer keeps in its cache.")
    print(f"{datetime.date.today()}, {_processor()}, {os.cpu_count()} cores.\n")
    print("| commit | Python | installer | packages | MB | seconds until installed | first step |")
    print("|---|---|---|---|---|---|---|")
    for python in options.pythons:
        for installer in options.installers:
            _print_row("HEAD", python, installer)
        if options.before:
            _print_row(options.before, python, "pip")


def _print_row(commit: str, python: str, installer: str) -> None:
    version = subprocess.run([python, "--version"], capture_output=True, text=True).stdout.split()[
        1
    ]
    cells = [_git("rev-parse", "--short", commit), version, installer]
    with tempfile.TemporaryDirectory() as folder:
        outcome = measure(Path(folder), commit, python, installer)
    if outcome is None:
        cells += ["does not install", "", "", ""]
    else:
        cells += [str(outcome.packages), f"{outcome.megabytes:,.0f}"]
        cells += [f"{outcome.installed:.0f}", f"{outcome.first_step:.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def measure(folder: Path, commit: str, python: str, installer: str) -> Outcome | None:
    """Runs the quickstart of `commit` until its first training step; None where it stops before."""
    clone, home = folder / "clone", folder / "home"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    subprocess.run(["git", "-C", clone, "checkout", "--quiet", commit], check=True)
    home.mkdir()
    variables = os.environ | {"HOME": str(home), "PYTHON": python}
    variables |= {"UV_CACHE_DIR": f"{home}/uv", "PIP_CACHE_DIR": f"{home}/pip"}
    variables |= {"BERT_PADDLE_HOME": f"{home}/bert_paddle"}
    variables |= {"INSTALLER": "pip"} if installer == "pip" else {}
    words = ["bash", "scripts/quickstart.sh", "--logging_steps", "1"]
    start = time.monotonic()
    with subprocess.Popen(
        words, cwd=clone, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        first_step = _wait_for_step(run, start)
        _stop(run)
    stamps = [clone / ".venv" / name for name in _STAMPS]
    found = [path.stat().st_mtime for path in stamps if path.exists()]
    if first_step is None or not found:
        return None
    packages = len(list(clone.glob(".venv/lib/python*/site-packages/*.dist-info")))
    installed = max(found) - (time.time() - (time.monotonic() - start))
    return Outcome(packages, _megabytes(clone / ".venv"), installed, first_step)


def _wait_for_step(run: subprocess.Popen[str], start: float) -> float | None:
    assert run.stdout
    for line in run.stdout:
        if line.startswith("global step"):
            return time.monotonic() - start
    return None


def _stop(run: subprocess.Popen[str]) -> None:
    try:
        os.killpg(run.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _megabytes(folder: Path) -> float:
    """On the disk."""
    done = subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0]) / 1024


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
