"""`bert-paddle export` rejects wrong folders, incomplete checkpoints and unusable checkers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import tiny
from safetensors.numpy import load_file, save_file

from bert_paddle.cli import export as command
from bert_paddle.common import atomic_files
from bert_paddle.common.errors import FlagError, OutputError, RunError, WeightsError
from bert_paddle.export import check, export, source
from bert_paddle.training import checkpoint, train_state

REFERENCE = Path(__file__).parents[1] / "reference"


def file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def unchecked(monkeypatch):
    """Skip the comparison of exports, for tests of everything else."""
    monkeypatch.setattr(
        check, "compare_logits", lambda *a: check.CheckResult(skip_reason="turned off")
    )


def test_an_earlier_export_is_replaced_only_with_overwrite(tiny_dir, tmp_path, unchecked):
    out = tmp_path / "out"
    export.export_model(str(tiny_dir), "onnx", str(out))
    with pytest.raises(OutputError, match="already exists: give --overwrite"):
        export.export_model(str(tiny_dir), "hf", str(out))
    export.export_model(str(tiny_dir), "hf", str(out), overwrite=True)
    assert "model.safetensors" in file_names(out) and "model.onnx" not in file_names(out)


def test_the_working_directory_is_exported_beside_it(tiny_dir, tmp_path, unchecked, monkeypatch):
    shutil.copytree(tiny_dir, tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    assert export.export_model(".", "hf").folder == tmp_path / "model_hf"
    monkeypatch.setattr(export, "find_model_dir", Path)
    with pytest.raises(OutputError, match="/ has no folder beside it: give --output"):
        export.export_model("/", "hf")


def test_what_a_killed_export_has_left_is_removed(tiny_dir, tmp_path, unchecked):
    """But not what a running one writes, or a folder of another name."""
    with subprocess.Popen(["true"]) as ended:
        pass
    names = [f".out.{os.getppid()}.part", f".other.{ended.pid}.part", ".out.x.part"]
    names.append(f".out.{ended.pid}.part")
    for name in names:
        (tmp_path / name / "inside").mkdir(parents=True)
    export.export_model(str(tiny_dir), "hf", str(tmp_path / "out"))
    assert file_names(tmp_path) == {"out", *names[:3]}


def test_an_export_with_files_of_others_is_not_replaced(tiny_dir, tmp_path, unchecked):
    out = tmp_path / "out"
    export.export_model(str(tiny_dir), "onnx", str(out))
    (out / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not the export's \(notes.txt\)"):
        export.export_model(str(tiny_dir), "onnx", str(out), overwrite=True)
    shutil.copytree(tiny_dir, out / "model")
    (out / "notes.txt").unlink()
    with pytest.raises(OutputError, match=r"not the export's \(model\)"):
        export.export_model(str(out / "model"), "onnx", str(out), overwrite=True)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "export.json").write_text('{"rows": 3}')
    with pytest.raises(OutputError, match="is not an export"):
        export.export_model(str(tiny_dir), "onnx", str(mine), overwrite=True)


def test_folders_that_are_not_exports_are_never_replaced(tiny_dir, tmp_path, unchecked):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="is not an export"):
        export.export_model(str(tiny_dir), "hf", str(mine), overwrite=True)
    copy = shutil.copytree(tiny_dir, tmp_path / "model")
    with pytest.raises(OutputError, match="is the model itself"):
        export.export_model(str(copy), "hf", str(copy), overwrite=True)
    with pytest.raises(OutputError, match="is inside the model's folder"):
        export.export_model(str(copy), "hf", str(copy / "new" / "below"))
    assert file_names(copy) == file_names(tiny_dir)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="not a folder"):
        export.export_model(str(tiny_dir), "hf", str(tmp_path / "file"), overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        export.export_model(str(tiny_dir), "hf", str(tmp_path / "file" / "below"))
    assert (mine / "thesis.txt").read_text() == "years of work"


@pytest.fixture
def checkpoint_dir(tiny_dir, tmp_path) -> Path:
    """A checkpoint as training writes it."""
    folder = shutil.copytree(tiny_dir, tmp_path / "run" / "model_7")
    (folder / "state").mkdir()
    (folder / checkpoint.STATE_FILE).write_text("{}")
    (folder / checkpoint.OPTIMIZER_FILE).write_bytes(b"moments")
    atomic_files.write_manifest(folder, checkpoint.MANIFEST_FILE, train_state.VERSION)
    return folder


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: (f / "manifest.json").unlink(), "no manifest.json"),
        (lambda f: (f / "vocab.txt").write_text("[PAD]\n"), "vocab.txt has"),
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors has 0 bytes"),
    ],
)
def test_an_incomplete_checkpoint_is_rejected(checkpoint_dir, damage, message):
    damage(checkpoint_dir)
    with pytest.raises(WeightsError, match=message):
        source.find_model_dir(str(checkpoint_dir))


def test_the_training_state_may_be_deleted(checkpoint_dir):
    shutil.rmtree(checkpoint_dir / "state")
    assert source.find_model_dir(str(checkpoint_dir)) == checkpoint_dir


def test_each_wrong_folder_has_its_own_message(checkpoint_dir, tmp_path):
    with pytest.raises(WeightsError, match="is a run's folder: give .*model_7"):
        source.load_source(str(checkpoint_dir.parent))
    with pytest.raises(WeightsError, match="there is no model folder"):
        source.load_source(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="no config.json"):
        source.load_source(str(tmp_path / "empty"))
    with pytest.raises(WeightsError, match="no classifier"):
        source.load_source(str(tiny.write_encoder(tmp_path / "encoder")))


def test_a_pretraining_model_without_its_heads_is_rejected(tmp_path):
    folder = shutil.copytree(REFERENCE / "tiny_hf_pretraining", tmp_path / "m")
    path = folder / "model.safetensors"
    tensors = {k: v for k, v in load_file(path).items() if "seq_relationship" not in k}
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"have no cls\.seq_relationship"):
        source.load_source(str(folder))


def test_a_pooler_unknown_to_transformers_is_rejected_for_hf_only(tmp_path, unchecked):
    folder = tiny.write_model(tmp_path / "m", pool_act="relu")
    with pytest.raises(WeightsError, match="always tanh"):
        export.export_model(str(folder), "hf")
    assert file_names(tmp_path) == {"m"}
    export.export_model(str(folder), "onnx")


def test_a_full_disk_is_reported_before_and_during_writing(
    tiny_dir, tmp_path, monkeypatch, unchecked
):
    def fail(*_):
        raise OSError(28, "No space left on device", "model.onnx")

    monkeypatch.setitem(export._WRITERS, "onnx", fail)
    with pytest.raises(OSError, match="No space"):  # the command prints it in one line, exit code 1
        export.export_model(str(tiny_dir), "onnx", str(tmp_path / "a"))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RunError, match="the disk is full"):
        export.export_model(str(tiny_dir), "hf", str(tmp_path / "b"))
    assert not list(tmp_path.iterdir())


def test_all_invalid_flags_are_reported_together(tiny_dir):
    with pytest.raises(FlagError) as caught:
        command.main([str(tiny_dir), "other", "--format", "tflite", "--overwrit"])
    message = str(caught.value)
    assert "hf, onnx, paddle_inference, not 'tflite'" in message
    assert "did you mean --overwrite?" in message and "give one MODEL_DIR" in message
    with pytest.raises(FlagError, match="--checker .*nopython is not an executable program"):
        export.export_model(str(tiny_dir), "onnx", checker="nopython")


def write_checker(path: Path, *lines: str) -> str:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


def test_a_failing_checker_is_reported_with_its_last_line(tiny_dir, tmp_path):
    lines = ("touch started", "echo one >&2", "echo 'ImportError: two' >&2", "exit 3")
    failing = write_checker(tmp_path / "python", *lines)
    with pytest.raises(RunError, match="failed .*ImportError: two"):
        export.export_model(str(tiny_dir), "hf", str(tmp_path / "hf"), checker=failing)
    silent = write_checker(tmp_path / "python", "touch started")
    with pytest.raises(RunError, match="failed .*exit code 0"):
        export.export_model(str(tiny_dir), "hf", str(tmp_path / "hf"), checker=silent)
    assert file_names(tmp_path) == {"python"}


@pytest.mark.parametrize("lines", [["exit 0"], ["echo 'no such option' >&2", "exit 2"]])
def test_a_checker_that_is_not_python_is_an_invalid_flag(tiny_dir, tmp_path, lines):
    other = write_checker(tmp_path / "ls", *lines)
    with pytest.raises(FlagError, match="--checker .*ls is not a Python that can run the check"):
        export.export_model(str(tiny_dir), "hf", str(tmp_path / "hf"), checker=other)
    assert file_names(tmp_path) == {"ls"}


def test_a_checker_has_a_timeout_and_no_stdin(tiny_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_TIMEOUT_SECONDS", 1)
    sleeping = write_checker(tmp_path / "python", "touch started", "read word", "exec sleep 60")
    with pytest.raises(RunError, match="stopped after 1 s"):
        export.export_model(str(tiny_dir), "hf", str(tmp_path / "hf"), checker=sleeping)
    assert file_names(tmp_path) == {"python"}
