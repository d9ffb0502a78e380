"""Processes on the CPU: two train as one with twice the batch; a dead one ends the job."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
from jobs import finish, is_training, ranks_in_training, without_job

ROOT = Path(__file__).parent.parent
LOSSES = ["--logging_steps", "1", "--save_steps", "100", "--max_steps", "7"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A model without dropout (so that any split computes the same), and 53 rows: uneven."""
    base = tmp_path_factory.mktemp("dist")
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny.write_model(base / "model", labels=("negative", "positive"), **still)
    tiny.write_sst2(base / "glue" / "SST-2", train=53, dev=17, test=7)
    return base


def start(world: Path, out: str, *flags: str, launcher: tuple[str, ...] = ()) -> subprocess.Popen:
    argv = [sys.executable, *launcher, "run_glue.py", "--task_name", "SST-2"]
    argv += ["--model_name_or_path", str(world / "model"), "--data_dir", str(world / "glue")]
    argv += ["--output_dir", str(world / out), "--max_seq_length", "32", *flags]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, cwd=ROOT, env=without_job(), stdout=pipe, stderr=pipe, text=True)


def losses(folder: Path) -> list[float]:
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [record["loss"] for record in records if record["kind"] == "train"]


@pytest.mark.parametrize("accumulation", [1, 2])
def test_two_processes_train_as_one(world, accumulation):
    """The seventh update has an uneven batch: 53 rows are six batches of 8 and one of 5."""
    steps = ["--gradient_accumulation_steps", str(accumulation), "--do_predict", "--do_train"]
    one = start(world, f"one{accumulation}", *LOSSES, *steps, "--do_eval", "--batch_size", "8")
    assert finish(one)[0] == 0
    two = start(
        world,
        f"two{accumulation}",
        *LOSSES,
        *steps,
        "--do_eval",
        "--batch_size",
        "4",
        "--n_gpu",
        "2",
    )
    code, out, err = finish(two)
    assert code == 0, err
    assert out.count("eval loss") == 1  # only one process speaks
    a, b = losses(world / f"one{accumulation}"), losses(world / f"two{accumulation}")
    assert len(a) == 7 and a == pytest.approx(b, rel=1e-5)
    files = [world / f"{n}{accumulation}/predictions/SST-2.tsv" for n in ("one", "two")]
    assert files[0].read_text() == files[1].read_text()


def test_launcher_is_recognised(world):
    launcher = ("-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo")
    launcher += ("--log_dir", str(world / "log"))
    flags = [*LOSSES, "--batch_size", "4", "--n_gpu", "1"]
    code, out, err = finish(start(world, "launched", *flags, launcher=launcher))
    assert code == 0, err
    assert "started by paddle.distributed.launch: 2 process(es), --n_gpu is ignored" in out + err
    assert (out + err).count("eval loss") == 1


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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_the_processes_end_with_their_parent(world, number, code):
    job = start(world, f"parent{number}", *ENDLESS)
    ranks = ranks_in_training(job)
    os.kill(job.pid, number)
    assert finish(job, 60)[0] == code
    for _ in range(100):
        if not any(is_training(pid) for pid in ranks):
            return
        time.sleep(0.1)
    pytest.fail(f"processes {ranks} outlived their parent")


def test_an_error_of_the_main_process_alone_is_one_line(world):
    """A limit on file sizes breaks off the checkpoint, which only rank 0 writes."""
    limit = "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000)); del sys.argv[0]; "
    limit += "sys.path.insert(0, ''); runpy.run_path('run_glue.py', run_name='__main__')"
    flags = ["--batch_size", "4", "--n_gpu", "2", "--max_steps", "1"]
    job = start(world, "full", *flags, launcher=("-c", limit))
    code, _, err = finish(job)
    assert code == 1 and "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "File too large" in errors[0]


@pytest.mark.slow
def test_work_of_one_process_may_take_longer_than_gloo_waits(tmp_path):
    """gloo gives up after 30 s; a download or a large checkpoint on rank 0 takes longer."""
    script = tmp_path / "slow_main.py"
    script.write_text(
        "import time\n"
        "from bert_paddle import dist\n"
        "from bert_paddle.launch import launch\n"
        "from bert_paddle.glue.args import parse_args\n"
        "def run(args):\n"
        "    def work():\n"
        "        time.sleep(40)\n"
        "        return 'done'\n"
        "    assert dist.main_only(work) == 'done'\n"
        "    print('rank', dist.current().rank, flush=True)\n"
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
