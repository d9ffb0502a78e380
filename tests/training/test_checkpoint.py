"""Checkpoints are whole or are none; the newest whole one is found; what is kept and what goes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import OutputError
from bert_paddle.training import checkpoint, train_state
from bert_paddle.training.train_state import TrainState

TENSORS = {"w|moment1_0": np.arange(6, dtype=np.float32)}


def write_model(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")


def save(out: Path, step: int) -> Path:
    return checkpoint.save(out, TrainState(total=9, step=step), TENSORS, write_model)


def test_what_is_saved_is_read_back(tmp_path):
    state = TrainState(total=9, step=4, epoch=1, rows=16, best_metric=0.25)
    state.window_losses = {"loss": [0.5]}
    folder = checkpoint.save(tmp_path, state, TENSORS, write_model)
    again, tensors = checkpoint.load(folder)
    assert again == state
    assert np.array_equal(tensors["w|moment1_0"], TENSORS["w|moment1_0"])
    manifest = json.loads((folder / "manifest.json").read_text())["files"]
    assert manifest["model.safetensors"]["bytes"] == 7
    assert set(manifest) == {"model.safetensors", checkpoint.STATE, checkpoint.OPTIMIZER}


@pytest.mark.parametrize("stage", ["write_model", "write_tensors", "write_json", "seal", "_swap"])
def test_breaking_off_leaves_the_earlier_ones_and_no_half_one(tmp_path, monkeypatch, stage):
    save(tmp_path, 1)

    def broken(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(globals(), stage, broken) if stage == "write_model" else None
    for place in (checkpoint, atomic_files):
        if hasattr(place, stage):
            monkeypatch.setattr(place, stage, broken)
    with pytest.raises(OSError):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model_1"]
    assert checkpoint.latest_complete(tmp_path, print) == tmp_path / "model_1"


def test_a_step_saved_again_replaces_the_old_one(tmp_path):
    save(tmp_path, 3)
    folder = checkpoint.save(tmp_path, TrainState(total=9, step=3, epoch=7), TENSORS, write_model)
    assert checkpoint.load(folder)[0].epoch == 7
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
    assert checkpoint.latest_complete(tmp_path, told.append) == tmp_path / "model_1"
    assert len(told) == 1 and "model_2" in told[0] and said in told[0]
    with pytest.raises(OutputError, match=said):
        checkpoint.load(tmp_path / "model_2")


def test_a_state_of_another_version_is_refused(tmp_path):
    folder = checkpoint.save(tmp_path, TrainState(total=1, version=99), TENSORS, write_model)
    with pytest.raises(OutputError, match="version 99"):
        checkpoint.load(folder)


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
    assert checkpoint.saved_steps(tmp_path) == kept  # numbers, not names: 10 is newer than 4


def test_differences_are_named():
    saved = TrainState(total=1, args={"learning_rate": 1.0, "save_steps": 1}, fingerprint="a")
    now = TrainState(total=1, args={"learning_rate": 2.0, "save_steps": 9}, fingerprint="b")
    with pytest.raises(OutputError) as caught:
        train_state.check_same_run(saved, now, Path("model_1"))
    assert "--learning_rate was 1.0 and is 2.0" in str(caught.value)
    assert "the training data, its labels or the vocabulary have changed" in str(caught.value)
    assert "save_steps" not in str(caught.value)
    now.args["learning_rate"], now.fingerprint = 1.0, "a"
    train_state.check_same_run(saved, now, Path("model_1"))


def test_a_failed_replacement_puts_the_old_one_back(tmp_path, monkeypatch):
    save(tmp_path, 3)
    real = Path.rename

    def rename(self, target):
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError):
        save(tmp_path, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["model_3"]
    assert checkpoint.find_damage(tmp_path / "model_3") is None


def test_a_save_is_the_newest_one_and_survives_the_deletion_of_old_ones(tmp_path):
    """A run that began anew, as all checkpoints were damaged, is not to lose its own first one."""
    (save(tmp_path, 4) / "model.safetensors").write_bytes(b"")
    save(tmp_path, 2)
    checkpoint.prune(tmp_path, 1, None)
    assert checkpoint.latest_complete(tmp_path, print) == tmp_path / "model_2"
    assert (tmp_path / "model_4.aside").is_dir()


def test_what_was_set_aside_stays_when_more_is(tmp_path):
    for _ in range(3):
        save(tmp_path, 2)
        assert checkpoint.set_aside_newer(tmp_path, 1)
    names = ["model_2.aside", "model_2.aside2", "model_2.aside3"]
    assert sorted(p.name for p in checkpoint.run_artifacts(tmp_path)) == names
    assert all(checkpoint.find_damage(tmp_path / name) is None for name in names)


def test_the_whole_one_of_two_of_a_step_is_kept(tmp_path):
    """A crash while a checkpoint was replaced: the new one, unless only the old one is whole."""
    for damaged, kept in (("model_2", 1), ("model_2.old", 9), (None, 9)):
        out = tmp_path / str(damaged)
        for total, name in ((9, "new"), (1, "model_2.old")):
            folder = checkpoint.save(out, TrainState(total, 2), TENSORS, write_model)
            folder.rename(out / name)
        (out / "new").rename(out / "model_2")
        if damaged:
            (out / damaged / "model.safetensors").write_bytes(b"")
        checkpoint.clear_leftovers(out)
        assert [p.name for p in out.iterdir()] == ["model_2"]
        assert checkpoint.load(out / "model_2")[0].total == kept


def test_only_what_runs_leave_is_tidied_up(tmp_path):
    for name in ("model_2.partial", "model_3.gone", "predictions.gone", "model_x.partial"):
        (tmp_path / name).mkdir()
    for name in (".metrics.jsonl.12.part", ".notes.12.part", "model_2.old.txt"):
        (tmp_path / name).write_text("")
    checkpoint.clear_leftovers(tmp_path)
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"model_x.partial", ".notes.12.part", "model_2.old.txt"}


def test_a_resume_reads_each_file_once_and_another_time_again(tmp_path, monkeypatch):
    folder, read = save(tmp_path, 2), []
    real = atomic_files.sha256
    monkeypatch.setattr(atomic_files, "sha256", lambda path: read.append(path) or real(path))
    checkpoint.load(checkpoint.latest_complete(tmp_path, print))
    assert len(read) == len(set(read)) == 3
    (folder / "model.safetensors").write_bytes(b"weightz")
    with pytest.raises(OutputError, match="checksum"):
        checkpoint.load(folder)
