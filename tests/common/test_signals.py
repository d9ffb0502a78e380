"""Signals: finish the step, save, report where, exit with their code; or save and continue."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import forks
import numpy as np
import pytest
import tiny
from jobs import finish, is_training, ranks_in_training, without_job
from safetensors.numpy import load_file

from bert_paddle.common import signals
from bert_paddle.common.errors import Interrupted
from bert_paddle.common.signals import SignalRequests
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.training import checkpoint
from bert_paddle.training.step import Trainer

ROOT = Path(__file__).parents[2]
FLAGS = "--batch_size 8 --max_seq_length 32 --num_train_epochs 2 --save_steps 8 --logging_steps 3"
FLAGS += " --report 0"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tiny.write_sst2(tmp_path_factory.mktemp("glue") / "SST-2").parent


@pytest.fixture
def run(tiny_dir, data, tmp_path):
    def call(*flags: str, out: str = "out"):
        argv = f"--task_name sst2 --model_name_or_path {tiny_dir} --data_dir {data} "
        argv += f"--output_dir {tmp_path / out} {FLAGS} " + " ".join(flags)
        return finetune.run(parse_args(argv.split()))

    return call


@pytest.fixture(autouse=True)
def _default_sigint_handler():
    """A program in a shell's background starts with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def signal_at(monkeypatch):
    """Send this process a signal during a step."""

    def install(step: int, number: int) -> None:
        real = Trainer.step

        def wrapped(self, micro_batches, rate, now, asked):
            if now == step:
                os.kill(os.getpid(), number)
            return real(self, micro_batches, rate, now, asked)

        monkeypatch.setattr(Trainer, "step", wrapped)

    return install


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_run_is_saved_and_resumes_bit_for_bit(
    run, signal_at, tmp_path, capsys, monkeypatch, number, code
):
    run(out="uninterrupted")
    uninterrupted = capsys.readouterr().out
    before = signal.getsignal(number)
    signal_at(5, number)
    with pytest.raises(Interrupted) as caught:
        run()
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before
    # The signal came during step 5: that step is finished, and at most the next one.
    [step] = checkpoint.saved_steps(tmp_path / "out")
    assert step in (5, 6) and f"saved at step {step} of 12" in str(caught.value)
    monkeypatch.undo()
    first = capsys.readouterr().out
    assert "eval" not in first  # an interrupted run does not evaluate
    run("--resume_from_checkpoint auto")
    resumed = capsys.readouterr().out

    def plain(text):
        return [line.split(", speed")[0] for line in text.splitlines()]

    assert plain(first) + plain(resumed) == plain(uninterrupted)
    for name in ("model.safetensors", checkpoint.OPTIMIZER_FILE):
        a, b = (load_file(tmp_path / out / "model_12" / name) for out in ("uninterrupted", "out"))
        assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_sigusr1_saves_and_continues(run, signal_at, tmp_path):
    signal_at(4, signal.SIGUSR1)
    assert run()["global_step"] == 12
    steps = checkpoint.saved_steps(tmp_path / "out")
    assert len(steps) == 3 and steps[0] in (4, 5) and steps[1:] == [8, 12]


def test_a_save_request_is_returned_once_and_a_stop_request_always():
    requests = SignalRequests()
    with requests.deferred():
        requests.handle(signal.SIGUSR1)
        assert requests.poll() == {"SIGUSR1": 1} and requests.poll() == {}
        requests.handle(signal.SIGINT)
        assert requests.poll() == {"SIGINT": 1} and requests.poll() == {"SIGINT": 1}


ENDLESS = "--logging_steps 1 --save_steps 1000000 --batch_size 4 --num_train_epochs 1e5"


def start(tiny_dir: Path, data: Path, out: Path, *flags: str) -> forks.Fork:
    argv = ["run_glue.py", "--task_name", "SST-2"]
    argv += ["--model_name_or_path", str(tiny_dir), "--data_dir", str(data)]
    argv += ["--output_dir", str(out), "--max_seq_length", "32", *ENDLESS.split(), *flags]
    return forks.start(argv, ROOT, without_job())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_two_processes_stop_at_the_same_step(tiny_dir, data, tmp_path, number, code):
    job = start(tiny_dir, data, tmp_path / "out", "--n_gpu", "2")
    ranks = ranks_in_training(job)
    job.send_signal(number)
    ended, _, err = finish(job, 60)
    assert ended == code and "Traceback" not in err
    [step] = checkpoint.saved_steps(tmp_path / "out")
    last = err.strip().splitlines()[-1]
    assert last.startswith(
        f"error: {signal.Signals(number).name}: stopped and saved at step {step}"
    )
    assert checkpoint.find_damage(checkpoint.checkpoint_dir(tmp_path / "out", step)) is None
    assert not any(is_training(pid) for pid in ranks)


def test_sigusr1_to_the_parent_of_two_processes(tiny_dir, data, tmp_path):
    job = start(tiny_dir, data, tmp_path / "out", "--n_gpu", "2")
    ranks_in_training(job)
    job.send_signal(signal.SIGUSR1)
    for line in job.stdout:
        if checkpoint.saved_steps(tmp_path / "out") or line.startswith("global step 400,"):
            break
    [step] = checkpoint.saved_steps(tmp_path / "out")
    job.send_signal(signal.SIGTERM)
    assert finish(job, 60)[0] == 143
    assert checkpoint.saved_steps(tmp_path / "out")[0] == step


def test_a_second_signal_ends_the_job_immediately(tiny_dir, data, tmp_path):
    """Training does not reach its next step: rank 1 is stopped, so rank 0 waits."""
    job = start(tiny_dir, data, tmp_path / "out", "--n_gpu", "2")
    ranks = ranks_in_training(job)
    os.kill(ranks[1], signal.SIGSTOP)
    job.send_signal(signal.SIGTERM)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(2)
        job.send_signal(signal.SIGTERM)
        assert finish(job, 25)[0] == 143
    finally:
        if is_training(ranks[1]):
            os.kill(ranks[1], signal.SIGKILL)
    assert not any(is_training(pid) for pid in ranks)


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_whose_terminal_is_closed_is_saved(tiny_dir, data, tmp_path, processes):
    """The log lines go to the terminal: their failure must not prevent the save."""
    terminal, side_of_the_run = pty.openpty()
    argv = [sys.executable, "run_glue.py", "--task_name", "SST-2", *ENDLESS.split()]
    argv += ["--model_name_or_path", str(tiny_dir), "--data_dir", str(data)]
    argv += ["--max_seq_length", "32"]
    argv += ["--output_dir", str(tmp_path / "out"), "--n_gpu", str(processes)]
    take_terminal = "import fcntl, os, sys, termios; fcntl.ioctl(1, termios.TIOCSCTTY, 0); "
    take_terminal += "os.execv(sys.argv[1], sys.argv[1:])"
    job = subprocess.Popen(
        [sys.executable, "-c", take_terminal, *argv],
        cwd=ROOT,
        env=without_job(),
        stdin=side_of_the_run,
        stdout=side_of_the_run,
        stderr=side_of_the_run,
        start_new_session=True,
    )
    os.close(side_of_the_run)
    output = b""
    while b"global step 5," not in output:
        output += os.read(terminal, 4096)
    os.close(terminal)
    assert job.wait(60) == 129
    [step] = checkpoint.saved_steps(tmp_path / "out")
    assert checkpoint.find_damage(checkpoint.checkpoint_dir(tmp_path / "out", step)) is None


class StopThatInterrupts(dict):
    """The stop signals; the first look-up is interrupted by one."""

    def __contains__(self, name):
        if not self.get("interrupted"):
            self["interrupted"] = True
            signal.raise_signal(signal.SIGTERM)
        return super().__contains__(name)


@pytest.mark.parametrize("read", ["pending_stop", "poll"])
def test_a_signal_while_the_requests_are_read_is_neither_an_error_nor_lost(monkeypatch, read):
    requests = signals.SignalRequests()
    with requests.deferred():
        requests.handle(signal.SIGUSR1)
        with monkeypatch.context() as patch:
            patch.setattr(signals, "STOP", StopThatInterrupts(signals.STOP))
            getattr(requests, read)()
            signals.STOP["SIGTERM"] in signals.STOP  # noqa: B015  interrupts if `read` did not
        assert requests.pending_stop() == "SIGTERM"
