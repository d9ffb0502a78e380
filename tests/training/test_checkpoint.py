"""Checkpoints: atomic writes, verification, finding the newest complete one, pruning, recovery."""

import json
import os
from pathlib import Path

import numpy as np
import old_states
import pytest

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import OutputError
from bert_paddle.training import checkpoint, run_files
from bert_paddle.training.train_state import TrainState

TENSORS = {"w|moment1_0": np.arange(6, dtype=np.float32)}


def write_model(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")


def save(out: Path, step: int) -> Path:
    return checkpoint.save(out, TrainState(total=9, step=step), TENSORS, write_model)


def test_save_and_load_round_trip(tmp_path):
    state = TrainState(total=9, step=4, epoch=1, rows=16, best_metric=0.25)
    state.window_losses = {"loss": [0.5]}
    folder = checkpoint.save(tmp_path, state, TENSORS, write_model)
    loaded, tensors = checkpoint.load(folder)
    assert loaded == state
    assert np.array_equal(tensors["w|moment1_0"], TENSORS["w|moment1_0"])
    manifest = json.loads((folder / "manifest.json").read_text())["files"]
    assert manifest["model.safetensors"]["bytes"] == 7
    assert set(manifest) == {"model.safetensors", checkpoint.STATE_FILE, checkpoint.OPTIMIZER_FILE}


@pytest.mark.parametrize(
    "stage", ["write_model", "write_tensors", "write_json", "write_manifest", "_swap"]
)
def test_failed_save_keeps_earlier_checkpoints_and_leaves_no_partial(tmp_path, monkeypatch, stage):
    save(tmp_path, 1)

    def raise_error(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(globals(), stage, raise_error) if stage == "write_model" else None
    for module in (checkpoint, atomic_files):
        if hasattr(module, stage):
            monkeypatch.setattr(module, stage, raise_error)
    with pytest.raises(OSError):
        save(tmp_path, 2)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model_1"]
    assert checkpoint.latest_complete(tmp_path, print) == tmp_path / "model_1"


def test_saving_a_step_again_replaces_its_checkpoint(tmp_path):
    save(tmp_path, 3)
    folder = checkpoint.save(tmp_path, TrainState(total=9, step=3, epoch=7), TENSORS, write_model)
    assert checkpoint.load(folder)[0].epoch == 7
    assert [p.name for p in tmp_path.iterdir()] == ["model_3"]


def test_recover_from_crash(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2).rename(tmp_path / "model_2.replaced")  # killed between the two renames
    (tmp_path / "model_5.partial").mkdir()
    checkpoint.recover_from_crash(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model_1", "model_2"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "manifest.json").unlink(), "no manifest.json"),
        (lambda f: (f / "manifest.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "model.safetensors").unlink(), "is missing"),
        (lambda f: os.truncate(f / "model.safetensors", 3), "has 3 bytes, not 7"),
        (lambda f: (f / "model.safetensors").write_bytes(b"weightz"), "differs from its checksum"),
    ],
)
def test_damaged_checkpoint_is_skipped_and_named(tmp_path, damage, message):
    save(tmp_path, 1)
    damage(save(tmp_path, 2))
    warnings: list[str] = []
    assert checkpoint.latest_complete(tmp_path, warnings.append) == tmp_path / "model_1"
    assert len(warnings) == 1 and "model_2" in warnings[0] and message in warnings[0]
    with pytest.raises(OutputError, match=message):
        checkpoint.load(tmp_path / "model_2")


def test_unsupported_version_is_refused(tmp_path):
    folder = checkpoint.save(tmp_path, TrainState(total=1, version=99), TENSORS, write_model)
    with pytest.raises(OutputError, match="version 99"):
        checkpoint.load(folder)


@pytest.mark.parametrize("version", [4, 5])
def test_checkpoint_of_an_older_version_loads_as_the_same_state(tmp_path, version):
    state = TrainState(
        total=9, step=4, window_steps=3, rows_per_step=8, fingerprints={"training data": "a"}
    )
    folder = checkpoint.save(tmp_path, state, TENSORS, write_model)
    old_states.make_older(folder, version)
    assert checkpoint.load(folder)[0] == state
    # Each load has a state of its own, which training changes in place.
    checkpoint.load(folder)[0].window_empty_steps["mlm"] = 1
    assert checkpoint.load(folder)[0] == state


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
def test_prune_keeps_the_newest_and_the_best(tmp_path, limit, best, kept):
    for step in (2, 4, 10):
        save(tmp_path, step)
    checkpoint.prune(tmp_path, limit, best)
    assert checkpoint.saved_steps(tmp_path) == kept  # numbers, not names: 10 is newer than 4


def test_failed_replacement_restores_the_old_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 3)
    original = Path.rename

    def rename(self, target):
        if self.name.endswith(".partial"):
            raise OSError(5, "Input/output error")
        return original(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError):
        save(tmp_path, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["model_3"]
    assert checkpoint.find_damage(tmp_path / "model_3") is None


def test_new_checkpoint_is_newest_and_survives_pruning(tmp_path):
    """A run that started over because all checkpoints were damaged must keep its first one."""
    (save(tmp_path, 4) / "model.safetensors").write_bytes(b"")
    save(tmp_path, 2)
    checkpoint.prune(tmp_path, 1, None)
    assert checkpoint.latest_complete(tmp_path, print) == tmp_path / "model_2"
    assert (tmp_path / "model_4.aside").is_dir()


def test_set_aside_never_overwrites(tmp_path):
    for _ in range(3):
        save(tmp_path, 2)
        assert checkpoint.set_aside_newer(tmp_path, 1)
    names = ["model_2.aside", "model_2.aside2", "model_2.aside3"]
    assert sorted(p.name for p in run_files.run_artifacts(tmp_path)) == names
    assert all(checkpoint.find_damage(tmp_path / name) is None for name in names)


def test_recovery_keeps_the_complete_one_of_new_and_old(tmp_path):
    """After a crash during a replacement: the new one, unless only the old one is complete."""
    for damaged, expected_total in (("model_2", 1), ("model_2.replaced", 9), (None, 9)):
        out = tmp_path / str(damaged)
        for total, name in ((9, "new"), (1, "model_2.replaced")):
            folder = checkpoint.save(out, TrainState(total, 2), TENSORS, write_model)
            folder.rename(out / name)
        (out / "new").rename(out / "model_2")
        if damaged:
            (out / damaged / "model.safetensors").write_bytes(b"")
        checkpoint.recover_from_crash(out)
        assert [p.name for p in out.iterdir()] == ["model_2"]
        assert checkpoint.load(out / "model_2")[0].total == expected_total


def test_recovery_touches_only_run_artifacts(tmp_path):
    for name in ("model_2.partial", "model_3.gone", "predictions.gone", "model_x.partial"):
        (tmp_path / name).mkdir()
    for name in ("model_4.partial", "model_5.gone", "model_6.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    for name in (".metrics.jsonl.12.part", ".notes.12.part", "model_2.old.txt"):
        (tmp_path / name).write_text("")
    checkpoint.recover_from_crash(tmp_path)
    run_files.remove_temporary_files(tmp_path)
    remaining = {path.name for path in tmp_path.iterdir()}
    foreign = {"model_4.partial", "model_5.gone", "model_6.old", "model_x.partial"}
    assert remaining == foreign | {"predictions.gone", ".notes.12.part", "model_2.old.txt"}


def test_resume_verifies_each_file_once_and_a_second_load_again(tmp_path, monkeypatch):
    folder, hashed = save(tmp_path, 2), []
    original = atomic_files.sha256
    monkeypatch.setattr(atomic_files, "sha256", lambda path: hashed.append(path) or original(path))
    checkpoint.load(checkpoint.latest_complete(tmp_path, print))
    assert len(hashed) == len(set(hashed)) == 3
    (folder / "model.safetensors").write_bytes(b"weightz")
    with pytest.raises(OutputError, match="checksum"):
        checkpoint.load(folder)
