"""No input is an output, by whatever path."""

import os
from pathlib import Path

import pytest

from bert_paddle.common import outputs
from bert_paddle.common.errors import OutputError


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "out" / "model_1").mkdir(parents=True)
    (tmp_path / "out" / "run.json").write_text("{}")
    (tmp_path / "out" / "model_1" / "vocab.txt").write_text("a")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    (tmp_path / "soft.json").symlink_to(tmp_path / "out" / "run.json")
    os.link(tmp_path / "out" / "run.json", tmp_path / "hard.json")
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        "out/run.json",
        "out/../out/run.json",
        "link/run.json",
        "soft.json",
        "hard.json",
        "out/model_1",
        "link/model_1/vocab.txt",
    ],
)
def test_input_that_is_an_output_is_refused(folder, path, monkeypatch):
    written = [folder / "out" / name for name in ("run.json", "metrics.jsonl", "model_1")]
    monkeypatch.chdir(folder)
    for value in (path, folder / path):
        with pytest.raises(OutputError, match=r"--test_file .* would be lost: .*give another"):
            outputs.check_inputs_kept([("--test_file", value)], written, "give another folder")


def test_other_inputs_are_accepted(folder):
    (folder / "out" / "train.tsv").write_text("a")
    values = (None, "bert-base-uncased", folder / "out", folder / "out/train.tsv", folder / "no")
    written = [folder / "out" / name for name in ("run.json", "metrics.jsonl", "model_1")]
    outputs.check_inputs_kept([("--x", value) for value in values], written, "")


def test_is_inside_follows_links(folder):
    assert outputs.is_inside(folder / "link" / "model_1", folder / "out")
    assert outputs.is_inside(folder / "link", folder / "out")
    assert not outputs.is_inside(folder, folder / "out")
