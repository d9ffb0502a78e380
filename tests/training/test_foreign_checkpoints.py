"""Folders and files that this program did not write are neither renamed, replaced nor deleted."""

from pathlib import Path

import numpy as np
import pytest

from bert_paddle.common.errors import OutputError
from bert_paddle.training import checkpoint, checkpoint_files, run_files
from bert_paddle.training.output_lock import lock_output_dir
from bert_paddle.training.train_state import TrainState

TENSORS = {"w|moment1_0": np.arange(6, dtype=np.float32)}


def save(out: Path, step: int) -> Path:
    return checkpoint.save(
        out,
        TrainState(total=9, step=step),
        TENSORS,
        lambda folder: (folder / "model.safetensors").write_bytes(b"weights") and None,
    )


def write_foreign(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "weights.bin").write_bytes(b"mine")
    return folder


def test_a_folder_named_like_a_checkpoint_is_none(tmp_path):
    """Neither a manifest of another program nor a model of its own makes it one."""
    write_foreign(tmp_path / "model_1")
    (tmp_path / "model_1" / "manifest.json").write_text('{"files": {"weights.bin": 1}}')
    write_foreign(tmp_path / "model_9")
    for step in (2, 3):
        save(tmp_path, step)
    assert checkpoint.saved_steps(tmp_path) == [2, 3]
    checkpoint.prune(tmp_path, 1, None)
    assert checkpoint.set_aside_newer(tmp_path, 0) == ["model_3.aside"]
    run_files.remove_run(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["model_1", "model_9"]
    assert (tmp_path / "model_9" / "weights.bin").read_bytes() == b"mine"


@pytest.mark.parametrize("suffix", [".partial", ".gone", ".old", ".aside", ".partial.gone"])
def test_crash_recovery_leaves_folders_of_others(tmp_path, suffix):
    mine = write_foreign(tmp_path / f"model_5{suffix}")
    checkpoint.recover_from_crash(tmp_path)
    run_files.remove_run(tmp_path)
    assert (mine / "weights.bin").is_file()


@pytest.mark.parametrize("remaining", ["model.safetensors", "state/optimizer.safetensors", ""])
def test_half_deleted_and_half_written_ones_are_cleaned_up(tmp_path, remaining):
    for name in ("model_5.gone", "model_6.partial", "model_7.gone2"):
        path = tmp_path / name / remaining
        if remaining:
            path.parent.mkdir(parents=True)
            path.write_bytes(b"x")
        else:
            path.mkdir()
    checkpoint.recover_from_crash(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_with_a_users_file_is_kept(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
    (tmp_path / "model_1" / "notes.txt").write_text("mine")
    (tmp_path / "model_1" / "state" / "mine").write_text("mine")
    warnings: list[str] = []
    checkpoint.prune(tmp_path, 1, None, warnings.append)
    assert checkpoint.saved_steps(tmp_path) == [1, 3]
    assert checkpoint.find_damage(tmp_path / "model_1") is None
    assert len(warnings) == 1 and "notes.txt, state/mine" in warnings[0]
    with pytest.raises(OutputError, match="notes.txt"):
        checkpoint_files.delete(tmp_path / "model_1")
    save(tmp_path, 1)  # replaced by another of the same step
    assert (tmp_path / "model_1.aside" / "notes.txt").is_file()


def test_deleted_name_that_is_taken_is_left_alone(tmp_path):
    save(tmp_path, 1)
    write_foreign(tmp_path / "model_1.gone")
    run_files.remove_run(tmp_path)
    assert (tmp_path / "model_1.gone" / "weights.bin").is_file()
    assert not (tmp_path / "model_1").exists()


def test_of_a_linked_checkpoint_only_the_link_is_deleted(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    target = save(elsewhere, 1)
    out.mkdir()
    (out / "model_1").symlink_to(target)
    save(out, 2)
    assert checkpoint.saved_steps(out) == [1, 2]
    save(out, 1)  # replaces the link
    assert not (out / "model_1").is_symlink() and not list(out.glob("*.old*"))
    (out / "model_3").symlink_to(target)
    checkpoint.prune(out, 1, None)
    run_files.remove_run(out)
    assert checkpoint.find_damage(target) is None and not list(out.iterdir())


def test_a_manifest_cut_off_is_still_a_checkpoint(tmp_path):
    folder = save(tmp_path, 4)
    (folder / "manifest.json").write_text('{"files": {"model')
    assert checkpoint.saved_steps(tmp_path) == [4]


def test_files_of_the_locks_names_are_kept(tmp_path):
    (tmp_path / ".writable").write_text("mine")
    with lock_output_dir(tmp_path):
        pass
    (tmp_path / ".in_use").write_text("process ")  # cut off by a crash
    with lock_output_dir(tmp_path):
        pass
    (tmp_path / ".in_use").write_text("my notes")
    with pytest.raises(OutputError, match="not a run's lock file"), lock_output_dir(tmp_path):
        pass
    assert (tmp_path / ".in_use").read_text() == "my notes"
    assert (tmp_path / ".writable").read_text() == "mine"
