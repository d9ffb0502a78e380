"""Stop signals to jobs of two processes, at chosen places: all ranks end together, with one line,
and a resumed job ends like an uninterrupted one."""

import json
import time
from pathlib import Path
from typing import Any

import forks
import places
import pytest
import same
import shard_files
import tiny
from jobs import finish, without_job

from bert_paddle.pretrain.data import schema
from bert_paddle.training import checkpoint

STEPS = 4
PLAN = f"--max_steps {STEPS} --save_steps 2 --logging_steps 1 --report 0 --n_gpu 2 --batch_size 4 "
LAST = f"stopped and saved at step {STEPS} of {STEPS}; resume with --resume_from_checkpoint auto"
SLOW = pytest.mark.slow  # starting a job takes ten seconds
LAUNCHER = "-m paddle.distributed.launch --nproc_per_node 2 --backend gloo --log_dir".split()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("workspace")
    tiny.write_model(base / "model", labels=("negative", "positive"))
    tiny.write_sst2(base / "glue" / "SST-2", train=30, dev=16, test=8)
    for kind, count, first in ((schema.TRAINING, 30, 0), (schema.TEST, 16, 40)):
        rows = shard_files.make_rows(count, first, vocab_size=tiny.CONFIG["vocab_size"])
        shard_files.write_shard(base / "shards" / schema.shard_name("t", kind, 0), rows)
    return base


def flags_of(workspace: Path, program: str, out: Path) -> str:
    common = f"--model_name_or_path {workspace}/model --output_dir {out} {PLAN} "
    common += "--resume_from_checkpoint auto --eval_batch_size 2 --learning_rate 1e-3 "
    if program == "run_glue":
        common += f"--task_name sst2 --data_dir {workspace}/glue --max_seq_length 32 "
        return common + "--do_train --do_eval --do_predict"
    return common + f"--input_dir {workspace}/shards --max_predictions_per_seq 4"


def start_ranks(program: str, flags: str, **plan: Any) -> list[forks.Fork]:
    """The ranks of a job as from Paddle's launcher. plan: see `places.install`."""
    argv, variables = [str(places.HERE / "places.py"), program, *flags.split()], without_job()
    variables |= {"PYTHONPATH": f"{places.ROOT}:{places.HERE}"}
    variables |= {"PLACES_PLAN": json.dumps(plan)} if plan else {}
    return forks.start_ranks([argv] * 2, places.ROOT, [variables] * 2)


def run_ranks(program: str, flags: str) -> None:
    """The job to its end, with ranks as from Paddle's launcher."""
    for rank in start_ranks(program, flags):
        code, _, err = finish(rank)
        assert code == 0, err


@pytest.fixture(scope="module")
def uninterrupted(workspace):
    """The folder of the uninterrupted job of a program, which runs once."""
    folders: dict[str, Path] = {}

    def get(program: str) -> Path:
        if program not in folders:
            out = workspace / f"{program}-uninterrupted"
            run_ranks(program, flags_of(workspace, program, out))
            folders[program] = out
        return folders[program]

    return get


@pytest.mark.parametrize(
    ("program", "place", "call", "name", "rank", "to", "message"),
    [
        # 16 rows in batches of 2 for each of two ranks: four batches per rank and evaluation.
        ("run_glue", "evaluation", 6, "SIGTERM", 1, "self", LAST),
        ("run_pretrain", "held-out evaluation", 6, "SIGINT", 0, "parent", LAST),
        ("run_glue", "evaluation", 2, "SIGTERM", 0, "group", "stopped and saved at step 2 of 4"),
        pytest.param("run_glue", "predictions", 1, "SIGTERM", 0, "parent", LAST, marks=SLOW),
        pytest.param("run_pretrain", "results", 1, "SIGTERM", 0, "group", LAST, marks=SLOW),
        pytest.param(
            "run_glue", "reading data", 1, "SIGTERM", 1, "self", "stopped; the files", marks=SLOW
        ),
        pytest.param(
            "run_glue", "snapshot", 1, "SIGHUP", 1, "parent", "stopped and saved at", marks=SLOW
        ),
        pytest.param("run_glue", "writing a checkpoint", 2, "SIGTERM", 0, "self", LAST, marks=SLOW),
    ],
)
def test_two_processes_end_together_and_resume(
    workspace, uninterrupted, tmp_path, program, place, call, name, rank, to, message
):
    out = tmp_path / "out"
    flags = flags_of(workspace, program, out)
    job = places.start(program, flags, place=place, call=call, signal=name, rank=rank, to=to)
    code, _, err = finish(job)
    assert code == {"SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}[name], err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith(f"error: {name}: {message}"), err
    assert "Traceback" not in err
    for step in checkpoint.saved_steps(out):
        assert checkpoint.find_damage(checkpoint.checkpoint_dir(out, step)) is None
    run_ranks(program, flags)
    assert not same.differences(uninterrupted(program), out, STEPS)


@pytest.mark.parametrize(
    ("place", "call", "message"),
    [("evaluation", 2, "stopped and saved at step 2 of 4"), ("predictions", 1, LAST)],
)
def test_launched_ranks_end_together_and_resume(
    workspace, uninterrupted, tmp_path, place, call, message
):
    """Each rank prints the line, as it cannot know whether another one does."""
    flags = flags_of(workspace, "run_glue", tmp_path / "out")
    for rank in start_ranks("run_glue", flags, place=place, call=call, rank=0):
        code, _, err = finish(rank)
        assert code == 143 and f"error: SIGTERM: {message}" in err and "Traceback" not in err
    run_ranks("run_glue", flags)
    assert not same.differences(uninterrupted("run_glue"), tmp_path / "out", STEPS)


@SLOW  # the launcher and its ranks are new processes
@pytest.mark.parametrize(
    ("place", "call", "to", "message"),
    [
        # The launcher dies of it some steps later, and its ranks receive it then.
        ("writing a checkpoint", 1, "parent", "stopped and saved at step"),
        ("evaluation", 2, "self", "stopped and saved at step 2 of 4"),
        ("predictions", 1, "self", LAST),
    ],
)
def test_under_paddles_launcher(workspace, uninterrupted, tmp_path, place, call, to, message):
    out = tmp_path / "out"
    flags = flags_of(workspace, "run_glue", out).replace("--n_gpu 2 ", "")
    launcher = [*LAUNCHER, str(tmp_path / "logs")]
    job = places.start("run_glue", flags, *launcher, place=place, call=call, to=to, rank=0)
    finish(job)
    log = tmp_path / "logs" / "workerlog.0"
    for _ in range(300):  # the ranks may end after their launcher
        if errors := [line for line in log.read_text().splitlines() if line.startswith("error: ")]:
            break
        time.sleep(0.1)
    assert len(errors) == 1 and errors[0].startswith(f"error: SIGTERM: {message}"), log.read_text()
    code, out_text, err = finish(places.start("run_glue", flags, *launcher))
    assert code == 0, out_text + err
    reference = uninterrupted("run_glue")
    for name in ("model.safetensors", checkpoint.OPTIMIZER_FILE):
        paths = [folder / f"model_{STEPS}" / name for folder in (reference, out)]
        assert paths[0].read_bytes() == paths[1].read_bytes(), name
    assert same.records(reference) == same.records(out)


def test_a_signal_before_the_children_are_started(workspace, tmp_path):
    """The parent starts none after it, rather than run to the end."""
    out = tmp_path / "out"
    flags = flags_of(workspace, "run_glue", out)
    job = places.start("run_glue", flags, place="starting a rank", call=2, spawn=True)
    code, _, err = finish(job)
    assert code == 143, err
    assert err.splitlines()[-1].startswith("error: SIGTERM: stopped before there was anything")
    assert not checkpoint.saved_steps(out)
