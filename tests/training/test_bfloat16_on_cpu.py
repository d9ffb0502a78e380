"""Runs in bfloat16 on a CPU, by oneDNN's slow code where the CPU lacks the instructions: they
train, resume bit for bit, say what they do, and continue in float32 where they must."""

import json
import shutil

import pytest
import shard_files
import tiny

from bert_paddle.cli import predict
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args as glue_args
from bert_paddle.models.kernels import compile_kernels, dispatch
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args as pretrain_args
from bert_paddle.pretrain.data import schema

RESUME = " --resume_from_checkpoint auto"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    if reason := compile_kernels.load_kernels()[1]:
        pytest.skip(f"no kernels: {reason}")
    place = tmp_path_factory.mktemp("bfloat16")
    tiny.write_model(place / "tiny")
    tiny.write_sst2(place / "glue" / "SST-2", train=40, dev=8)
    rows = shard_files.make_rows(40, 0, vocab_size=tiny.CONFIG["vocab_size"])
    path = place / "shards" / schema.shard_name("t", schema.TRAINING, 0)
    shard_files.write_shard(path, rows)
    return place


@pytest.fixture(autouse=True)
def instructions(monkeypatch):
    monkeypatch.setattr(dispatch, "bfloat16_unsupported_reason", lambda: "")


def run(program, place, out, flags):
    argv = f"--model_name_or_path {place / 'tiny'} --output_dir {out} --report 0 --logging_steps 1 "
    if program == "glue":
        argv += f"--task_name sst2 --data_dir {place / 'glue'} --max_seq_length 32 --do_train "
        return finetune.run(glue_args((argv + flags).split()))
    argv += f"--input_dir {place / 'shards'} --max_predictions_per_seq 4 "
    return pretrain.run(pretrain_args((argv + flags).split()))


def losses(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return {r["step"]: r["loss"] for r in map(json.loads, lines) if "loss" in r and "step" in r}


@pytest.mark.parametrize("program", ["glue", "pretrain"])
def test_a_resumed_run_equals_an_uninterrupted_one(place, tmp_path, program, capsys):
    out = tmp_path / "out"
    flags = "--max_steps 4 --save_steps 2 --batch_size 8 "
    run(program, place, out, flags + "--bf16")
    assert "matrix products in bfloat16 by oneDNN" in capsys.readouterr().err
    whole = losses(out), (out / "model_4" / "model.safetensors").read_bytes()
    shutil.rmtree(out / "model_4")
    run(program, place, out, flags + "--bf16" + RESUME)
    assert "matrix products in bfloat16 by oneDNN" in capsys.readouterr().err
    assert (losses(out), (out / "model_4" / "model.safetensors").read_bytes()) == whole
    run(program, place, tmp_path / "float32", flags)
    exact = losses(tmp_path / "float32")
    assert whole[0] != exact and whole[0] == pytest.approx(exact, rel=2e-2)


def test_a_machine_without_the_instructions_resumes_in_float32(
    place, tmp_path, monkeypatch, capsys
):
    flags = "--max_steps 4 --save_steps 2 --batch_size 8 --bf16"
    run("glue", place, tmp_path, flags)
    shutil.rmtree(tmp_path / "model_4")
    monkeypatch.setattr(dispatch, "bfloat16_unsupported_reason", lambda: "no instructions")
    run("glue", place, tmp_path, flags + RESUME)
    said = capsys.readouterr().err
    assert "computing in float32 (no instructions)" in said
    assert "matrix products in bfloat16 before and float32 now" in said


def test_evaluation_and_prediction_compute_in_bfloat16(place, tmp_path, capsys):
    run("glue", place, tmp_path, "--max_steps 2 --batch_size 8")
    flags = f"--task_name sst2 --data_dir {place / 'glue'} --max_seq_length 32 --do_eval "
    flags += f"--report 0 --model_name_or_path {tmp_path / 'model_2'} --output_dir "
    exact = finetune.run(glue_args((flags + f"{tmp_path / 'a'}").split()))
    rounded = finetune.run(glue_args((flags + f"{tmp_path / 'b'} --bf16").split()))
    assert exact["eval_loss"] != rounded["eval_loss"]
    assert exact["eval_loss"] == pytest.approx(rounded["eval_loss"], rel=2e-2)


def test_predict_computes_in_bfloat16(place, tmp_path, monkeypatch, capsys):
    def shares(*flags: str) -> tuple[list[float], str]:
        predict.main([str(place / "tiny"), "the cat sat on a mat", "--json", *flags])
        out, err = capsys.readouterr()
        return list(json.loads(out)["probabilities"].values()), err

    exact, _ = shares()
    rounded, said = shares("--bf16")
    assert exact != rounded and exact == pytest.approx(rounded, abs=2e-2)
    assert said.splitlines()[-1] == "encoder: matrix products in bfloat16 by oneDNN"
    monkeypatch.setattr(dispatch, "bfloat16_unsupported_reason", lambda: "no instructions")
    same, said = shares("--bf16")
    line = "warning: --bf16 has no effect: computing in float32 (no instructions)"
    assert same == exact and said.splitlines()[-1] == line


def test_float16_is_one_warning(place, tmp_path, capsys):
    run("glue", place, tmp_path, "--max_steps 1 --batch_size 8 --fp16")
    lines = capsys.readouterr().err.splitlines()
    [line] = [line for line in lines if "use_amp" in line]
    assert line.startswith("warning: --use_amp has no effect on the CPU: computing in float32")


def test_it_is_off_where_the_layers_compute(place, tmp_path, capsys):
    run("glue", place, tmp_path, "--max_steps 1 --batch_size 8 --bf16 --cpu_kernels 0")
    assert "only this package's kernels compute in bfloat16" in capsys.readouterr().err
