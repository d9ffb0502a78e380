"""Runs of run_glue.py that are kept: each with its command, and when and on what it was run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite import results

_FILE = "benchmark.json"


def run(words: Sequence[str], out: Path, variables: Mapping[str, str] | None = None) -> None:
    """Run a command of run_glue.py into `out`, unless it has been run there to its end."""
    command = {"words": list(words), "variables": dict(variables or {})}
    if (out / "all_results.json").is_file() and _read(out).get("command") == command:
        return
    print(" ".join(words), flush=True)
    program = [sys.executable, "-u", *words, "--overwrite_output_dir"]
    subprocess.run(program, check=True, env=os.environ | command["variables"])
    about = {"command": command, "where": results.where()}
    (out / _FILE).write_text(json.dumps(about, indent=1) + "\n", "utf-8")


def where(out: Path) -> dict[str, Any]:
    """Date, machine, commit and versions of the run in `out`."""
    return _read(out).get("where", {})


def _read(out: Path) -> dict[str, Any]:
    path = out / _FILE
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def environment_line(found: Iterable[Mapping[str, Any]]) -> str:
    """Dates, commits and machines of several runs, in one line."""
    names = {"date": "", "commit": "commit ", "machine": ""}
    each = [
        " and ".join(sorted({f"{word}{one[name]}" for one in found if name in one}))
        for name, word in names.items()
    ]
    return ", ".join(one for one in each if one) + "."
