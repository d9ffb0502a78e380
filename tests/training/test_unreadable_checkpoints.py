"""A checkpoint that cannot be read is not a damaged one: the run stops and changes nothing."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.common.run_log import read_metrics
from bert_paddle.sweep import run_status
from bert_paddle.training import checkpoint, run_files, run_info
from bert_paddle.training.train_state import TrainState
from bert_paddle.training.verify_model_dir import verify_model_dir

TENSORS = {"w|moment1_0": np.arange(6, dtype=np.float32)}
FILES = ("manifest.json", "model.safetensors", "config.json", checkpoint.STATE_FILE)
CODES = [errno.EIO, errno.EACCES, errno.ESTALE, errno.EMFILE, errno.ENOMEM, errno.ETIMEDOUT]


def write_model(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")


@pytest.fixture
def out(tmp_path) -> Path:
    for step in (1, 2):
        checkpoint.save(tmp_path, TrainState(total=9, step=step), TENSORS, write_model)
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fail_to_open(monkeypatch, path: Path, code: int) -> None:
    """Let opening a file fail with an error of the system, as a bad disk would."""
    original = Path.open

    def fail(self, *args, **kwargs):
        if self == path:
            raise OSError(code, os.strerror(code), str(self))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", fail)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("code", CODES)
def test_no_older_checkpoint_takes_its_place(out, monkeypatch, name, code):
    before, warnings = snapshot(out), list[str]()
    with monkeypatch.context() as patch:
        fail_to_open(patch, out / "model_2" / name, code)
        with pytest.raises(OSError) as caught:
            checkpoint.latest_complete(out, warnings.append)
        assert (caught.value.errno, caught.value.filename) == (code, str(out / "model_2" / name))
        with pytest.raises(OSError):
            checkpoint.load(out / "model_2")
    assert not warnings and snapshot(out) == before


def test_links_that_loop_and_folders_in_a_files_place_stop_too(out):
    manifest = out / "model_2" / "manifest.json"
    content = manifest.read_bytes()
    manifest.unlink()
    manifest.symlink_to(manifest)
    with pytest.raises(OSError) as caught:
        checkpoint.latest_complete(out, print)
    assert caught.value.errno == errno.ELOOP
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(IsADirectoryError):
        checkpoint.latest_complete(out, print)
    manifest.rmdir()
    manifest.write_bytes(content)
    weights = out / "model_2" / "model.safetensors"
    weights.unlink()
    weights.symlink_to(weights)
    with pytest.raises(OSError):
        checkpoint.latest_complete(out, print)
    weights.unlink()  # now it is missing, which is damage
    assert checkpoint.latest_complete(out, lambda line: None) == out / "model_1"


def test_recovery_keeps_both_when_one_cannot_be_read(out, monkeypatch):
    (out / "model_2").rename(out / "model_2.old")
    checkpoint.save(out, TrainState(total=9, step=2), TENSORS, write_model)
    (out / "model_1").rename(out / "kept")
    before = snapshot(out)
    with monkeypatch.context() as patch:
        fail_to_open(patch, out / "model_2" / "model.safetensors", errno.EIO)
        with pytest.raises(OSError):
            checkpoint.recover_from_crash(out)
    assert snapshot(out) == before


def test_model_folder_is_not_called_incomplete(out, monkeypatch):
    fail_to_open(monkeypatch, out / "model_2" / "model.safetensors", errno.EIO)
    with pytest.raises(OSError):
        verify_model_dir(out / "model_2")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("metrics.jsonl", read_metrics),
        ("run.json", run_info.read),
        ("all_results.json", run_status.read_results),
        ("run.json", run_files.is_run_folder),
    ],
)
def test_unreadable_files_of_a_run_are_not_missing(tmp_path, name, read):
    assert not read(tmp_path)
    (tmp_path / name).symlink_to(tmp_path / name)
    with pytest.raises(OSError) as caught:
        read(tmp_path)
    assert caught.value.filename == str(tmp_path / name)
