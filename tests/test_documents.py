"""docs/COMMANDS.md: its commands and its Python, run in their order; docs/FAQ.md: its messages."""

import ast
import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from bert_paddle import __main__, cli, submission
from bert_paddle.cli import completion
from bert_paddle.common import flags
from bert_paddle.glue import finetune

ROOT = Path(__file__).parent.parent
COMMANDS = (ROOT / "docs" / "COMMANDS.md").read_text(encoding="utf-8")
FAQS = [(ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("FAQ.md", "FAQ_zh.md")]
ELSEWHERE = ("pip install",)  # tests/test_wheel.py


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with all that COMMANDS.md speaks of, under the names it has there."""
    home, data = tmp_path / "home", tmp_path / "glue"
    tiny.write_encoder(home / "models" / "bert-base-uncased", max_position_embeddings=128)
    tiny.write_sst2(data / "SST-2")
    tiny.write_model(tmp_path / "runs" / "mrpc" / "model_345")
    for name in ("CoLA", "RTE"):
        (tmp_path / "runs" / name / "predictions").mkdir(parents=True)
        wanted = submission.SUBMISSION_FILES[f"{name}.tsv"]
        text = submission.fill_missing_file(wanted, None, lambda line: None)
        (tmp_path / "runs" / name / "predictions" / wanted.name).write_bytes(text)
        (tmp_path / "runs" / name / "all_results.json").write_text('{"data": "glue"}')
    (tmp_path / "reviews.txt").write_text("the cat sat\nit was good\n")
    (tmp_path / "sst2.yaml").write_text(blocks(COMMANDS, "yaml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("BERT_PADDLE_HOME", str(home))
    monkeypatch.setenv("GLUE_DATA_DIR", str(data))
    monkeypatch.setattr(sys, "argv", ["bert-paddle"])

    def in_this_process(program: str, args: finetune.GlueArgs) -> None:
        assert program == "bert_paddle.glue.finetune:run"
        finetune.run(args)

    monkeypatch.setattr("bert_paddle.cli.glue.launch", in_this_process)
    return tmp_path


def run_line(line: str) -> str:
    """A line of a shell block; what it prints. The program runs in this process."""
    words = shlex.split(line.replace("~", os.environ["HOME"]))
    if words[0] != "bert-paddle":
        subprocess.run(["bash", "-c", line], check=True)
        return ""
    out, target = io.StringIO(), None
    if ">" in words:
        target = Path(words[words.index(">") + 1])
        del words[words.index(">") : words.index(">") + 2]
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(out))
        if "<" in words:
            stdin = stack.enter_context(open(words[words.index("<") + 1], encoding="utf-8"))
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(sys, "stdin", stdin)
            del words[words.index("<") : words.index("<") + 2]
        try:
            __main__.run(words[1:])
        except SystemExit as end:  # of --help
            assert end.code == 0, line
    if target:
        target.write_text(out.getvalue())
    return out.getvalue()


def test_the_commands_of_the_document_run_as_they_stand(place):
    said = {}
    for line in "".join(blocks(COMMANDS, "shell")).replace("\\\n", " ").splitlines():
        if not line.startswith(ELSEWHERE):
            said[line] = run_line(line)
    listed = said["bert-paddle"]
    table = re.findall(r"^\| `([\w-]+)` \|", COMMANDS, re.MULTILINE)
    assert table and set(table) == set(cli.COMMANDS) and all(name in listed for name in table)
    settings = [
        flags.parse(finetune.GlueArgs, "", ["--config", f"runs/{name}/settings.yaml"]).as_dict()
        for name in ("sst2", "sst2_again", "sst2_seed_1")
    ]
    first, again, other = ({**one, "output_dir": ""} for one in settings)
    assert first == again and other == first | {"seed": 1}
    assert (first["max_steps"], first["batch_size"]) == (4, 32)
    results = [
        json.loads(Path(f"runs/{name}/all_results.json").read_text())["eval_loss"]
        for name in ("sst2", "sst2_again", "sst2_seed_1")
    ]
    assert results[0] == results[1] != results[2]
    answers = Path("answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["text_a"] for line in answers] == ["the cat sat", "it was good"]
    script = Path("user/.local/share/bash-completion/completions/bert-paddle").read_text()
    assert script == completion.completion_script("bash") + "\n"


def test_the_python_of_the_document_runs_as_it_stands(place, capsys):
    (code,) = blocks(COMMANDS, "python")
    exec(compile(code, "COMMANDS.md", "exec"), {})
    label, *_ = capsys.readouterr().out.splitlines()[-1].split(" ")
    assert label in ("negative", "positive")


def spoken() -> str:
    """All text constants of the package and its scripts, with a gap for what is filled in."""
    found = []
    for path in sorted((ROOT / "bert_paddle").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "…" for v in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    found += [path.read_text(encoding="utf-8") for path in (ROOT / "scripts").glob("*.sh")]
    return "\n".join(found)


def messages(text: str) -> list[str]:
    """The messages that are headings; those of other programs are marked with their names."""
    return re.findall(r"^### `(.+)`", text, re.MULTILINE)


@pytest.mark.parametrize("text", FAQS, ids=["en", "zh"])
def test_the_messages_of_the_faq_are_the_programs(text):
    others = re.findall(r"^### `(.+)` ?[(（]", text, re.MULTILINE)
    words = spoken()
    own = [message for message in messages(text) if message not in others]
    assert len(own) > 20 and others
    lacking = [(m, part) for m in own for part in m.split("…") if part.strip() not in words]
    assert not lacking


def test_both_languages_answer_the_same_questions():
    assert messages(FAQS[0]) == messages(FAQS[1])
    assert FAQS[0].count("\n### ") == FAQS[1].count("\n### ")
