"""A run interrupted anywhere and resumed equals the uninterrupted run: checkpoints, records,
results and log lines, compared exactly."""

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import same
import tiny
from faults import STEPS as LAST
from faults import Server

from bert_paddle.common.errors import Interrupted, OutputError
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args as glue_args
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args as pretrain_args
from bert_paddle.pretrain.data import schema
from bert_paddle.training import checkpoint
from bert_paddle.training.step import Objective, Trainer

ROOT = Path(__file__).parents[2]
import shard_files  # noqa: E402

STEPS = 8  # six per epoch in fine-tuning, four in pre-training
PLAN = f"--max_steps {STEPS} --logging_steps 3 --report 0 --learning_rate 1e-3 "


class Crash(Exception):
    """Simulates the death of the process."""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("place")
    tiny.write_model(base / "tiny")
    tiny.write_sst2(base / "glue" / "SST-2")
    for kind, number, count in ((schema.TRAINING, 0, 21), (schema.TRAINING, 1, 9)):
        rows = shard_files.make_rows(count, number * 30, vocab_size=tiny.CONFIG["vocab_size"])
        shard_files.write_shard(base / "shards" / schema.shard_name("t", kind, number), rows)
    rows = shard_files.make_rows(6, 70, vocab_size=tiny.CONFIG["vocab_size"])
    shard_files.write_shard(base / "shards" / schema.shard_name("t", schema.TEST, 0), rows)
    return base


def command(place: Path, program: str, out: Path, flags: str) -> list[str]:
    argv = f"--model_name_or_path {place}/tiny --output_dir {out} {PLAN} "
    if program == "glue":
        argv += f"--task_name sst2 --data_dir {place}/glue --max_seq_length 32 "
    else:
        argv += f"--input_dir {place}/shards --max_predictions_per_seq 4 "
    argv += flags
    return argv.split()


def call(place: Path, program: str, out: Path, flags: str) -> dict:
    argv = command(place, program, out, flags)
    if program == "glue":
        return finetune.run(glue_args(argv))
    return pretrain.run(pretrain_args(argv))


@pytest.fixture(scope="module")
def uninterrupted(place):
    """The uninterrupted run, once for every set of flags: its output folder and its log lines."""
    runs: dict[tuple[str, str], tuple[Path, list[str]]] = {}

    def get(program: str, flags: str, capsys: pytest.CaptureFixture) -> tuple[Path, list[str]]:
        if (program, flags) not in runs:
            out = place / f"uninterrupted{len(runs)}"
            capsys.readouterr()
            call(place, program, out, flags)
            runs[program, flags] = (out, same.plain_lines(capsys.readouterr().out))
        return runs[program, flags]

    return get


def signalled(monkeypatch: pytest.MonkeyPatch, step: int) -> type[BaseException]:
    """SIGTERM during a step: the run saves and ends after that step or the next."""
    original = Trainer.step

    def wrapped(self, micro_batches, lr, step_number, signals):
        if step_number == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, micro_batches, lr, step_number, signals)

    monkeypatch.setattr(Trainer, "step", wrapped)
    return Interrupted


def crashed(monkeypatch: pytest.MonkeyPatch, step: int) -> type[BaseException]:
    """The process dies during a step, in its last micro-batch."""
    original = Trainer.step

    def wrapped(self, micro_batches, lr, step_number, signals):
        if step_number < step:
            return original(self, micro_batches, lr, step_number, signals)
        calls, objective = [], self.objective

        def sums(model, batch):
            calls.append(1)
            if len(calls) == len(micro_batches):
                raise Crash
            return objective.sums(model, batch)

        self.objective = Objective(sums, objective.counts, objective.rows)
        return original(self, micro_batches, lr, step_number, signals)

    monkeypatch.setattr(Trainer, "step", wrapped)
    return Crash


def after_the_end(monkeypatch: pytest.MonkeyPatch, step: int) -> type[BaseException]:
    """The process dies after the last checkpoint, before the results are written."""
    from bert_paddle.training import run as training_run

    def crash(*args):
        raise Crash

    monkeypatch.setattr(training_run, "write_results", crash)
    return Crash


Stop = Callable[[pytest.MonkeyPatch, int], type[BaseException]]
TABLE: dict[str, tuple[str, str, Stop, int, set[int]]] = {
    # name: program, flags, how it is interrupted, at which step, the steps it may resume from
    "glue, right after a save": ("glue", "--save_steps 3", crashed, 4, {3}),
    "glue, mid-epoch": ("glue", "--save_steps 3", crashed, 6, {3}),
    "glue, at an epoch's end": ("glue", "--save_steps 3", crashed, 7, {6}),
    "glue, signal mid-epoch": ("glue", "--save_steps 3", signalled, 4, {4, 5}),
    "glue, signal at an epoch's end": ("glue", "--save_steps 100", signalled, 6, {6, 7}),
    "glue, after the last step": ("glue", "--save_steps 3", after_the_end, 0, {8}),
    "glue, mid-accumulation": (
        "glue",
        "--save_steps 2 --batch_size 4 --gradient_accumulation_steps 2",
        crashed,
        6,
        {4},
    ),
    "glue, two loader threads": ("glue", "--save_steps 2 --num_workers 2", crashed, 6, {4}),
    "glue, grouped by length": (
        "glue",
        "--save_steps 2 --group_by_length --num_workers 2",
        crashed,
        6,
        {4},
    ),
    "glue, mixed precision requested": (
        "glue",
        "--save_steps 3 --use_amp --amp_level O2",
        crashed,
        5,
        {3},
    ),
    "glue, LAMB": (
        "glue",
        "--save_steps 3 --optimizer lamb --weight_decay 0.01",
        crashed,
        5,
        {3},
    ),
    "pretrain, right after a save": ("pretrain", "--save_steps 2", crashed, 3, {2}),
    "pretrain, at an epoch's end": ("pretrain", "--save_steps 2", crashed, 5, {4}),
    "pretrain, signal": ("pretrain", "--save_steps 100", signalled, 6, {6, 7}),
    "pretrain, after the last step": (
        "pretrain",
        "--save_steps 3",
        after_the_end,
        0,
        {8},
    ),
    "pretrain, mid-accumulation": (
        "pretrain",
        "--save_steps 3 --batch_size 4 --gradient_accumulation_steps 2 --num_workers 2",
        crashed,
        6,
        {3},
    ),
    "pretrain, mixed precision requested, LAMB": (
        "pretrain",
        "--save_steps 3 --use_amp --optimizer lamb --weight_decay 0.01 --lr_scheduler_type poly",
        crashed,
        5,
        {3},
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_interrupted_and_resumed_equals_uninterrupted(
    place, uninterrupted, tmp_path, monkeypatch, capsys, name
):
    program, flags, interrupt, at_step, expected_steps = TABLE[name]
    reference, lines = uninterrupted(program, flags, capsys)
    with monkeypatch.context() as patched, pytest.raises(interrupt(patched, at_step)):
        call(place, program, tmp_path / "out", flags)
    lines_before = same.plain_lines(capsys.readouterr().out)
    step = checkpoint.saved_steps(tmp_path / "out")[-1]
    assert step in expected_steps
    times = modification_times(checkpoint.checkpoint_dir(tmp_path / "out", step))
    call(place, program, tmp_path / "out", flags + " --resume_from_checkpoint auto")
    lines_after = same.plain_lines(capsys.readouterr().out)

    assert not same.differences(reference, tmp_path / "out", STEPS)
    assert lines_before == lines[: len(lines_before)]
    assert lines_after == lines[len(lines) - len(lines_after) :]
    assert len(lines_before) + len(lines_after) >= len(lines)
    assert modification_times(checkpoint.checkpoint_dir(tmp_path / "out", step)) == times


def modification_times(folder: Path) -> dict[str, int]:
    """When each file was written: the checkpoint that a run resumes from is not rewritten."""
    return {p.name: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()


@pytest.mark.parametrize("program", ["glue", "pretrain"])
def test_two_processes_killed_and_resumed(server, tmp_path, program):
    """The main process dies while it renames an old checkpoint, the other one with it."""

    def run(out: str, **fault):
        return server.run(program, tmp_path / out, "--batch_size 4", ports=free_ports(), **fault)

    reference = run("reference")
    assert reference.code == 0, reference.err
    assert run("out", event="rename model_4.partial").code == -9
    resumed = run("out")
    assert resumed.code == 0 and resumed.resumed_from() == "model_2", resumed.err
    assert not same.differences(tmp_path / "reference", tmp_path / "out", LAST)
    lines, lines_after = same.plain_lines(reference.out), same.plain_lines(resumed.out)
    assert lines_after == lines[len(lines) - len(lines_after) :]


def free_ports() -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


@pytest.mark.parametrize(
    ("program", "flags", "message"),
    [
        ("glue", "--seed 7", "--seed was 42 and is 7"),
        ("glue", "--optimizer lamb", "--optimizer was 'adamw' and is 'lamb'"),
        ("glue", "--group_by_length 1", "--group_by_length was False and is True"),
        ("glue", "--max_grad_norm 2", "--max_grad_norm was 1.0 and is 2.0"),
        ("glue", "--max_seq_length 8", "training data, its labels or the vocabulary"),
        ("pretrain", "--max_predictions_per_seq 2", "--max_predictions_per_seq was 4 and is 2"),
        ("pretrain", "--warmup_steps 3", "--warmup_steps was 0 and is 3"),
    ],
)
def test_flags_that_change_the_training_are_named_and_refused(
    uninterrupted, place, capsys, program, flags, message
):
    out, _ = uninterrupted(program, "--save_steps 3", capsys)
    before = (out / "metrics.jsonl").read_bytes()
    with pytest.raises(OutputError) as caught:
        call(place, program, out, f"--save_steps 3 {flags} --resume_from_checkpoint auto")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert (out / "metrics.jsonl").read_bytes() == before


def test_changed_labels_are_refused(uninterrupted, place, tmp_path, capsys):
    out, _ = uninterrupted("glue", "--save_steps 3", capsys)
    tiny.write_sst2(tmp_path / "SST-2")
    path = tmp_path / "SST-2" / "train.tsv"
    head, first, rest = path.read_text().split("\n", 2)
    path.write_text("\n".join([head, first[:-1] + str(1 - int(first[-1])), rest]))
    with pytest.raises(OutputError, match="training data, its labels"):
        call(
            place,
            "glue",
            out,
            f"--save_steps 3 --data_dir {tmp_path} --resume_from_checkpoint auto",
        )


def test_logging_flags_and_data_path_may_change(uninterrupted, place, tmp_path, capsys):
    original, _ = uninterrupted("glue", "--save_steps 3", capsys)
    tiny.write_sst2(tmp_path / "moved" / "SST-2")
    flags = f"--data_dir {tmp_path / 'moved'} --logging_steps 1 --save_steps 5 --num_workers 1 "
    flags += f"--eval_batch_size 3 --resume_from_checkpoint {original / 'model_3'}"
    call(place, "glue", tmp_path / "out", flags)
    files = [same.checkpoint_files(out / "model_8") for out in (original, tmp_path / "out")]
    for name in ("model.safetensors", checkpoint.OPTIMIZER_FILE):
        assert files[0][name] == files[1][name]
    state = json.loads((tmp_path / "out" / "model_8" / checkpoint.STATE_FILE).read_text())
    assert state["args"]["logging_steps"] == 1
