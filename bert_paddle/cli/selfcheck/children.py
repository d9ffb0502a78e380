"""Runs one part of the check in its own process, so that an exception, a crash or a hang of it ends
only that part."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common import runtime

_GRACE = 10.0  # seconds between the child's own time limit, at which it prints its stack, and ours
_KEPT_OUTPUT = 8000  # characters
_CHILD = "bert_paddle.cli.selfcheck.child"
# A line of a stack as faulthandler prints it; the package's own frames say most.
_FRAME = re.compile(r'File "[^"]*(bert_paddle/[^"]+)", line (\d+) in (\w+)')


@dataclass(frozen=True)
class Outcome:
    """How a part's process ended. result: what the part returned, if it did; reason: why it did
    not, in one line; output: the end of what it printed."""

    result: Any
    reason: str
    seconds: float
    output: str


def run_part(
    task: str, argument: Any, limit: float, environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run a task of child.py with an argument that JSON can hold, for at most `limit` seconds.

    environment: variables for the child, besides this process's own.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bert_paddle_check.") as scratch:
        result_file, log = Path(scratch, "result.json"), Path(scratch, "log")
        command = [sys.executable, "-u", "-m", _CHILD, task, json.dumps(argument)]
        command += ["--result", str(result_file), "--limit", str(limit)]
        code = _run(command, log, limit + _GRACE, environment or {})
        output = log.read_text(encoding="utf-8", errors="replace")
        result, reason = None, _failure(code, output, limit)
        if not reason:
            try:
                result = json.loads(result_file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                reason = "the process ended without a result"
    return Outcome(result, reason, time.monotonic() - started, output[-_KEPT_OUTPUT:])


def _run(command: list[str], log: Path, limit: float, environment: Mapping[str, str]) -> int | None:
    """The exit code of the command, None if it was killed at the time limit. Its processes are gone
    when this returns or raises."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**runtime.child_environment(), **environment},
            start_new_session=True,  # so that all its ranks can be killed together
            preexec_fn=runtime.die_with_parent,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _kill_group(process)


def _kill_group(process: subprocess.Popen) -> None:
    """Kill what is left of the process and its children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS: PermissionError for zombies
        pass
    process.wait()


def _failure(code: int | None, output: str, limit: float) -> str:
    """Why a process with this exit code and output has failed, in one line; "" if it has not."""
    if code == 0:
        return ""
    if code is None or re.search(r"^Timeout \(\d", output, re.MULTILINE):
        frame = _FRAME.search(output)
        where = f", in {frame[1]}:{frame[2]} ({frame[3]})" if frame else ""
        return f"no result after {limit:g} s{where}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (maybe out of memory)" if name == "SIGKILL" else "")
    errors = [line for line in lines if line.startswith("error: ")]
    last = errors[-1] if errors else lines[-1] if lines else ""
    return f"exit code {code}" + (f": {last.removeprefix('error: ')}" if last else "")
