"""Errors of create_pretraining_data: all flag problems together, one line, exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from bert_paddle.common.errors import FlagError
from bert_paddle.pretrain.create.args import parse_args

SCRIPT = Path(__file__).parents[3] / "scripts" / "create_pretraining_data.py"


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "vocab" / "vocab.txt"
    path.parent.mkdir()
    path.write_text("\n".join(tiny.VOCAB) + "\n", encoding="utf-8")
    return path


def test_all_flag_problems_are_reported_together(tmp_path):
    with pytest.raises(FlagError) as raised:
        parse_args(
            ["--vocab_file", str(tmp_path / "none"), "--output_dir", str(tmp_path / "a")]
            + ["--max_seq_length", "16", "--segmenter", "jieba", "--language", "12"]
        )
    message = str(raised.value)
    for part in ("--input_files is", "--vocab_file", "at most 13", "whole", "language"):
        assert part in message


@pytest.mark.parametrize(
    ("content", "message"),
    [("one .\ntwo .\n", "one document"), ("\n \n", "no text"), (None, "no such file")],
)
def test_the_script_reports_an_error_in_one_line_from_any_folder(tmp_path, vocab, content, message):
    path = tmp_path / "t.txt"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--input_files", "t.txt", "--output_dir", "out"]
        + ["--vocab_file", str(vocab)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 2 and last.startswith("error: ") and message in last
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("out/*.hdf5"))
