"""--save_strategy epoch, and the metrics of each epoch in metrics.jsonl and on stderr."""

import json
from pathlib import Path

import numpy as np
import pytest
import same
import tiny

from bert_paddle.glue import finetune, results
from bert_paddle.glue.args import parse_args
from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.evaluate import EvalResult
from bert_paddle.glue.tasks import DevSet
from bert_paddle.training import checkpoint, epoch_metrics


@pytest.fixture(scope="session")
def sst2_of_44(tmp_path_factory) -> Path:
    """44 training rows: in batches of 8, six steps an epoch, the last one of four rows."""
    return tiny.write_sst2(tmp_path_factory.mktemp("epochs") / "SST-2", train=44).parent


@pytest.fixture
def run(tiny_dir, sst2_of_44, tmp_path):
    def call(*flags: str, out: str = "out"):
        argv = f"--task_name sst2 --model_name_or_path {tiny_dir} --data_dir {sst2_of_44} "
        argv += f"--output_dir {tmp_path / out} --batch_size 8 --max_seq_length 32 --report 0 "
        argv += "--logging_steps 1 --learning_rate 1e-2"
        return finetune.run(parse_args([*argv.split(), *flags]))

    return call


def records(folder: Path, kind: str) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]


def test_each_epoch_is_evaluated_saved_and_recorded(run, tmp_path, capsys):
    run(*"--num_train_epochs 2.5 --save_strategy epoch --save_steps 1".split())
    out = tmp_path / "out"
    assert checkpoint.saved_steps(out) == [6, 12, 15]
    epochs, evaluations = records(out, "epoch"), records(out, "eval")
    assert [(r["step"], r["epoch"]) for r in epochs] == [
        (6, 1),
        (12, 2),
        (15, 2.5),
    ]
    for epoch, evaluation in zip(epochs, evaluations, strict=True):
        assert epoch["step"] == evaluation["step"]
        assert (epoch["eval_loss"], epoch["accuracy"]) == (
            evaluation["loss"],
            evaluation["accuracy"],
        )
        assert epoch["train_seconds"] > 0 and epoch["eval_seconds"] > 0
    losses = {r["step"]: r["loss"] for r in records(out, "train")}
    # The mean over rows: an epoch's last step, of 4 rows, counts half as much as another.
    for steps, epoch in zip((range(1, 7), range(7, 13), range(13, 16)), epochs, strict=True):
        weights = [4 if step % 6 == 0 else 8 for step in steps]
        expected = np.average([losses[step] for step in steps], weights=weights)
        assert epoch["train_loss"] == pytest.approx(expected, rel=1e-6)
    error_output = capsys.readouterr().err
    lines = [line for line in error_output.splitlines() if line.startswith("after epoch ")]
    assert lines[0].startswith(f"after epoch 1, step 6: train loss {epochs[0]['train_loss']:.4f}")
    assert f"eval loss {epochs[0]['eval_loss']:.4f}, accuracy" in lines[0] and len(lines) == 3
    table = error_output.split("epoch  step  train loss")[1].splitlines()
    assert [line.split()[:2] for line in table[1:4]] == [["1", "6"], ["2", "12"], ["2.5", "15"]]


def test_seconds_of_epochs_add_up_to_the_training_time(run, tmp_path):
    values = run(*"--num_train_epochs 2 --save_strategy epoch".split())
    epochs = records(tmp_path / "out", "epoch")
    assert sum(r["train_seconds"] for r in epochs) == pytest.approx(
        values["train_runtime"], rel=0.1
    )
    assert all(r["train_seconds"] < values["train_runtime"] for r in epochs)


def test_interrupted_epoch_has_the_loss_of_an_uninterrupted_one(run, tmp_path, monkeypatch):
    run(*"--num_train_epochs 2 --save_strategy epoch".split(), out="uninterrupted")
    real_prune = checkpoint.prune

    def interrupt(*args):
        monkeypatch.setattr(checkpoint, "prune", real_prune)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "prune", interrupt)  # after model_4, in the middle of an epoch
    with pytest.raises(KeyboardInterrupt):
        run(*"--num_train_epochs 2 --save_steps 4".split(), out="interrupted")
    assert checkpoint.saved_steps(tmp_path / "interrupted") == [4]
    resume = "--num_train_epochs 2 --save_strategy epoch --resume_from_checkpoint auto"
    run(*resume.split(), out="interrupted")
    assert checkpoint.saved_steps(tmp_path / "interrupted") == [4, 6, 12]
    uninterrupted, resumed = (
        same.records(tmp_path / name) for name in ("uninterrupted", "interrupted")
    )
    evaluations_at_4 = [r for r in resumed if r["kind"] == "eval" and r["step"] == 4]
    assert len(evaluations_at_4) == 1
    assert uninterrupted == [r for r in resumed if r not in evaluations_at_4]


def test_with_save_steps_only_an_evaluation_at_an_epochs_end_is_recorded(run, tmp_path, capsys):
    run(*"--num_train_epochs 2 --save_steps 5".split())
    assert [r["step"] for r in records(tmp_path / "out", "eval")] == [5, 10, 12]
    assert [(r["step"], r["epoch"]) for r in records(tmp_path / "out", "epoch")] == [(12, 2)]
    assert "epoch  step" not in capsys.readouterr().err  # one epoch is no table


def test_without_evaluation_a_checkpoint_but_no_record_is_written(run, tmp_path):
    run(*"--do_train --num_train_epochs 1 --save_strategy epoch".split())
    assert checkpoint.saved_steps(tmp_path / "out") == [6]
    assert records(tmp_path / "out", "epoch") == []


def test_the_second_dev_set_has_its_suffix():
    data = EncodedData(dev=[(DevSet("a.tsv", 1), None), (DevSet("b.tsv", 1, suffix="_mm"), None)])
    evaluated = [EvalResult(0.5, {"accuracy": 0.75}), EvalResult(0.25, {"accuracy": 1.0})]
    assert results.epoch_values(data, evaluated) == {
        "eval_loss": 0.5,
        "accuracy": 0.75,
        "eval_loss_mm": 0.25,
        "accuracy_mm": 1.0,
    }


def test_the_table_is_aligned_and_has_a_dash_for_a_missing_number():
    lines = epoch_metrics.format_epoch_table(
        [
            {"kind": "epoch", "step": 9, "epoch": 1, "train_loss": 0.5, "train_seconds": 61.26},
            {"kind": "epoch", "step": 18, "epoch": 2, "train_loss": None, "train_seconds": 5},
        ]
    ).splitlines()
    assert lines == [
        "epoch  step  train loss  train seconds",
        "    1     9      0.5000           61.3",
        "    2    18           -            5.0",
    ]


@pytest.mark.parametrize("odd", ["x", None, [1], {}, True, 10**400, float("nan")], ids=repr)
def test_the_table_shows_odd_values_as_a_dash(odd):
    table = epoch_metrics.format_epoch_table([{"step": 1, "epoch": odd, "train_loss": odd}])
    assert table.splitlines()[1].split() == ["-", "1", "-"]
