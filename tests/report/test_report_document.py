"""Every command of docs/REPORT.md, verbatim; one of them in a separate process."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import run_folders
from run_folders import plain_pictures  # noqa: F401

from bert_paddle import __main__ as program

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs/REPORT.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```shell\n(.*?)```", TEXT, re.S) for line in block.splitlines()
]


@pytest.mark.usefixtures("plain_pictures")
def test_commands_of_the_document(tmp_path, monkeypatch):
    for name in ("mrpc", "seed_1", "seed_2", "sweep/a", "sweep/b"):
        run_folders.write_run(tmp_path / "out" / name)
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) == 3
    for command in COMMANDS[1:]:
        arguments = shlex.split(command)
        assert arguments[:3] == ["python", "-m", "bert_paddle"]
        program.run(arguments[3:])
    completed = subprocess.run(
        [sys.executable, *shlex.split(COMMANDS[0])[1:]],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    expected = (0, "report: out/mrpc/report.html\n")
    assert (completed.returncode, completed.stdout) == expected, completed.stderr
    pages = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.html")}
    assert pages == {"out/mrpc/report.html", "seeds.html", "out/sweep/comparison.html"}


def test_the_document_names_every_key_of_run_json(tmp_path):
    run_json = json.loads((run_folders.write_run(tmp_path / "a") / "run.json").read_text())
    from bert_paddle.training.run_info import RunInfo

    for name in {*run_json, *RunInfo.__dataclass_fields__}:
        assert f"`{name}`" in TEXT, name
