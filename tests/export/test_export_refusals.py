"""What `bert-paddle export` refuses: wrong folders, half a checkpoint, files of others."""

import shutil
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


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def unchecked(monkeypatch):
    """Exports are not compared: for tests of what stands around it."""
    monkeypatch.setattr(check, "compare", lambda *a: check.Checked(unchecked="not asked for"))


def test_an_earlier_export_is_replaced_only_when_asked_for(tiny_dir, tmp_path, unchecked):
    out = tmp_path / "out"
    export.export(str(tiny_dir), "onnx", str(out))
    with pytest.raises(OutputError, match="there already: give --overwrite"):
        export.export(str(tiny_dir), "hf", str(out))
    export.export(str(tiny_dir), "hf", str(out), overwrite=True)
    assert "model.safetensors" in names_in(out) and "model.onnx" not in names_in(out)


def test_folders_that_are_no_exports_are_never_replaced(tiny_dir, tmp_path, unchecked):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="is no export"):
        export.export(str(tiny_dir), "hf", str(mine), overwrite=True)
    copy = shutil.copytree(tiny_dir, tmp_path / "model")
    with pytest.raises(OutputError, match="is the model itself"):
        export.export(str(copy), "hf", str(copy), overwrite=True)
    with pytest.raises(OutputError, match="lies in the model's folder"):
        export.export(str(copy), "hf", str(copy / "new" / "below"))
    assert names_in(copy) == names_in(tiny_dir)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="no folder"):
        export.export(str(tiny_dir), "hf", str(tmp_path / "file"), overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        export.export(str(tiny_dir), "hf", str(tmp_path / "file" / "below"))
    assert (mine / "thesis.txt").read_text() == "years of work"


@pytest.fixture
def checkpoint_dir(tiny_dir, tmp_path) -> Path:
    """A folder as a training leaves it."""
    folder = shutil.copytree(tiny_dir, tmp_path / "run" / "model_7")
    (folder / "state").mkdir()
    (folder / checkpoint.STATE).write_text("{}")
    (folder / checkpoint.OPTIMIZER).write_bytes(b"moments")
    atomic_files.write_manifest(folder, checkpoint.MANIFEST, train_state.VERSION)
    return folder


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda f: (f / "manifest.json").unlink(), "no manifest.json"),
        (lambda f: (f / "vocab.txt").write_text("[PAD]\n"), "vocab.txt has"),
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "model.safetensors has 0 bytes"),
    ],
)
def test_half_a_checkpoint_is_refused(checkpoint_dir, damage, said):
    damage(checkpoint_dir)
    with pytest.raises(WeightsError, match=said):
        source.find(str(checkpoint_dir))


def test_what_only_a_training_needs_may_be_gone(checkpoint_dir):
    shutil.rmtree(checkpoint_dir / "state")
    assert source.find(str(checkpoint_dir)) == checkpoint_dir


def test_wrong_folders_are_told_from_each_other(checkpoint_dir, tmp_path):
    with pytest.raises(WeightsError, match="is a run's folder: give .*model_7"):
        source.load(str(checkpoint_dir.parent))
    with pytest.raises(WeightsError, match="there is no model folder"):
        source.load(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="no config.json"):
        source.load(str(tmp_path / "empty"))
    with pytest.raises(WeightsError, match="no classifier"):
        source.load(str(tiny.write_encoder(tmp_path / "encoder")))


def test_a_pretrained_model_without_its_heads_is_refused(tmp_path):
    folder = shutil.copytree(REFERENCE / "tiny_hf_pretraining", tmp_path / "m")
    path = folder / "model.safetensors"
    kept = {k: v for k, v in load_file(path).items() if "seq_relationship" not in k}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="without cls.seq_relationship"):
        source.load(str(folder))


def test_what_transformers_cannot_compute_is_refused_for_hf_alone(tmp_path, unchecked):
    folder = tiny.write_model(tmp_path / "m", pool_act="relu")
    with pytest.raises(WeightsError, match="always tanh"):
        export.export(str(folder), "hf")
    assert names_in(tmp_path) == {"m"}
    export.export(str(folder), "onnx")


def test_a_full_disk_is_told_before_and_while_writing(tiny_dir, tmp_path, monkeypatch, unchecked):
    def refuse(*_):
        raise OSError(28, "No space left on device", "model.onnx")

    monkeypatch.setitem(export._WRITERS, "onnx", refuse)
    with pytest.raises(OSError, match="No space"):  # which the command tells in one line, exit 1
        export.export(str(tiny_dir), "onnx", str(tmp_path / "a"))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RunError, match="the disk is full"):
        export.export(str(tiny_dir), "hf", str(tmp_path / "b"))
    assert not list(tmp_path.iterdir())


def test_mistaken_flags_come_in_one_answer(tiny_dir):
    with pytest.raises(FlagError) as caught:
        command.main([str(tiny_dir), "other", "--format", "tflite", "--overwrit"])
    said = str(caught.value)
    assert "hf, onnx, paddle_inference, not 'tflite'" in said
    assert "did you mean --overwrite?" in said and "one MODEL_DIR" in said
    with pytest.raises(FlagError, match="--checker .*nopython is no program"):
        export.export(str(tiny_dir), "onnx", checker="nopython")


def write_checker(path: Path, *lines: str) -> str:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


def test_a_checker_that_breaks_is_told_with_its_last_words(tiny_dir, tmp_path):
    lines = ("touch begun", "echo one >&2", "echo 'ImportError: two' >&2", "exit 3")
    broken = write_checker(tmp_path / "python", *lines)
    with pytest.raises(RunError, match="failed .*ImportError: two"):
        export.export(str(tiny_dir), "hf", str(tmp_path / "hf"), checker=broken)
    silent = write_checker(tmp_path / "python", "touch begun")
    with pytest.raises(RunError, match="failed .*exit code 0"):
        export.export(str(tiny_dir), "hf", str(tmp_path / "hf"), checker=silent)
    assert names_in(tmp_path) == {"python"}


@pytest.mark.parametrize("lines", [["exit 0"], ["echo 'no such option' >&2", "exit 2"]])
def test_a_checker_that_is_no_python_is_a_mistaken_flag(tiny_dir, tmp_path, lines):
    other = write_checker(tmp_path / "ls", *lines)
    with pytest.raises(FlagError, match="--checker .*ls is no Python that can check"):
        export.export(str(tiny_dir), "hf", str(tmp_path / "hf"), checker=other)
    assert names_in(tmp_path) == {"ls"}


def test_a_checker_is_ended_in_time_and_reads_nothing(tiny_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_MOST_SECONDS", 1)
    asleep = write_checker(tmp_path / "python", "touch begun", "read word", "exec sleep 60")
    with pytest.raises(RunError, match="not done after 1 s"):
        export.export(str(tiny_dir), "hf", str(tmp_path / "hf"), checker=asleep)
    assert names_in(tmp_path) == {"python"}
