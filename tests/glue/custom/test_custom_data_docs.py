"""The commands of docs/OWN_DATA.md and OWN_DATA_zh.md, run on the files shown there."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import tiny

from bert_paddle import __main__ as program
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args

DOCS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w.]+)`[:：]\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    blocks = [body.replace("\\\n", " ") for kind, body in BLOCK.findall(text) if kind == "bash"]
    return [shlex.split(line) for body in blocks for line in body.splitlines()]


@pytest.mark.parametrize("name", ["OWN_DATA.md", "OWN_DATA_zh.md"])
def test_every_command_works_as_documented(name, tmp_path, monkeypatch, capsys):
    text = (DOCS / name).read_text(encoding="utf-8")
    home = tmp_path / "home"
    tiny.write_encoder(home / "models" / "bert-base-uncased", max_position_embeddings=128)
    monkeypatch.setenv("BERT_PADDLE_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x"])
    for file, content in FILE.findall(text):
        Path(file).write_text(content, encoding="utf-8")
    command_lines = commands(text)
    assert len(command_lines) == 6
    for words in command_lines:
        if words[:3] == ["python", "-m", "bert_paddle"]:
            program.run(words[3:])
        else:
            assert words[:2] == ["python", "run_glue.py"]
            finetune.run(parse_args([*words[2:], "--report", "0"]))
    output = capsys.readouterr()
    for body in (body for kind, body in BLOCK.findall(text) if kind == "text"):
        assert set(body.splitlines()) <= set(output.err.splitlines())
    assert Path("out/later/predictions/new_reviews.tsv").read_bytes() == (
        Path("out/reviews/predictions/new_reviews.tsv").read_bytes()
    )
    lines = output.out.splitlines()
    assert any(line.startswith(("good\t", "bad\t")) for line in lines)
    results = json.loads(Path("out/pairs/all_results.json").read_text())
    assert results["eval_samples"] == 3 and "eval_spearmanr" in results
    assert "eval_matthews_correlation" in Path("out/judgements/all_results.json").read_text()


def test_both_pages_have_the_same_blocks():
    english, chinese = ((DOCS / name).read_text() for name in ("OWN_DATA.md", "OWN_DATA_zh.md"))
    assert BLOCK.findall(english) == BLOCK.findall(chinese)
