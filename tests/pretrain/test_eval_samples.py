"""--max_eval_samples: which held-out rows are evaluated, and what a resumed run keeps."""

from pathlib import Path

import numpy as np
import old_states
import pytest
import shard_files
import tiny

from bert_paddle.pretrain import pretrain
from bert_paddle.pretrain.args import PretrainArgs, parse_args
from bert_paddle.pretrain.data import schema
from bert_paddle.pretrain.data.loader import eval_row_ranges
from bert_paddle.pretrain.data.shards import ShardSet


def shard_set(*rows: int) -> ShardSet:
    paths = tuple(Path(f"{i}.hdf5") for i in range(len(rows)))
    return ShardSet(paths, rows, 16, 4, 100, 2)


def sampled(shards: ShardSet, batch_size: int, max_rows: int) -> np.ndarray:
    """The evaluated rows, counted over all shards."""
    starts = np.cumsum([0, *shards.rows])
    ranges = eval_row_ranges(shards, batch_size, max_rows)
    assert all(r.stop - r.start <= batch_size for r in ranges)
    return np.concatenate([starts[r.shard] + np.arange(r.start, r.stop) for r in ranges])


@pytest.mark.parametrize(
    ("rows", "max_rows"),
    [((6499,), 2048), ((20,) * 300, 2048), ((5000, 3, 1200), 2048), ((40, 40), 33), ((7, 9), 7)],
)
def test_the_sample_is_spread_evenly_and_the_same_for_any_batch_size(rows, max_rows):
    shards = shard_set(*rows)
    expected = sampled(shards, 32, max_rows)
    assert len(expected) == len(set(expected.tolist())) == max_rows
    for batch_size in (1, 5, 64, 10_000):
        assert np.array_equal(sampled(shards, batch_size, max_rows), expected)
    if max_rows >= 1000:
        # Every tenth of the rows has about a tenth of the sample.
        counts, _ = np.histogram(expected, bins=10, range=(0, shards.total))
        assert counts.min() > 0.6 * max_rows / 10


def test_all_rows():
    for max_rows in (-1, 100, 101):
        assert sampled(shard_set(60, 40), 32, max_rows).tolist() == list(range(100))


def test_the_default_and_the_earlier_name():
    assert PretrainArgs().max_eval_samples == 2048
    argv = "--model_name_or_path bert-base-uncased --input_dir . --output_dir o --max_eval_rows 5"
    assert parse_args(argv.split()).max_eval_samples == 5


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    tiny.write_model(tmp_path / "model")
    for kind, count, first in ((schema.TRAINING, 24, 0), (schema.TEST, 100, 30)):
        rows = shard_files.make_rows(count, first, vocab_size=tiny.CONFIG["vocab_size"])
        shard_files.write_shard(tmp_path / "shards" / schema.shard_name("t", kind, 0), rows)
    monkeypatch.setattr(PretrainArgs, "max_eval_samples", 64)
    field = next(f for f in PretrainArgs.__dataclass_fields__.values() if f.name[:8] == "max_eval")
    monkeypatch.setattr(field, "default", 64)

    def call(flags: str) -> tuple[dict, str]:
        argv = f"--model_name_or_path {tmp_path}/model --input_dir {tmp_path}/shards --report 0 "
        argv += f"--output_dir {tmp_path}/out --num_train_epochs 2 --logging_steps 100 {flags}"
        results = pretrain.run(parse_args(argv.split()))
        return results, capsys.readouterr().err

    return call


def test_the_size_is_printed_and_kept_by_a_resume(run, tmp_path):
    results, err = run("--max_eval_samples 40 --max_steps 2")
    assert results["eval_samples"] == 40
    line = (
        "evaluation: 40 of 100 held-out rows, spread evenly over them (--max_eval_samples -1: all)"
    )
    assert line in err.splitlines()
    results, err = run("--resume_from_checkpoint auto")
    assert results["eval_samples"] == 40 and line in err.splitlines()
    results, err = run("--resume_from_checkpoint auto --max_eval_samples -1")
    assert results["eval_samples"] == 100 and "held-out rows, spread" not in err


def test_a_run_of_an_earlier_version_goes_on_with_all_rows(run, tmp_path):
    """Its default, by its earlier name; its state lacks fields of today's."""
    run("--max_steps 2")
    folder = tmp_path / "out" / "model_2"

    def name_as_before(args: dict) -> None:
        del args["max_eval_samples"]
        args["max_eval_rows"] = -1

    old_states.make_older(folder, change=name_as_before)
    results, _ = run("--resume_from_checkpoint auto")
    assert results["eval_samples"] == 100
