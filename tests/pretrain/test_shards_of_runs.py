"""The shards of pre-training runs: roles of the files, rows without masked tokens."""

import json
import shutil
from pathlib import Path

import numpy as np
import old_states
import pytest
import shard_files
import tiny
from safetensors.numpy import load_file

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args
from bert_paddle.training import checkpoint


@pytest.fixture
def run(tiny_dir, tmp_path):
    """Runs pre-training in this process on the shards in tmp_path/shards."""

    def call(flags: str, out: str = "out"):
        argv = f"--model_name_or_path {tiny_dir} --input_dir {tmp_path / 'shards'} "
        argv += f"--output_dir {tmp_path / out} --report 0 --learning_rate 1e-2 {flags}"
        return pretrain.run(parse_args(argv.split()))

    return call


def write(folder: Path, name: str, count: int, first: int = 0, without: tuple[int, ...] = ()):
    """A shard of rows for the tiny model. without: rows that have no predictions."""
    rows = shard_files.make_rows(count, first, vocab_size=tiny.CONFIG["vocab_size"])
    for row in without:
        shard_files.set_predictions(rows, row, (), ())
    return shard_files.write_shard(folder / "shards" / name, rows)


def records(out: Path, kind: str) -> list[dict]:
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["kind"] == kind]


def test_roles_are_printed_and_held_out_shards_are_not_trained_on(run, tmp_path, capsys):
    write(tmp_path, "wiki_0.hdf5", 8)
    for i, name in enumerate(("test", "wiki_test", "valid_0")):
        write(tmp_path, f"{name}.hdf5", 2, 20 + 2 * i)
    write(tmp_path, "more.h5", 4)
    write(tmp_path, "my_test_corpus_00.hdf5", 4, 60)
    values = run("--max_steps 1")
    assert (values["train_samples"], values["eval_samples"]) == (12, 6)
    err = capsys.readouterr().err
    roles = [
        "training shards: 2: my_test_corpus_00.hdf5, wiki_0.hdf5",
        "held-out shards: 3: test.hdf5, valid_0.hdf5, wiki_test.hdf5",
        "not read: more.h5 (not named *.hdf5)",
        "warning: my_test_corpus_00.hdf5 is trained on, although its name suggests held-out rows",
    ]
    places = [err.index(role) for role in roles]
    assert places == sorted(places) and places[-1] < err.index("training: 12 rows")
    values = run("--max_steps 1 --eval_pattern my_test_*,valid*", out="pattern")
    assert (values["train_samples"], values["eval_samples"]) == (12, 6)
    with pytest.raises(DataError, match=r"--eval_pattern dev\*: no shard in .* matches"):
        run("--max_steps 1 --eval_pattern dev*", out="wrong")


@pytest.mark.parametrize("with_test", [True, False])
def test_a_resumed_run_keeps_its_roles(run, tmp_path, capsys, with_test):
    """Also one of a version that trained on valid_0, and held out names with _test_ only."""
    write(tmp_path, "wiki_0.hdf5", 8)
    write(tmp_path, "valid_0.hdf5", 8, 20)
    if with_test:
        write(tmp_path, "my_test_corpus_0.hdf5", 2, 40)
    pattern = "*_test_*" if with_test else "none"
    run(f"--max_steps 3 --save_steps 1 --eval_pattern {pattern}", out="whole")
    run(f"--max_steps 3 --save_steps 1 --eval_pattern {pattern}")
    for step in (2, 3):
        shutil.rmtree(tmp_path / "out" / f"model_{step}")
    model_dir = tmp_path / "out" / "model_1"
    old_states.make_older(model_dir, change=lambda args: args.pop("eval_pattern"))
    capsys.readouterr()
    run("--max_steps 3 --save_steps 1 --resume_from_checkpoint auto")
    assert f"resuming with --eval_pattern {pattern}" in capsys.readouterr().err
    assert checkpoint.saved_args(tmp_path / "out" / "model_2")["eval_pattern"] == pattern
    run("--max_steps 3 --save_steps 1 --resume_from_checkpoint auto")  # now the flag is saved
    assert "resuming with --eval_pattern" not in capsys.readouterr().err
    one, other = (tmp_path / out / "model_3" for out in ("whole", "out"))
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert all(np.array_equal(a[key], b[key]) for key in a)


def test_steps_without_masked_tokens_count_for_no_mean(run, tmp_path, capsys):
    write(tmp_path, "wiki_0.hdf5", 6, without=(0, 2, 3, 5))
    flags = "--num_train_epochs 1 --batch_size 1 --logging_steps {} --save_steps {}"
    run(flags.format(1, 10), out="each")
    output = capsys.readouterr()
    assert "mlm loss: 0.000000" not in output.out
    assert sum("mlm loss" in line for line in output.out.splitlines()) == 2
    assert "4 row(s) read so far have no masked token (wiki_0.hdf5)" in output.err
    each = records(tmp_path / "each", "train")
    masked = [r["mlm_loss"] for r in each if "mlm_loss" in r]
    assert len(masked) == 2 and all(loss > 0.1 for loss in masked)
    assert all(r["loss"] == r["nsp_loss"] for r in each if "mlm_loss" not in r)
    run(flags.format(6, 10), out="all")
    (window,) = records(tmp_path / "all", "train")
    assert window["mlm_loss"] == pytest.approx(sum(masked) / 2)
    assert window["nsp_loss"] == pytest.approx(sum(r["nsp_loss"] for r in each) / 6)
    # A resume in the middle of the window continues its counts.
    run(flags.format(6, 4), out="stopped")
    resumed = f"--resume_from_checkpoint {tmp_path / 'stopped' / 'model_4'}"
    run(f"{flags.format(6, 10)} {resumed}", out="on")
    (again,) = records(tmp_path / "on", "train")
    assert (again["mlm_loss"], again["nsp_loss"]) == (window["mlm_loss"], window["nsp_loss"])


@pytest.mark.parametrize("name", ["wiki_0.hdf5", "wiki_test_0.hdf5"])
def test_shards_without_masked_tokens_are_refused_before_training(run, tmp_path, name):
    write(tmp_path, "wiki_0.hdf5", 4)
    write(tmp_path, name, 4, without=(0, 1, 2, 3))
    with pytest.raises(DataError, match=rf"{name}: no row has a masked token"):
        run("--max_steps 2 --save_steps 1 --load_best_model_at_end")
    assert not (tmp_path / "out" / "model_1").exists()


def test_held_out_rows_without_masked_tokens_are_counted(run, tmp_path, capsys):
    write(tmp_path, "wiki_0.hdf5", 8)
    write(tmp_path, "test.hdf5", 4, without=(0, 2))
    values = run("--max_steps 2 --save_steps 1 --batch_size 1 --eval_batch_size 1")
    assert values["eval_samples"] == 4 and values["eval_perplexity"] > 1.1
    assert capsys.readouterr().err.count("2 row(s) read so far have no masked token") == 1


def test_a_label_at_position_0_stops_the_run(run, tmp_path):
    rows = shard_files.make_rows(4, vocab_size=tiny.CONFIG["vocab_size"])
    shard_files.set_predictions(rows, 2, (0, 5), (7, 8))
    shard_files.write_shard(tmp_path / "shards" / "wiki_0.hdf5", rows)
    with pytest.raises(DataError, match=r"wiki_0.hdf5: row 2 .*masked_lm_ids\[0\] is 7 at posi"):
        run("--max_steps 1")
