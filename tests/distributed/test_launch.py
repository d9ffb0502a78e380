"""Starting and ending a job: a dead or stopped rank ends all, with a line that names it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forks
import pytest
import ranks
import tiny
from jobs import finish, is_training, ranks_in_training, without_job

from bert_paddle.common import runtime
from bert_paddle.common.errors import FlagError, Interrupted, RunError, UserError
from bert_paddle.distributed import device, launch, shutdown
from bert_paddle.distributed.heartbeat import LostRankError
from bert_paddle.glue.args import parse_args

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    base = tmp_path_factory.mktemp("dist")
    tiny.write_model(base / "model", labels=("negative", "positive"))
    tiny.write_sst2(base / "glue" / "SST-2", train=53, dev=17, test=7)
    return base


def start(world: Path, out: str, *flags: str, launcher: tuple[str, ...] = ()):
    argv = ["run_glue.py", "--task_name", "SST-2"]
    argv += ["--model_name_or_path", str(world / "model"), "--data_dir", str(world / "glue")]
    argv += ["--output_dir", str(world / out), "--max_seq_length", "32", "--report", "0", *flags]
    if not launcher:
        return forks.start(argv, ROOT, without_job())
    argv, pipe = [sys.executable, *launcher, *argv], subprocess.PIPE
    return subprocess.Popen(argv, cwd=ROOT, env=without_job(), stdout=pipe, stderr=pipe, text=True)


ENDLESS = ["--logging_steps", "1", "--save_steps", "1000000", "--batch_size", "4", "--n_gpu", "2"]
ENDLESS += ["--num_train_epochs", "1e5"]


def test_killed_process_ends_the_job(world):
    job = start(world, "killed", *ENDLESS)
    os.kill(ranks_in_training(job)[1], signal.SIGKILL)
    code, _, err = finish(job, 60)
    assert code == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith("error: rank ") and "SIGKILL" in last
    assert "Traceback" not in err


# SIGTERM and SIGINT to the parent: tests/distributed/test_stop_signals.py.
@pytest.mark.parametrize(
    ("number", "code"),
    [pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow), (signal.SIGKILL, -9)],
)
def test_the_processes_end_with_their_parent(world, number, code):
    job = start(world, f"parent{number}", *ENDLESS)
    pids = ranks_in_training(job)
    os.kill(job.pid, number)
    assert finish(job, 60)[0] == code
    for _ in range(100):
        if not any(is_training(pid) for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail(f"processes {pids} outlived their parent")


def test_an_error_of_the_main_process_alone_is_one_line(world):
    """A file size limit makes the checkpoint fail, which only rank 0 writes."""
    limit = "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000)); del sys.argv[0]; "
    limit += "sys.path.insert(0, ''); runpy.run_path('run_glue.py', run_name='__main__')"
    flags = ["--batch_size", "4", "--n_gpu", "2", "--max_steps", "1"]
    job = start(world, "full", *flags, launcher=("-c", limit))
    code, _, err = finish(job)
    assert code == 1 and "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "File too large" in errors[0]
    assert (
        "the disk is full" in errors[0]
        # From rank 0 itself, or from the other rank, whichever reports first.
        and (errors[0].startswith("error: rank 0: ") or "(on rank 0)" in errors[0])
        and "--resume_from_checkpoint auto" in errors[0]
    )


@pytest.mark.slow
def test_work_on_rank_0_may_exceed_the_timeout_of_gloo(tmp_path):
    """gloo times out after 30 s; a download or a large checkpoint on rank 0 takes longer."""
    script = tmp_path / "slow_main.py"
    script.write_text(
        "import time\n"
        "from bert_paddle.distributed import collectives\n"
        "from bert_paddle.distributed.launch import launch\n"
        "from bert_paddle.glue.args import parse_args\n"
        "def run(args):\n"
        "    def work():\n"
        "        time.sleep(40)\n"
        "        return 'done'\n"
        "    assert collectives.run_on_main(work) == 'done'\n"
        "    print('rank', collectives.get_world().rank, flush=True)\n"
        "if __name__ == '__main__':\n"
        "    launch('slow_main:run', parse_args('--task_name sst2 --model_name_or_path m '\n"
        "        '--output_dir o --n_gpu 2'.split()))\n"
    )
    environment = without_job() | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["0", "1", "rank", "rank"]


def test_mistake_in_a_child_ends_with_one_line(world):
    code, out, err = finish(start(world, "bad", "--n_gpu", "2", "--max_seq_length", "65"))
    assert code == 2 and out == ""
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "64 positions" in errors[0]
    assert "Traceback" not in err


SLOW = pytest.mark.slow  # starting a job takes ten seconds: the fast tests have one of each type
SHORT_TIMEOUT = {"BERT_PADDLE_SILENCE": "3"}


@pytest.mark.parametrize(
    ("processes", "faulty_rank", "fault", "message"),
    [
        (2, 1, "SIGSTOP", "rank 1 has sent no heartbeat for 3 s"),
        pytest.param(3, 0, "SIGSTOP", "rank 0 has sent no heartbeat for 3 s", marks=SLOW),
        (2, 0, "SIGKILL", "rank 0 was killed by SIGKILL (maybe out of memory)"),
        (3, 2, "RunError", "error: rank 2: the loss is nan"),
        pytest.param(3, 1, "bug", "rank 1: ZeroDivisionError: a bug", marks=SLOW),
    ],
)
def test_one_line_names_the_rank_and_its_error(tmp_path, processes, faulty_rank, fault, message):
    """One of two or three processes dies, or hangs. No process or shared memory is left."""
    before = set(os.listdir("/dev/shm"))
    job = ranks.start(
        *("exchange", tmp_path, processes),
        **{"RANKS_FAULTY": str(faulty_rank), "RANKS_FAULT": fault, **SHORT_TIMEOUT},
    )
    code, out, err = finish(job, 150)
    assert code == 1 and "exchange 2" in out
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and message in errors[0], err
    assert ("Traceback" in err) == (fault == "bug")
    for rank in range(processes):
        pid = (tmp_path / f"pid{rank}").read_text()
        assert not Path(f"/proc/{pid}").exists()
    left = set(os.listdir("/dev/shm")) - before
    assert not {name for name in left if not _in_use(name)}


def _in_use(name: str) -> bool:
    """Whether a live process uses this shared memory, so that it is not left over by the job."""
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if name in maps.read_text():
                return True
        except OSError:
            continue
    return False


def test_a_slow_rank_is_waited_for(tmp_path):
    """Beyond the heartbeat timeout: it still sends heartbeats. The job has a secret of its own."""
    variables = {"RANKS_FAULTY": "1", "RANKS_FAULT": "sleep", "RANKS_SECONDS": "6"} | SHORT_TIMEOUT
    variables["BERT_PADDLE_JOB_SECRET"] = "that of the user's other job"
    code, _, err = finish(ranks.start("exchange", tmp_path, 2, **variables), 60)
    assert code == 0, err
    secrets = {(tmp_path / f"secret{rank}").read_text() for rank in (0, 1)}
    assert len(secrets) == 1 and len(secret := secrets.pop()) == 64
    assert not any(secret in (tmp_path / f"command{rank}").read_text() for rank in (0, 1))


@pytest.mark.slow
def test_a_slow_rank_may_exceed_the_timeout_of_gloo(tmp_path):
    """gloo aborts a job when one rank reaches a collective operation 30 s after another."""
    fault = {"RANKS_FAULTY": "1", "RANKS_FAULT": "sleep", "RANKS_SECONDS": "40"}
    code, _, err = finish(ranks.start("exchange", tmp_path, 2, **fault), 120)
    assert code == 0, err


@pytest.mark.parametrize(
    ("error", "error_type", "reason", "raised"),
    [
        (MemoryError("8 GB"), RunError, "rank 0: MemoryError: 8 GB", "rank 0: out of memory: "),
        (RunError("the loss is nan"), RunError, "rank 0: the loss is nan", "the loss is nan"),
        (ZeroDivisionError("x\ny"), ZeroDivisionError, "rank 0: ZeroDivisionError: x", "x\ny"),
        (
            RuntimeError("[gloo] closed"),
            LostRankError,
            None,
            "rank 0 lost the connection to other ranks: ",
        ),
        (
            LostRankError("rank 2 did not reach"),
            LostRankError,
            "rank 2 did not reach",
            "rank 2 did not",
        ),
        (Interrupted("SIGTERM: saved", 15), Interrupted, "", "SIGTERM: saved"),
        (None, None, "", ""),
    ],
)
def test_errors_reported_to_the_other_ranks(monkeypatch, error, error_type, reason, raised):
    reasons = []
    monkeypatch.setattr(launch.collectives, "disconnect", lambda reason="": reasons.append(reason))
    monkeypatch.setattr(launch.time, "sleep", lambda seconds: None)
    try:
        with launch._report_errors_to_ranks():
            if error is not None:
                raise error
    except Exception as caught:
        assert type(caught) is error_type and str(caught).startswith(raised)
    assert reasons == ([reason] if reason is not None else [])


class Child:
    """The part of a process object that its parent reads at the end."""

    def __init__(self, exitcode: int | None):
        self.exitcode = exitcode


class ReportQueue:
    def __init__(self, *reports):
        self.reports = list(reports)

    def empty(self) -> bool:
        return not self.reports

    def get(self):
        return self.reports.pop(0)


LOST = (0, "rank 0 lost the connection to rank 1", 1, True)


@pytest.mark.parametrize(
    ("codes", "reports", "error_type", "message"),
    [
        ((1, -9, None), [LOST], RunError, "rank 1 was killed by SIGKILL"),
        ((1, 1, None), [LOST, (1, "disk full", 1, False)], RunError, "rank 1: disk full"),
        ((1, 2), [LOST, (1, "bad flag", 2, False)], UserError, "bad flag"),
        ((143, None), [(0, "SIGTERM: saved", 143, False)], Interrupted, "SIGTERM: saved"),
        ((1, 134), [LOST], RunError, "rank 1 ended with exit code 134"),
        ((1, None), [LOST], RunError, "rank 0 lost the connection to rank 1"),
    ],
)
def test_the_root_cause_is_reported(monkeypatch, codes, reports, error_type, message):
    monkeypatch.setattr(shutdown.time, "sleep", lambda seconds: None)
    error = shutdown.root_cause([Child(code) for code in codes], ReportQueue(*reports))
    assert type(error) is error_type and str(error).startswith(message)


def args(*flags: str):
    required = "--task_name sst2 --model_name_or_path m --output_dir o".split()
    return parse_args([*required, *flags])


def test_more_gpus_than_are_visible(monkeypatch):
    monkeypatch.setattr(runtime, "configure", lambda *_, **__: "")
    monkeypatch.setattr(runtime, "import_paddle", lambda: None)
    monkeypatch.setattr(launch, "select_device", lambda *_: 2)
    monkeypatch.setattr(launch.signals, "ignore_until_training", lambda: None)
    with pytest.raises(FlagError, match=r"--n_gpu 3, but only 2 GPU\(s\) are visible here"):
        launch.launch("no:program", args("--n_gpu", "3"))


def test_a_gpu_requested_without_a_gpu(monkeypatch):
    paddle = pytest.importorskip("paddle")
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: False)
    with pytest.raises(FlagError, match="this PaddlePaddle sees no GPU"):
        device.select_device(1, "gpu")
