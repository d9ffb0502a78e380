"""docs/GPT2.md: its commands and its Python run in their order, with a tiny model in gpt2's place;
its Chinese twin has the same ones."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import forks
import tiny_gpt2

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "GPT2.md").read_text(encoding="utf-8")
TWIN = (ROOT / "docs" / "GPT2_zh.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, str]]:
    return re.findall(r"```(shell|python)\n(.*?)```", text, re.DOTALL)


def test_the_twin_has_the_same_commands():
    assert blocks(DOCUMENT) == blocks(TWIN) and len(blocks(DOCUMENT)) == 5


def test_the_walk_through_runs_as_it_stands(tmp_path):
    for name in ("scripts", "run_clm.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(tiny_gpt2.HF_DIR, tmp_path / "home" / "models" / "gpt2")
    programs = tmp_path / "bin"
    programs.mkdir()
    python = forks.python_for_scripts(programs / "python")
    (programs / "bert-paddle").write_text(f'#!/bin/sh\nexec {python} -m bert_paddle "$@"\n')
    (programs / "bert-paddle").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "BERT_PADDLE_HOME": str(tmp_path / "home"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    outputs = []
    for kind, text in blocks(DOCUMENT):
        command = ["bash", "-ec", text] if kind == "shell" else [str(python), "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        outputs.append(done)
    training = outputs[1]
    assert "118 texts in the column 'bio'; 2 empty row(s) dropped" in training.stderr
    assert "split: 106 texts to train on, 12 to evaluate on" in training.stderr
    assert training.stdout.count("sample: ") == 3 and "perplexity: " in training.stdout
    assert outputs[3].stdout.count("Ada Graf was born") == 3


def test_the_script_spells_out_the_documented_line(tmp_path):
    text = (ROOT / "scripts" / "gpt2.sh").read_text(encoding="utf-8")
    for part in (
        "--model_type gpt2",
        "--max_seq_length 768 --batch_size 2 --learning_rate 5e-4 --num_train_epochs 5",
        "--warmup_steps 100 --sample_every 100",
        "--bos_token '<|startoftext|>' --eos_token '<|endoftext|>' --pad_token '<|pad|>'",
    ):
        assert part in text
