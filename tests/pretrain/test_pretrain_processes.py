"""Pre-training as users start it: command B verbatim, and several processes as one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import shards
import tiny
from jobs import finish, without_job

from bert_paddle.pretrain.data import schema

ROOT = Path(__file__).parents[2]
COMMAND_B = """
python -u ./run_pretrain.py --model_type bert --model_name_or_path bert-base-uncased \\
    --max_predictions_per_seq 20 --batch_size 32 --learning_rate 1e-4 --weight_decay 1e-2 --adam_epsilon 1e-6 \\
    --warmup_steps 10000 --num_train_epochs 1e5 --input_dir $DATA_DIR --output_dir ./tmp2/ \\
    --logging_steps 1 --save_steps 20000 --max_steps 1000000 --n_gpu 2
"""  # noqa: E501


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with run_pretrain.py, shards, and a BERT without dropout under the known name."""
    base = tmp_path_factory.mktemp("place")
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
        shards.write(base / "data" / name, shards.make(count, first, vocab_size=size))
    return base


def start(place: Path, command: str) -> subprocess.Popen:
    environment = without_job() | {
        "DATA_DIR": str(place / "data"),
        "BERT_PADDLE_HOME": str(place / "home"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return subprocess.Popen(
        ["bash", "-c", f"exec {command.strip()}"],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_command_b_verbatim(place):
    """It would run for a million updates: three log lines, then an end as by Ctrl-C or a timer."""
    job = start(place, COMMAND_B)
    lines = [job.stdout.readline() for _ in range(3)]
    job.send_signal(signal.SIGTERM)
    code, _, err = finish(job, 60)
    # 30 rows and 64 a global batch: each epoch is one update.
    assert [line.split(", loss")[0] for line in lines] == [
        f"global step {step}, epoch: {step - 1}, batch: 1" for step in (1, 2, 3)
    ], err
    assert code == 143 and "Traceback" not in err
    assert "running 2 process(es) on the CPU" in err


def losses(place: Path, out: str) -> dict[int, tuple[float, float]]:
    lines = (place / out / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {r["step"]: (r["mlm_loss"], r["nsp_loss"]) for r in records if r["kind"] == "train"}


FLAGS = (
    "run_pretrain.py --model_name_or_path bert-base-uncased --input_dir data --num_train_epochs 5 "
    "--logging_steps 1 --save_steps 100 --learning_rate 1e-2 --eval_batch_size 2 --report 0 "
)
# Two ways to the same global batch of eight rows; an epoch's last has six.
WAYS = {
    "two": f"python -u {FLAGS} --n_gpu 2 --batch_size 4 --output_dir two",
    "two accumulated": f"python -u {FLAGS} --n_gpu 2 --batch_size 2 "
    "--gradient_accumulation_steps 2 --output_dir accumulated",
    "launched": f"python -u -m paddle.distributed.launch --nproc_per_node 2 --backend gloo "
    f"--log_dir logs {FLAGS} --batch_size 4 --output_dir launched",
}


@pytest.fixture(scope="module")
def alone(place):
    job = start(place, f"python -u {FLAGS} --batch_size 8 --output_dir alone")
    code, _, err = finish(job)
    assert code == 0, err
    return losses(place, "alone"), json.loads((place / "alone/all_results.json").read_text())


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_train_and_evaluate_as_one(place, alone, way):
    job = start(place, WAYS[way])
    code, _, err = finish(job)
    assert code == 0, err
    out = WAYS[way].split()[-1]
    one, results = alone
    other = losses(place, out)
    assert other.keys() == one.keys() == set(range(1, 21))
    for step, terms in one.items():
        assert other[step] == pytest.approx(terms, rel=1e-5), step
    theirs = json.loads((place / out / "all_results.json").read_text())
    assert theirs["eval_samples"] == results["eval_samples"] == 11
    for name in ("eval_mlm_loss", "eval_nsp_loss"):
        assert theirs[name] == pytest.approx(results[name], rel=1e-5)
