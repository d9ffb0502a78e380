"""Pre-training runs of a two-layer model on invented shards: files, log lines, resume, phase 2."""

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import shard_files
import tiny
from safetensors.numpy import load_file

from bert_paddle.common.errors import DataError, OutputError, WeightsError
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args
from bert_paddle.pretrain.data import schema
from bert_paddle.training import checkpoint

TRAIN_LINE = re.compile(
    r"global step (\d+), epoch: (\d+), batch: (\d+), loss: (\d+\.\d{6}), speed: \d+\.\d\d step/s, "
    r"\d+\.\d sequences/s, mlm loss: (\d+\.\d{6}), nsp loss: (\d+\.\d{6})"
)
EVAL_LINE = re.compile(
    r"eval loss: \d+\.\d{6}, mlm loss: \d+\.\d{6}, mlm accu: \d\.\d{6}, "
    r"perplexity: \d+\.\d{6}, nsp loss: \d+\.\d{6}, nsp accu: \d\.\d{6}"
)


@pytest.fixture(scope="module")
def shards_dir(tmp_path_factory) -> Path:
    """Two training shards with 21 and 9 rows, a held-out one with 10; ids below the tiny vocab."""
    folder, size = tmp_path_factory.mktemp("shards"), tiny.CONFIG["vocab_size"]
    for name, count, first in (
        (schema.shard_name("t", schema.TRAINING, 0), 21, 0),
        (schema.shard_name("t", schema.TRAINING, 1), 9, 21),
        (schema.shard_name("t", schema.TEST, 0), 10, 60),
    ):
        shard_files.write_shard(folder / name, shard_files.make_rows(count, first, vocab_size=size))
    return folder


@pytest.fixture
def run(tiny_dir, shards_dir, tmp_path):
    """Runs pre-training in this process with flags for the tiny model."""

    def call(*flags: str, out: str = "out", model: Path = tiny_dir, data: Path = shards_dir):
        argv = f"--model_name_or_path {model} --input_dir {data} --output_dir {tmp_path / out} "
        argv += "--report 0 --batch_size 8 --learning_rate 1e-2 --max_predictions_per_seq 4 "
        return pretrain.run(parse_args([*argv.split(), *" ".join(flags).split()]))

    return call


def test_files_of_others_and_inputs_are_refused(run, tmp_path, shards_dir):
    (tmp_path / "mine" / "model_2").mkdir(parents=True)
    (tmp_path / "mine" / "model_2" / "weights").write_text("mine")
    for flags in ("", "--overwrite_output_dir", "--resume_from_checkpoint auto"):
        with pytest.raises(OutputError, match="model_2: in the way"):
            run("--max_steps 1 --save_total_limit 1", flags, out="mine")
    run("--max_steps 2 --save_steps 1")
    vocab, init = tmp_path / "out/model_1/vocab.txt", tmp_path / "out/model_2"
    for flag in (f"--vocab_file {vocab}", f"--init_from {init}"):
        with pytest.raises(OutputError, match="would be lost"):
            run("--max_steps 1 --overwrite_output_dir", flag)
    assert checkpoint.saved_steps(tmp_path / "out") == [1, 2]


def test_exact_files_lines_and_results(run, tmp_path, capsys):
    values = run("--max_steps 9 --save_steps 4 --logging_steps 2")
    out = tmp_path / "out"
    files = {
        "README.md",
        "config.json",
        "model.safetensors",
        "vocab.txt",
        "tokenizer_config.json",
        "manifest.json",
        "state/train_state.json",
        "state/optimizer.safetensors",
    }
    written = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    expected = {f"model_{step}/{name}" for step in (4, 8, 9) for name in files}
    assert written == expected | {"all_results.json", "metrics.jsonl", "settings.yaml", "run.json"}

    lines = capsys.readouterr().out.splitlines()
    trained = [TRAIN_LINE.fullmatch(line) for line in lines if line.startswith("global")]
    # 30 rows in batches of 8: four steps an epoch, the last with 6 rows.
    assert [m and m.groups()[:3] for m in trained] == [
        ("2", "0", "2"),
        ("4", "0", "4"),
        ("6", "1", "2"),
        ("8", "1", "4"),
    ]
    for m in trained:
        assert float(m[4]) == pytest.approx(float(m[5]) + float(m[6]), abs=3e-6)
    evaluated = [line for line in lines if line.startswith("eval")]
    assert len(evaluated) == 3 and len(lines) == 7
    assert all(EVAL_LINE.fullmatch(line) for line in evaluated)

    results = json.loads((out / "all_results.json").read_text())
    assert (results["global_step"], results["eval_samples"]) == (9, 10)
    assert (results["train_samples"], results["model"]) == (30, "model_9")
    assert results["eval_perplexity"] == pytest.approx(math.exp(values["eval_mlm_loss"]))
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    trained = [r for r in records if r["kind"] == "train"]
    assert all(r["loss"] == pytest.approx(r["mlm_loss"] + r["nsp_loss"]) for r in trained)
    assert {r["step"] for r in records if r["kind"] == "eval"} == {4, 8, 9}


def test_it_memorizes_the_rows(run, tmp_path):
    values = run("--num_train_epochs 40 --logging_steps 10 --do_eval 0")
    assert not any(name.startswith("eval") for name in values)
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    first, *_, last = [json.loads(line) for line in lines]
    # Labels are random, so that only memorizing lowers the losses; the NSP loss starts at ln 2.
    assert last["mlm_loss"] < 0.8 * first["mlm_loss"] and last["nsp_loss"] < 0.5


@pytest.mark.parametrize("stop", [3, 4, 6])
def test_an_interrupted_run_resumes_bit_for_bit(run, tmp_path, stop, capsys):
    plan = "--num_train_epochs 2 --save_steps 1 --logging_steps 2"
    run(plan, out="uninterrupted")
    uninterrupted = capsys.readouterr().out.splitlines()
    run(plan, out="interrupted")
    for step in range(stop + 1, 9):
        target = checkpoint.checkpoint_dir(tmp_path / "interrupted", step)
        shutil.rmtree(target)  # as a crash after `stop` would have left it
    capsys.readouterr()
    run(plan, "--resume_from_checkpoint auto", out="interrupted")
    resumed = capsys.readouterr().out.splitlines()
    one, other = tmp_path / "uninterrupted" / "model_8", tmp_path / "interrupted" / "model_8"
    for name in ("model.safetensors", checkpoint.OPTIMIZER_FILE):
        a, b = load_file(one / name), load_file(other / name)
        assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)

    def without_speed(lines):
        return [re.sub(r"speed: .* sequences/s", "", line) for line in lines]

    assert without_speed(resumed) == without_speed(uninterrupted)[-len(resumed) :]


def test_phase_two_starts_with_the_weights_of_phase_one(run, tmp_path):
    run("--max_steps 3 --do_eval 0", out="first")
    phase_one = tmp_path / "first" / "model_3"
    longer = tmp_path / "longer"
    rows = shard_files.make_rows(9, length=40, vocab_size=tiny.CONFIG["vocab_size"])
    shard_files.write_shard(longer / schema.shard_name("t", schema.TRAINING, 0), rows)
    # The learning rate is 0 in the first step of a warm-up, so that the loaded weights are saved.
    flags = f"--init_from {phase_one} --max_steps 1 --warmup_steps 1"
    run(flags, out="second", model=phase_one, data=longer)
    one = load_file(phase_one / "model.safetensors")
    two = load_file(tmp_path / "second" / "model_1" / "model.safetensors")
    assert one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)


def test_the_model_fine_tunes_and_loads_in_paddlenlp(run, tmp_path):
    from paddlenlp.transformers.bert.modeling import BertForPretraining

    from bert_paddle.glue import finetune
    from bert_paddle.glue.args import parse_args as glue_args

    run("--max_steps 2 --do_eval 0")
    folder = tmp_path / "out" / "model_2"
    data = tiny.write_sst2(tmp_path / "glue" / "SST-2").parent
    argv = f"--task_name sst2 --model_name_or_path {folder} --data_dir {data} --max_steps 2 "
    argv += f"--output_dir {tmp_path / 'tuned'} --max_seq_length 32 --report 0"
    assert finetune.run(glue_args(argv.split()))["global_step"] == 2

    theirs = BertForPretraining.from_pretrained(str(folder))
    ours = load_file(folder / "model.safetensors")
    for name, value in theirs.state_dict().items():
        assert np.array_equal(value.numpy(), ours[name]), name


def test_held_out_evaluation_counts_each_row_once(run, shards_dir, capsys):
    one = run("--max_steps 1 --eval_batch_size 3", out="a")
    other = run("--max_steps 1 --eval_batch_size 10", out="b")
    for name in ("eval_loss", "eval_mlm_loss", "eval_nsp_loss", "eval_mlm_accuracy"):
        assert one[name] == pytest.approx(other[name], rel=1e-6)
    assert one["eval_samples"] == 10
    assert run("--max_steps 1 --eval_batch_size 3 --max_eval_rows 7", out="c")["eval_samples"] == 7


def test_the_best_checkpoint_has_the_lowest_held_out_loss(run, tmp_path):
    run("--max_steps 6 --save_steps 1 --save_total_limit 1 --learning_rate 0.3")
    records = [
        json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    ]
    losses = {r["step"]: r["loss"] for r in records if r["kind"] == "eval"}
    best = min(losses, key=lambda step: losses[step])
    kept = {folder.name for folder in (tmp_path / "out").glob("model_*")}
    assert kept == {f"model_{best}", "model_6"}


def test_errors_are_raised_before_training(run, shards_dir, tmp_path):
    small = shard_files.make_rows(4, vocab_size=tiny.CONFIG["vocab_size"])
    wrong = tmp_path / "wrong"
    shard_files.write_shard(
        wrong / "t_training_0.hdf5", small | {"input_ids": small["input_ids"].astype("f4")}
    )
    with pytest.raises(DataError, match="t_training_0.hdf5.*input_ids"):
        run(data=wrong)
    only_test = tmp_path / "only_test"
    shard_files.write_shard(only_test / "t_test_0.hdf5", small)
    with pytest.raises(DataError, match="only_test"):
        run(data=only_test)
    long = tmp_path / "long"
    shard_files.write_shard(long / "t_training_0.hdf5", shard_files.make_rows(4, length=80))
    with pytest.raises(DataError, match="80.*64|64.*80"):
        run(data=long)
    with pytest.raises(WeightsError, match="no-such"):
        run("--init_from no-such-model")
    run("--max_steps 1", out="taken")
    with pytest.raises(OutputError, match="already contains a run"):
        run("--max_steps 1", out="taken")


def test_resuming_with_other_shards_is_an_error(run, tmp_path):
    run("--max_steps 2")
    other = tmp_path / "other"
    rows = shard_files.make_rows(30, seed=5, vocab_size=tiny.CONFIG["vocab_size"])
    shard_files.write_shard(other / "t_training_0.hdf5", rows)
    with pytest.raises(OutputError, match="training data.*have changed"):
        run("--max_steps 2 --resume_from_checkpoint auto", data=other)


def test_without_a_vocabulary_the_model_is_saved_with_a_warning(run, tmp_path, capsys):
    config = tmp_path / "config_only.json"
    config.write_text(json.dumps(tiny.CONFIG | {"model_type": "bert"}))
    run("--max_steps 1", model=config)
    assert "saved without a tokenizer" in capsys.readouterr().err
    assert not (tmp_path / "out" / "model_1" / "vocab.txt").exists()
