"""One job on two hosts: two launchers on this machine, connected over the loopback."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import forks
import pytest
import ranks
import tiny
from jobs import finish, without_job

from bert_paddle.common import run_log
from bert_paddle.training import checkpoint

ROOT = Path(__file__).parents[2]
FLAGS = "--max_seq_length 32 --logging_steps 1 --learning_rate 1e-3 --adam_epsilon 1e-6".split()
FLAGS += ["--report", "0"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("hosts")
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny.write_model(base / "model", labels=("negative", "positive"), **no_dropout)
    tiny.write_sst2(base / "glue" / "SST-2", train=53, dev=3, test=7)
    return base


def launcher(folder: Path, port: int, host: int) -> tuple[str, ...]:
    command = f"-m paddle.distributed.launch --nnodes 2 --nproc_per_node 1 --rank {host} --master"
    logs = folder / f"logs{host}"
    return (*command.split(), f"127.0.0.1:{port}", "--log_dir", str(logs))


def start(place: Path, folder: Path, batch_size: int, *launcher_args: str, flags: str = ""):
    argv = [str(ROOT / "run_glue.py"), "--task_name", "SST-2", *flags.split()]
    argv += ["--model_name_or_path", str(place / "model"), "--data_dir", str(place / "glue")]
    argv += ["--output_dir", str(folder / "out"), *FLAGS, "--batch_size", str(batch_size)]
    if not launcher_args:
        return forks.start(argv, folder, without_job())
    argv, pipe = [sys.executable, "-u", *launcher_args, *argv], subprocess.PIPE
    return subprocess.Popen(
        argv, cwd=folder, env=without_job(), stdout=pipe, stderr=pipe, text=True
    )


def losses(folder: Path) -> list[float]:
    return [r["loss"] for r in run_log.read_metrics(folder / "out") if r["kind"] == "train"]


def test_two_hosts_compute_the_losses_of_one(place, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    single = start(place, folders[0], 8, flags="--max_steps 10")
    assert finish(single)[0] == 0
    port = forks.free_port()
    jobs = [
        start(place, folders[1], 4, *launcher(folders[1], port, host), flags="--max_steps 10")
        for host in (0, 1)
    ]
    for job in jobs:
        code, out, err = finish(job)
        assert code == 0, out + err
    a, b = (losses(folder) for folder in folders)
    assert len(a) == 10 and a == pytest.approx(b, rel=1e-5)


def all_output(folder: Path, jobs: list[tuple[int, str, str]]) -> str:
    logs = [path.read_text(errors="replace") for path in folder.glob("logs*/workerlog.*")]
    return "".join([*logs, *(out + err for _, out, err in jobs)])


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        pytest.param(
            "SIGKILL", "error: rank 1 has died without an error message", marks=pytest.mark.slow
        ),
        pytest.param(
            "SIGSTOP", "error: rank 1 has sent no heartbeat for 3 s", marks=pytest.mark.slow
        ),
        pytest.param("RunError", "error: the loss is nan", marks=pytest.mark.slow),
    ],
)
def test_a_host_whose_process_dies_ends_the_others(tmp_path, fault, line):
    port, variables = forks.free_port(), {"BERT_PADDLE_SILENCE": "3"}
    variables |= {"BERT_PADDLE_JOB_SECRET": "a secret that the user has chosen"}
    variables |= {"RANKS_FAULTY": "1", "RANKS_FAULT": fault}
    launchers = [launcher(tmp_path, port, host) for host in (0, 1)]
    jobs = [ranks.start("exchange", tmp_path, 1, *args, **variables) for args in launchers]
    if fault == "SIGSTOP":
        # A launcher does not notice that its process is stopped: the other host ends, and this
        # one's process ends once it is continued.
        ended = [finish(jobs[0], 60)]
        os.kill(int((tmp_path / "pid1").read_text()), signal.SIGCONT)
        ended.append(finish(jobs[1], 60))
    else:
        ended = [finish(job, 60) for job in jobs]
    assert all(code != 0 for code, *_ in ended)
    output = all_output(tmp_path, ended)
    assert line in output and "that the user has chosen" not in output
    for rank in (0, 1):
        pid = (tmp_path / f"pid{rank}").read_text()
        assert not Path(f"/proc/{pid}").exists()


def test_a_killed_job_is_restarted_and_resumes(place, tmp_path):
    """scripts/hosts.sh with a rank killed once, after the first checkpoint."""
    script = tmp_path / "job.sh"
    program = f"{ROOT}/run_glue.py --task_name SST-2 --model_name_or_path {place / 'model'} "
    program += f"--data_dir {place / 'glue'} --output_dir {tmp_path / 'out'} {' '.join(FLAGS)} "
    program += "--batch_size 4 --max_steps 60 --save_steps 4 --num_train_epochs 1e3"
    script.write_text(
        f"set -euo pipefail\nPY={sys.executable}\n. {ROOT}/scripts/hosts.sh\n"
        f"on_hosts {tmp_path}/logs {program}\n"
    )
    job = subprocess.Popen(
        ["bash", str(script)],
        cwd=tmp_path,
        env=without_job()
        | {"MASTER": f"127.0.0.1:{forks.free_port()}", "NODES": "1"}
        | {"PER_NODE": "2", "RESTARTS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not checkpoint.saved_steps(tmp_path / "out") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert checkpoint.saved_steps(tmp_path / "out"), "no checkpoint in time"
    os.kill(_trainer(tmp_path / "out"), signal.SIGKILL)
    code, out, _ = finish(job, 100)
    assert code == 0, out
    assert "starting again from the newest checkpoint" in out
    assert re.search(r"resuming from \S+/model_\d+: step \d+ of 60", out), out
    steps = [r["step"] for r in run_log.read_metrics(tmp_path / "out") if r["kind"] == "train"]
    assert steps == list(range(1, 61))  # each step once


def _trainer(output_dir: Path) -> int:
    """The process of rank 1 that trains into this folder."""
    for entry in Path("/proc").iterdir():
        try:
            if str(output_dir).encode() in (entry / "cmdline").read_bytes():
                if b"PADDLE_TRAINER_ID=1\0" in (entry / "environ").read_bytes():
                    return int(entry.name)
        except OSError:
            continue
    raise AssertionError("no process of rank 1 found")
