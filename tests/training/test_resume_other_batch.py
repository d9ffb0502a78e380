"""A run resumed with another batch size, accumulation or number of epochs sees each row as often as
planned, and its learning rate goes on to the end of the schedule."""

import json
import shutil
from collections import Counter

import pytest
import shard_files
import tiny

from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args as glue_args
from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import parse_args as pretrain_args
from bert_paddle.pretrain.data import loader, schema
from bert_paddle.training import checkpoint
from bert_paddle.training.train_loader import TrainLoader

ROWS = 50


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("other_batch")
    tiny.write_model(place / "tiny")
    tiny.write_sst2(place / "glue" / "SST-2", train=ROWS, dev=4)
    vocab_size = tiny.CONFIG["vocab_size"]
    for number, (count, first) in enumerate(((31, 0), (19, 31))):
        rows = shard_files.make_rows(count, first, vocab_size=vocab_size)
        rows["input_ids"][:, 1] = range(10 + first, 10 + first + count)  # tells the rows apart
        path = place / "shards" / schema.shard_name("t", schema.TRAINING, number)
        shard_files.write_shard(path, rows)
    return place


@pytest.fixture
def trained(monkeypatch):
    """Which rows are trained on, in order."""
    trained: list[int] = []
    original_batches, original_collate = TrainLoader._micro_batches, loader.collate

    def micro_batches(self, rows):
        trained.extend(rows.tolist())
        return original_batches(self, rows)

    def collate(rows, *args):
        trained.extend(int(ids[1]) for ids in rows["input_ids"])
        return original_collate(rows, *args)

    monkeypatch.setattr(TrainLoader, "_micro_batches", micro_batches)
    monkeypatch.setattr(loader, "collate", collate)
    return trained


def run(program, place, out, flags):
    argv = f"--model_name_or_path {place / 'tiny'} --output_dir {out} --report 0 "
    argv += "--logging_steps 1 --learning_rate 1e-3 "
    if program == "glue":
        argv += f"--task_name sst2 --data_dir {place / 'glue'} --do_train --max_seq_length 32 "
        return finetune.run(glue_args((argv + flags).split()))
    argv += f"--input_dir {place / 'shards'} --max_predictions_per_seq 4 "
    return pretrain.run(pretrain_args((argv + flags).split()))


def crashed_after(out, step):
    """As after a crash: without the checkpoints after a step."""
    for later in checkpoint.saved_steps(out):
        if later > step:
            shutil.rmtree(out / f"model_{later}")


def train_records(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == "train"]


CHANGES = {
    "smaller": ("--batch_size 8", "--batch_size 5", 3 + 6 + 10),
    "larger": ("--batch_size 8", "--batch_size 20", 3 + 2 + 3),
    "an epoch at once": ("--batch_size 8", "--batch_size 50", 3 + 1 + 1),
    "accumulation": (
        "--batch_size 8",
        "--batch_size 8 --gradient_accumulation_steps 2",
        3 + 2 + 4,
    ),
    "no accumulation": (
        "--batch_size 4 --gradient_accumulation_steps 2",
        "--batch_size 4",
        3 + 7 + 13,
    ),
}


@pytest.mark.parametrize(
    ("program", "change"),
    [*(("glue", change) for change in CHANGES), ("pretrain", "smaller"), ("pretrain", "larger")],
)
def test_each_row_is_seen_once_an_epoch(place, trained, tmp_path, capsys, program, change):
    before, after, total = CHANGES[change]
    out, epochs = tmp_path / "out", "--num_train_epochs 2 --save_steps 3"
    run(program, place, out, f"{epochs} {before}")
    crashed_after(out, 3)
    rates = [record["learning_rate"] for record in train_records(out)]
    first = trained[:24]
    trained.clear()
    values = run(program, place, out, f"{epochs} {after} --resume_from_checkpoint auto")
    assert values["global_step"] == total and values["epoch"] == 2
    seen = first + trained
    assert len(seen) == 2 * ROWS
    assert set(Counter(seen[:ROWS]).values()) == set(Counter(seen[ROWS:]).values()) == {1}
    error_output = capsys.readouterr().err
    assert f"for 2 epochs there are now {total} steps in total, not 14" in error_output
    records = train_records(out)
    assert [record["step"] for record in records] == list(range(1, total + 1))
    resumed = [record["learning_rate"] for record in records[3:]]
    assert resumed[0] == rates[3] and resumed == sorted(resumed, reverse=True)
    # At an even pace, so that the step after the last would have a learning rate of 0.
    assert resumed[-1] == pytest.approx(resumed[0] / len(resumed))


def test_two_resumes_with_other_batches(place, trained, tmp_path):
    out, flags = tmp_path / "out", "--num_train_epochs 2 --save_steps 1 --warmup_steps 5 "
    resume = "--resume_from_checkpoint auto"
    run("glue", place, out, f"{flags} --batch_size 8")
    crashed_after(out, 2)
    seen = trained[:16]
    trained.clear()
    run("glue", place, out, f"{flags} --batch_size 3 {resume}")
    crashed_after(out, 6)
    seen += trained[:12]
    trained.clear()
    values = run("glue", place, out, f"{flags} --batch_size 25 {resume}")
    seen += trained
    assert values["global_step"] == 6 + 1 + 2 and values["epoch"] == 2
    assert sorted(seen[:ROWS]) == sorted(seen[ROWS:]) == list(range(ROWS))
    rates = [record["learning_rate"] for record in train_records(out)]
    # Warm-up of 40 rows: 16, then 12 of three, then one step of 25.
    assert rates[:3] == pytest.approx([0, 2e-4, 4e-4])
    assert rates[2:7] == pytest.approx([4e-4 + 1e-3 * 3 * k / 40 for k in range(5)])
    unchanged = [record["learning_rate"] for record in train_records(out)]
    crashed_after(out, 7)
    run("glue", place, out, f"{flags} --batch_size 25 {resume}")
    assert [record["learning_rate"] for record in train_records(out)] == unchanged


@pytest.mark.parametrize("program", ["glue", "pretrain"])
def test_max_steps_keep_steps_and_learning_rates(place, trained, tmp_path, capsys, program):
    out, flags = tmp_path / "out", "--max_steps 8 --save_steps 3 "
    run(program, place, out, f"{flags} --batch_size 8")
    rates = [record["learning_rate"] for record in train_records(out)]
    crashed_after(out, 3)
    values = run(program, place, out, f"{flags} --batch_size 5 --resume_from_checkpoint auto")
    assert values["global_step"] == 8
    assert [record["learning_rate"] for record in train_records(out)] == rates
    assert "--max_steps keeps the 8 steps" in capsys.readouterr().err


def test_more_epochs_after_the_end_are_trained(place, trained, tmp_path, capsys):
    out = tmp_path / "out"
    run("glue", place, out, "--num_train_epochs 1 --batch_size 10")
    trained.clear()
    flags = "--num_train_epochs 2 --batch_size 10 --resume_from_checkpoint auto"
    assert run("glue", place, out, flags)["global_step"] == 10
    assert sorted(trained) == list(range(ROWS))
    assert "--num_train_epochs was 1 and is 2" in capsys.readouterr().err
    rates = [record["learning_rate"] for record in train_records(out)]
    assert rates[5:] == pytest.approx([5e-4, 4e-4, 3e-4, 2e-4, 1e-4])


@pytest.mark.parametrize("program", ["glue", "pretrain"])
def test_more_max_steps_after_the_end_are_trained(place, trained, tmp_path, capsys, program):
    out = tmp_path / "out"
    run(program, place, out, "--max_steps 4 --batch_size 10")
    seen = list(trained)
    # An unchanged resume of a finished run trains nothing.
    flags = "--batch_size 10 --resume_from_checkpoint auto"
    assert run(program, place, out, f"--max_steps 4 {flags}")["global_step"] == 4
    assert trained == seen
    values = run(program, place, out, f"--max_steps 8 {flags}")
    assert values["global_step"] == 8 and (out / "model_8" / "manifest.json").is_file()
    assert len(trained) == 80 and len(set(trained[:ROWS])) == ROWS
    said = capsys.readouterr().err
    assert "the run had finished, --max_steps was 4 and is 8" in said
    assert "there are now 8 steps in total, not 4" in said
    rates = [record["learning_rate"] for record in train_records(out)]
    assert rates[4:] == pytest.approx([5e-4, 3.75e-4, 2.5e-4, 1.25e-4])
    # Without a limit, to the planned epochs.
    assert run(program, place, out, f"--num_train_epochs 2 {flags}")["global_step"] == 10
