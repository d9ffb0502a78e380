"""Checkpoints are whole or are none; the newest whole one is found; what is kept and what goes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bert_paddle import checkpoint, files
from bert_paddle.checkpoint import TrainState
from bert_paddle.errors import OutputError

TENSORS = {"w|moment1_0": np.arange(6, dtype=np.float32)}


def write_model(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")


def save(out: Path, step: int) -> Path:
    return checkpoint.save(out, TrainState(total=9, step=step), TENSORS, write_model)


def test_what_is_saved_is_read_back(tmp_path):
    state = TrainState(total=9, step=4, epoch=1, update=2, best_metric=0.25)
    state.window_losses = {"loss": [0.5]}
    folder = checkpoint.save(tmp_path, state, TENSORS, write_model)
    again, tensors = checkpoint.read(folder)
    assert again == state
    assert np.array_equal(tensors["w|moment1_0"], TENSORS["w|moment1_0"])
    manifest = json.loads((folder / "manifest.json").read_text())["files"]
    assert manifest["model.safetensors"]["bytes"] == 7
    assert set(manifest) == {"model.safetensors", checkpoint.STATE, checkpoint.OPTIMIZER}


@pytest.mark.parametrize("stage", ["write_model", "write_tensors", "write_json", "_seal", "_swap"])
def test_breaking_off_leaves_the_earlier_ones_and_no_half_one(tmp_path, monkeypatch, stage):
    save(tmp_path, 1)

    def broken(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(globals(), stage, broken) if stage == "write_model" else None
    for place in (checkpoint, files):
        if hasattr(place, stage):
            monkeypatch.setattr(place, stage, broken)
    with pytest.raises(OSError):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model_1"]
    assert checkpoint.latest(tmp_path, print) == tmp_path / "model_1"


def test_a_step_saved_again_replaces_the_old_one(tmp_path):
    save(tmp_path, 3)
    folder = checkpoint.save(tmp_path, TrainState(total=9, step=3, epoch=7), TENSORS, write_model)
    assert checkpoint.read(folder)[0].epoch == 7
    assert [p.name for p in tmp_path.iterdir()] == ["model_3"]


def test_leftovers_of_a_crash_are_tidied_up(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2).rename(tmp_path / "model_2.old")  # killed between the two renames
    (tmp_path / "model_5.partial").mkdir()
    checkpoint.clear_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model_1", "model_2"]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda f: (f / "manifest.json").unlink(), "no manifest.json"),
        (lambda f: (f / "manifest.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.safetensors").unlink(), "is missing"),
        (lambda f: os.truncate(f / "model.safetensors", 3), "has 3 bytes, not 7"),
        (lambda f: (f / "model.safetensors").write_bytes(b"weightz"), "differs from its checksum"),
    ],
)
def test_a_damaged_one_is_passed_over_and_named(tmp_path, harm, said):
    save(tmp_path, 1)
    harm(save(tmp_path, 2))
    told: list[str] = []
    assert checkpoint.latest(tmp_path, told.append) == tmp_path / "model_1"
    assert len(told) == 1 and "model_2" in told[0] and said in told[0]
    with pytest.raises(OutputError, match=said):
        checkpoint.read(tmp_path / "model_2")


def test_a_state_of_another_version_is_refused(tmp_path):
    folder = checkpoint.save(tmp_path, TrainState(total=1, version=99), TENSORS, write_model)
    with pytest.raises(OutputError, match="version 99"):
        checkpoint.read(folder)


@pytest.mark.parametrize(
    ("limit", "best", "kept"),
    [
        (-1, None, [2, 4, 10]),
        (1, None, [10]),
        (1, 2, [2, 10]),
        (2, 2, [2, 4, 10]),
        (5, 4, [2, 4, 10]),
    ],
)
def test_pruning_keeps_the_newest_and_the_best(tmp_path, limit, best, kept):
    for step in (2, 4, 10):
        save(tmp_path, step)
    checkpoint.prune(tmp_path, limit, best)
    assert checkpoint.steps(tmp_path) == kept  # numbers, not names: 10 is newer than 4


def test_differences_are_named():
    saved = TrainState(total=1, args={"learning_rate": 1.0, "save_steps": 1}, rows_per_update=8)
    now = TrainState(total=1, args={"learning_rate": 2.0, "save_steps": 9}, rows_per_update=16)
    with pytest.raises(OutputError) as caught:
        checkpoint.check_same_run(saved, now, Path("model_1"))
    assert "--learning_rate was 1.0 and is 2.0" in str(caught.value)
    assert "an update was 8 rows and is 16" in str(caught.value)
    assert "save_steps" not in str(caught.value)
    now.args["learning_rate"], now.rows_per_update = 1.0, 8
    checkpoint.check_same_run(saved, now, Path("model_1"))
