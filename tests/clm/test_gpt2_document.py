"""docs/GPT2.md: its commands and its Python run in their order, with a tiny model in gpt2's place;
its Chinese twin has the same ones."""

import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_gpt2

from bert_paddle import __main__
from bert_paddle.clm import finetune

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "GPT2.md").read_text(encoding="utf-8")
TWIN = (ROOT / "docs" / "GPT2_zh.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"```(shell|python)\n(.*?)```", text, re.DOTALL)


def test_the_twin_has_the_same_commands():
    assert blocks(DOCUMENT) == blocks(TWIN) and len(blocks(DOCUMENT)) == 7


def run_line(line: str, monkeypatch) -> None:
    """A command of a shell block, in this process where it would import paddle."""
    if " | " in line:
        text, _, line = line.partition(" | ")
        monkeypatch.setattr(sys, "stdin", io.StringIO(shlex.split(text)[1] + "\n"))
    words = shlex.split(line)
    if words[:3] == ["python", "-u", "run_clm.py"]:
        __main__.run(["clm", *words[3:]])
    elif words[0] == "bert-paddle":
        __main__.run(words[1:])
    else:
        assert words[0] == "python"
        subprocess.run([sys.executable, *words[1:]], check=True)


@pytest.fixture
def place(tmp_path, monkeypatch, forked_python) -> Path:
    """A folder with the scripts, and a tiny model by the name of gpt2."""
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    shutil.copytree(tiny_gpt2.HF_DIR, tmp_path / "home" / "models" / "gpt2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERT_PADDLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of a sweep's runs, which are processes
    monkeypatch.setattr(sys, "argv", ["bert-paddle"])

    def in_this_process(program: str, args: finetune.ClmArgs) -> None:
        assert program == "bert_paddle.clm.finetune:run"
        finetune.run(args)

    monkeypatch.setattr("bert_paddle.cli.clm.launch", in_this_process)
    return tmp_path


def test_the_walk_through_runs_as_it_stands(place, monkeypatch, capsys):
    outputs = []
    for kind, text in blocks(DOCUMENT):
        capsys.readouterr()
        if kind == "python":
            exec(text, {})
        for line in text.replace("\\\n", " ").splitlines() if kind == "shell" else ():
            run_line(line, monkeypatch)
        outputs.append(capsys.readouterr())
    training = outputs[1]
    assert "118 texts in the column 'bio'; 2 empty row(s) dropped" in training.err
    assert "split: 106 texts to train on, 12 to evaluate on" in training.err
    assert training.out.count("sample: ") == 3 and "perplexity: " in training.out
    assert "Best: learning_rate" in outputs[3].out and "exported: " in outputs[4].out
    assert outputs[5].out.count("Ada Graf was born") == 3


def test_the_script_spells_out_the_documented_line(tmp_path):
    text = (ROOT / "scripts" / "gpt2.sh").read_text(encoding="utf-8")
    for part in (
        "--model_type gpt2",
        "--max_seq_length 768 --batch_size 2 --learning_rate 5e-4 --num_train_epochs 5",
        "--warmup_steps 100 --sample_every 100",
        "--bos_token '<|startoftext|>' --eos_token '<|endoftext|>' --pad_token '<|pad|>'",
    ):
        assert part in text
