"""`run_pretrain.py --do_eval` without --do_train: a given model on held-out shards."""

import json
import re

import pytest
import shard_files
import tiny
from test_pretrain import EVAL_LINE

from bert_paddle.common.errors import DataError, FlagError, WeightsError
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args
from bert_paddle.pretrain.data import schema


@pytest.fixture
def run(tiny_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for role, count, first in ((schema.TRAINING, 16, 0), (schema.TEST, 10, 60)):
        rows = shard_files.make_rows(count, first, vocab_size=tiny.CONFIG["vocab_size"])
        shard_files.write_shard(tmp_path / "shards" / schema.shard_name("t", role, 0), rows)

    def call(flags: str, model=tiny_dir):
        argv = f"--model_name_or_path {model} --report 0 --batch_size 8 "
        argv += "--max_predictions_per_seq 4 --input_dir shards "
        return pretrain.run(parse_args((argv + flags).split()))

    return call


def eval_metrics(values: dict) -> dict:
    return {
        name: value
        for name, value in values.items()
        if name.startswith("eval_") and "second" not in name and name not in ("eval_runtime",)
    }


def test_a_checkpoint_has_the_metrics_of_its_run(run, tmp_path, capsys):
    trained = run("--output_dir out --max_steps 2")
    line = capsys.readouterr().out.splitlines()[-1]
    assert EVAL_LINE.fullmatch(line)
    (tmp_path / "shards" / schema.shard_name("t", schema.TRAINING, 0)).unlink()
    values = run("--do_eval --output_dir scores", model=tmp_path / "out" / "model_2")
    assert capsys.readouterr().out.splitlines() == [line]
    differing = {"eval_step", "eval_model"}
    expected = eval_metrics(trained)
    assert {k: v for k, v in eval_metrics(values).items() if k not in differing} == {
        k: v for k, v in expected.items() if k not in differing
    }
    assert values["eval_model"].endswith("model_2") and "global_step" not in values
    files = {path.name for path in (tmp_path / "scores").iterdir()}
    assert not any(name.startswith("model_") for name in files)
    results = json.loads((tmp_path / "scores" / "all_results.json").read_text())
    assert results["eval_loss"] == values["eval_loss"]


def test_what_cannot_be_evaluated(run, tmp_path):
    with pytest.raises(WeightsError, match="without training .the weights have no cls.predictions"):
        run("--do_eval --output_dir scores")
    with pytest.raises(DataError, match=r"no held-out shard to evaluate on: --eval_pattern"):
        run("--do_eval --output_dir scores --eval_pattern none")
    with pytest.raises(FlagError, match="--resume_from_checkpoint needs training"):
        run("--do_eval --output_dir scores --resume_from_checkpoint auto")
    with pytest.raises(FlagError, match="nothing to do"):
        run("--do_train 0 --output_dir scores")


@pytest.mark.parametrize(
    ("flags", "actions"),
    [
        ("", (True, True)),
        ("--do_eval", (False, True)),
        ("--do_eval 0", (True, False)),
        ("--do_train", (True, False)),
        ("--do_train --do_eval", (True, True)),
        ("--do_train 0 --do_eval", (False, True)),
    ],
)
def test_what_is_done(tmp_path, flags, actions):
    argv = f"--model_name_or_path m --input_dir {tmp_path} --output_dir o {flags}"
    args = parse_args(argv.split())
    assert (args.do_train, args.do_eval) == actions


def test_settings_of_versions_without_do_train_train(tmp_path):
    settings = tmp_path / "settings.yaml"
    argv = f"--model_name_or_path m --input_dir {tmp_path} --output_dir o --config {settings}"
    for text, actions in (
        ("do_eval: true\n", (True, True)),
        ("do_eval: false\n", (True, False)),
        ("do_eval: true\ndo_train: false\n", (False, True)),
    ):
        settings.write_text(text)
        args = parse_args(argv.split())
        assert (args.do_train, args.do_eval) == actions
    assert re.search("do_train", str(parse_args(argv.split()).as_dict()))
