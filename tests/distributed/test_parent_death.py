"""No process outlives a parent that is killed, at whatever moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from jobs import without_job

ROOT = Path(__file__).parents[2]
# As a program starts its child, which takes longer to begin than the parent to be killed.
LATE_CHILD = """
import os, subprocess, sys, time
from functools import partial
from bert_paddle.common import runtime

def begin(parent):
    time.sleep(1)
    runtime.die_with_parent(parent)

child = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child, sys.argv[1]], preexec_fn=partial(begin, os.getpid()))
"""
# Its ranks begin only seconds after their parent has started them.
SLOW_RANKS = """
import time
from bert_paddle.distributed.launch import launch
from bert_paddle.glue.args import parse_args

def run(args):
    time.sleep(600)

if __name__ == "__mp_main__":
    time.sleep(3)
if __name__ == "__main__":
    flags = "--task_name sst2 --model_name_or_path m --output_dir o --n_gpu 2"
    launch("slow_ranks:run", parse_args(flags.split()))
"""
POOL = """
import os, sys, time
from bert_paddle.pretrain.create import workers

def job(seconds):
    time.sleep(seconds)

if __name__ == "__main__":
    workers.create_shard = job
    list(workers.run_jobs([600, 600], 2, None))
"""


def processes_of(session: int) -> list[int]:
    """The live processes of a session."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) == session:
            pids.append(int(path.parent.name))
    return pids


def start(argv: list[str], folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *argv],
        cwd=folder,
        env=without_job() | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_when_started(job: subprocess.Popen, count: int, delay: float) -> None:
    """Kill the parent `delay` seconds after it has `count` children; then wait until all processes
    have ended."""
    deadline = time.monotonic() + 90
    while len(processes_of(job.pid)) <= count and time.monotonic() < deadline:
        assert job.poll() is None
        time.sleep(0.005)
    time.sleep(delay)
    job.kill()
    job.wait()
    deadline = time.monotonic() + 90
    while processes_of(job.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    remaining = processes_of(job.pid)
    for pid in remaining:
        os.kill(pid, signal.SIGKILL)
    assert not remaining


@pytest.mark.parametrize(
    "delay", [0.05, *(pytest.param(d, marks=pytest.mark.slow) for d in (0.0, 0.5, 1.0, 2.0, 5.0))]
)
def test_ranks_end_with_a_parent_killed_while_they_start(tmp_path, delay):
    tiny.write_model(tmp_path / "model", labels=("negative", "positive"))
    tiny.write_sst2(tmp_path / "glue" / "SST-2")
    flags = "--task_name SST-2 --model_name_or_path model --data_dir glue --output_dir out "
    flags += "--n_gpu 2 --num_train_epochs 1e5 --logging_steps 1000 --save_steps 1000000"
    job = start([str(ROOT / "run_glue.py"), *flags.split()], tmp_path)
    kill_when_started(job, 3, delay)  # besides both ranks, the resource tracker


def test_ranks_that_begin_after_their_parent_has_died_end(tmp_path):
    (tmp_path / "slow_ranks.py").write_text(SLOW_RANKS)
    kill_when_started(start(["slow_ranks.py"], tmp_path), 3, 0.5)


def test_a_child_that_begins_after_its_parent_has_died_ends(tmp_path):
    (tmp_path / "late.py").write_text(LATE_CHILD)
    job = start(["late.py", str(tmp_path / "began")], tmp_path)
    kill_when_started(job, 1, 0.0)
    assert not (tmp_path / "began").exists()


@pytest.mark.parametrize("delay", [0.0, 1.0])
def test_workers_of_data_creation_end_with_their_parent(tmp_path, delay):
    (tmp_path / "pool.py").write_text(POOL)
    kill_when_started(start(["pool.py"], tmp_path), 3, delay)


def test_the_pipe_to_the_parent_ends_a_process_where_the_system_does_not(tmp_path):
    """On a system without prctl."""
    (tmp_path / "spawn.py").write_text(
        "import ctypes, multiprocessing, os, time\n"
        "from bert_paddle.common import runtime\n"
        "def child(parent):\n"
        "    del ctypes.CDLL\n"  # so that AttributeError is raised
        "    runtime.die_with_parent(parent)\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    context.Process(target=child, args=(os.getpid(),)).start()\n"
        "    time.sleep(600)\n"
    )
    kill_when_started(start(["spawn.py"], tmp_path), 2, 1.0)
