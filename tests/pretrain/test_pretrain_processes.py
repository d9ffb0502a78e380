"""Pre-training from the command line: command B verbatim, and several processes like one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import forks
import pytest
import shard_files
import tiny
from documented_lines import COMMAND_B
from jobs import finish, without_job

from bert_paddle.pretrain.data import schema

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A folder with run_pretrain.py, shards, and a BERT without dropout named bert-base-uncased."""
    base = tmp_path_factory.mktemp("workspace")
    (base / "run_pretrain.py").symlink_to(ROOT / "run_pretrain.py")
    tiny.write_encoder(
        base / "home" / "models" / "bert-base-uncased",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    size = tiny.CONFIG["vocab_size"]
    for name, count, first in (
        (schema.shard_name("t", schema.TRAINING, 0), 21, 0),
        (schema.shard_name("t", schema.TRAINING, 1), 9, 21),
        (schema.shard_name("t", schema.TEST, 0), 11, 60),
    ):
        shard_files.write_shard(
            base / "data" / name, shard_files.make_rows(count, first, vocab_size=size)
        )
    return base


def variables(workspace: Path) -> dict[str, str]:
    """The environment of a user."""
    return without_job() | {
        "DATA_DIR": str(workspace / "data"),
        "BERT_PADDLE_HOME": str(workspace / "home"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def start(workspace: Path, command: str) -> subprocess.Popen:
    return subprocess.Popen(
        ["bash", "-c", f"exec {command.strip()}"],
        cwd=workspace,
        env=variables(workspace),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_command_b_verbatim(workspace):
    """It would run for a million steps: three log lines, then SIGTERM."""
    job = start(workspace, COMMAND_B)
    lines = [job.stdout.readline() for _ in range(3)]
    job.send_signal(signal.SIGTERM)
    code, _, err = finish(job, 60)
    # 30 rows and 64 a global batch: each epoch is one step.
    assert [line.split(", loss")[0] for line in lines] == [
        f"global step {step}, epoch: {step - 1}, batch: 1" for step in (1, 2, 3)
    ], err
    assert code == 143 and "Traceback" not in err
    assert "running 2 process(es) on the CPU" in err


def losses(workspace: Path, out: str) -> dict[int, tuple[float, float]]:
    lines = (workspace / out / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {r["step"]: (r["mlm_loss"], r["nsp_loss"]) for r in records if r["kind"] == "train"}


FLAGS = (
    "--model_name_or_path bert-base-uncased --input_dir data --num_train_epochs 3 "
    "--logging_steps 1 --save_steps 100 --learning_rate 1e-2 --eval_batch_size 2 --report 0 "
)
# Jobs of two processes with the same global batch of eight rows; an epoch's last has six.
JOBS = {
    "spawned": "--n_gpu 2 --batch_size 4 --output_dir spawned",
    "launched": "--batch_size 2 --gradient_accumulation_steps 2 --output_dir launched",
}


@pytest.fixture(scope="module")
def single_process(workspace):
    argv = [str(ROOT / "run_pretrain.py"), *f"{FLAGS} --batch_size 8 --output_dir alone".split()]
    code, _, err = finish(forks.start(argv, workspace, variables(workspace)))
    assert code == 0, err
    return losses(workspace, "alone"), json.loads(
        (workspace / "alone/all_results.json").read_text()
    )


@pytest.mark.parametrize("out", JOBS)
def test_two_processes_train_and_evaluate_like_one(workspace, single_process, out):
    argv = [str(ROOT / "run_pretrain.py"), *f"{FLAGS} {JOBS[out]}".split()]
    environment = variables(workspace)
    if out == "spawned":
        jobs = [forks.start(argv, workspace, environment)]
    else:
        jobs = forks.start_ranks([argv] * 2, workspace, [environment] * 2)
    for code, _, err in [finish(job) for job in jobs]:
        assert code == 0, err
    expected_losses, results = single_process
    actual = losses(workspace, out)
    assert actual.keys() == expected_losses.keys() == set(range(1, 13))
    for step, terms in expected_losses.items():
        assert actual[step] == pytest.approx(terms, rel=1e-5), step
    actual_results = json.loads((workspace / out / "all_results.json").read_text())
    assert actual_results["eval_samples"] == results["eval_samples"] == 11
    for metric in ("eval_mlm_loss", "eval_nsp_loss"):
        assert actual_results[metric] == pytest.approx(results[metric], rel=1e-5)
