"""Folders and files that this program did not write are neither renamed, replaced nor deleted."""

import shutil
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


@pytest.mark.parametrize(
    "suffix", [".partial", ".gone", ".old", ".replaced", ".aside", ".partial.gone"]
)
def test_crash_recovery_leaves_folders_of_others(tmp_path, suffix):
    mine = write_foreign(tmp_path / f"model_5{suffix}")
    checkpoint.recover_from_crash(tmp_path)
    run_files.remove_run(tmp_path)
    assert (mine / "weights.bin").is_file()


@pytest.mark.parametrize("remaining", ["state/train_state.json", "state/optimizer.safetensors", ""])
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
    assert not (out / "model_1").is_symlink() and not list(out.glob("*.replaced*"))
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


@pytest.mark.parametrize("suffix", [".partial", ".gone", ".replaced"])
def test_a_model_folder_of_a_user_is_no_half_written_checkpoint(tmp_path, suffix):
    """It has a model's files alone, of the names that a checkpoint's have."""
    mine = tmp_path / f"model_1{suffix}"
    mine.mkdir()
    for name in ("config.json", "model.safetensors", "vocab.txt", "README.md"):
        (mine / name).write_text("mine")
    checkpoint.recover_from_crash(tmp_path)
    run_files.remove_run(tmp_path)
    assert len(list(mine.iterdir())) == 4


def test_a_backup_named_old_is_never_deleted(tmp_path):
    shutil.copytree(save(tmp_path, 2), tmp_path / "model_2.old")
    (tmp_path / "model_2.old" / "notes.txt").write_text("mine")
    shutil.copytree(save(tmp_path, 3), tmp_path / "model_3.old")
    checkpoint.recover_from_crash(tmp_path)
    checkpoint.prune(tmp_path, 1, None)
    run_files.remove_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model_2.old", "model_3.old"]


@pytest.mark.parametrize("suffix", [".partial", ".replaced"])
def test_a_users_file_in_a_leftover_is_named(tmp_path, suffix):
    shutil.copytree(save(tmp_path, 2), tmp_path / f"model_2{suffix}")
    (tmp_path / f"model_2{suffix}" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="notes.txt"):
        checkpoint.recover_from_crash(tmp_path)
    assert (tmp_path / f"model_2{suffix}" / "notes.txt").is_file()


def test_an_edited_model_card_is_kept(tmp_path):
    for step in (1, 2, 3):
        folder = checkpoint.save(tmp_path, TrainState(total=9, step=step), {}, write_with_card)
    for step in (1, 2):
        assert checkpoint_files.other_files(tmp_path / f"model_{step}") == []
    with (tmp_path / "model_1" / "README.md").open("a") as card:
        card.write("my words")
    warnings: list[str] = []
    checkpoint.prune(tmp_path, 1, None, warnings.append)
    assert checkpoint.saved_steps(tmp_path) == [1, 3] and "README.md" in warnings[0]
    assert folder.is_dir()


def write_with_card(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "README.md").write_text("# The model card")
