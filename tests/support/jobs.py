"""Programs in subprocesses: waiting for them, and finding the ranks of a job."""

import os
import subprocess
from pathlib import Path

import forks
import pytest


def without_job() -> dict[str, str]:
    """A user's environment: not in a job, without GPUs, and without the tests' thread count (set
    for one process, it is too high for several)."""
    excluded = ("PADDLE_", "OMP_NUM_THREADS")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(excluded)}
    return environment | {"CUDA_VISIBLE_DEVICES": ""}


def finish(process: subprocess.Popen | forks.Fork, seconds: int = 120) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"did not end within {seconds} s:\n{out}\n{err}")
    return process.returncode, out, err


def ranks_in_training(job: subprocess.Popen | forks.Fork) -> list[int]:
    """The two child processes, after the first log line."""
    assert job.stdout is not None
    assert job.stdout.readline().startswith("global step 1,"), finish(job)
    children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()
    ranks = [int(pid) for pid in children if is_training(int(pid))]
    assert len(ranks) == 2
    return ranks


def is_training(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return state != "Z" and (b"spawn_main" in command or b"forks.py" in command)
    except OSError:
        return False
