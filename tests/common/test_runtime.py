"""Threads and settings are set before paddle is imported; the user's own take precedence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bert_paddle.common import runtime

ROOT = Path(__file__).parents[2]
NAMES = ("OMP_NUM_THREADS", "FLAGS_use_stride_kernel", "MKL_DEBUG_CPU_TYPE")


def configured(
    processes: int | str = 1, amd: bool = False, **variables: str
) -> dict[str, str | None]:
    """A new process's environment after runtime.configure, and the line that it returned."""
    probe = (
        "import json, os, sys\n"
        "from bert_paddle.common import runtime\n"
        f"runtime._is_amd = lambda: {amd}\n"
        "os.sched_getaffinity = lambda pid: set(range(8))\n"
        f"notes = runtime.configure({processes})\n"
        f"values = {{name: os.environ.get(name) for name in {NAMES}}}\n"
        "print(json.dumps(values | {'notes': notes, 'paddle': 'paddle' in sys.modules}))"
    )
    clean = {k: v for k, v in os.environ.items() if k not in NAMES and "PADDLE" not in k}
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=ROOT,
        env=clean | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_cores_are_divided_among_the_processes():
    assert configured(1)["OMP_NUM_THREADS"] == "8"
    assert configured(3)["OMP_NUM_THREADS"] == "2"
    assert configured(20)["OMP_NUM_THREADS"] == "1"
    assert configured(1)["paddle"] is False


def test_variables_of_the_user_are_kept():
    values = configured(OMP_NUM_THREADS="3", FLAGS_use_stride_kernel="1", MALLOC_ARENA_MAX="2")
    assert (values["OMP_NUM_THREADS"], values["FLAGS_use_stride_kernel"]) == ("3", "1")
    assert "freed memory" not in str(values["notes"])
    assert configured(OMP_NUM_THREADS="1")["OMP_NUM_THREADS"] == "1"


def test_a_spawned_process_keeps_its_parents_thread_count():
    child = {"OMP_NUM_THREADS": "1", "PADDLE_TRAINER_ID": "1", "PADDLE_TRAINERS_NUM": "2"}
    assert configured("2, inherited=True", **child)["OMP_NUM_THREADS"] == "1"


def test_the_launchers_single_thread_is_overridden():
    launched = {
        "OMP_NUM_THREADS": "1",
        "PADDLE_TRAINER_ID": "0",
        "PADDLE_TRAINER_ENDPOINTS": "10.0.0.1:1,10.0.0.1:2,10.0.0.2:1,10.0.0.2:2",
        "PADDLE_CURRENT_ENDPOINT": "10.0.0.1:1",
    }
    assert configured(1, **launched)["OMP_NUM_THREADS"] == "4"  # two of the four are on this host


@pytest.mark.parametrize(("amd", "expected"), [(True, "5"), (False, None)])
def test_mkls_code_path_is_set_on_amd_only(amd, expected):
    assert configured(amd=amd)["MKL_DEBUG_CPU_TYPE"] == expected
    assert configured(amd=amd, MKL_DEBUG_CPU_TYPE="4")["MKL_DEBUG_CPU_TYPE"] == "4"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python has no PYTHONSAFEPATH")
def test_a_child_imports_nothing_from_the_working_directory(tmp_path):
    for name in ("bert_paddle.py", "json.py"):
        (tmp_path / name).write_text("raise SystemExit('planted code ran')")
    process = subprocess.run(
        [sys.executable, "-m", "bert_paddle", "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=runtime.child_environment(),
    )
    assert process.stdout.startswith("bert-paddle "), process.stderr
