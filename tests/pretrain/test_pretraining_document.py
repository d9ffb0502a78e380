"""docs/PRETRAINING.md: its commands run in their order, on invented text and with a tiny model."""

import random
import re
import shlex
import shutil
import sys
from pathlib import Path

import h5py
import pytest
import tiny

from bert_paddle import __main__ as program
from bert_paddle.glue import args as glue_args
from bert_paddle.glue import finetune
from bert_paddle.pretrain.create import args as create_args
from bert_paddle.pretrain.create import create_data, vocab
from bert_paddle.pretrain.data import schema

TINY = Path(__file__).parents[1] / "reference" / "tiny_hf_pretraining"
PAGE = (Path(__file__).parents[2] / "docs" / "PRETRAINING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```shell\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = "".join(BLOCKS).replace("\\\n", " ").splitlines()
SHORT = "--max_steps 1 --max_seq_length 16 --report 0".split()
# Run by scripts/smoke.sh, tests/pretrain/test_pretrain_processes.py and tests/scripts.
ELSEWHERE = ("bash scripts/", "python -u ./run_pretrain.py", "PHASE1=")


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with the texts and the model that the page speaks of."""
    rng = random.Random(0)
    for folder, sentence in (("corpus", lambda: tiny.sentence(rng)), ("zh", lambda: _chinese(rng))):
        documents = ["\n".join(sentence() for _ in range(6)) for _ in range(8)]
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    (tmp_path / "vocab.txt").write_text("\n".join(tiny.VOCAB) + "\n", encoding="utf-8")
    tiny.write_sst2(tmp_path / "glue" / "SST-2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLUE_DATA_DIR", str(tmp_path / "glue"))
    monkeypatch.setattr(sys, "argv", ["bert-paddle"])
    return tmp_path


def _chinese(rng: random.Random) -> str:
    return (
        "".join(rng.choice(["我们", "今天", "看", "电影", "很", "好", "音乐"]) for _ in range(6))
        + "。"
    )


def run(line: str) -> None:
    words = shlex.split(line)
    if "scripts/create_pretraining_data.py" in words:
        flags = re.sub(r"--workers \d+", "--workers 1", " ".join(words[2:]))
        create_data.run(create_args.parse_args(flags.split()))
    elif "scripts/train_vocab.py" in words:
        vocab.run(vocab.parse_args(words[2:]))
    elif "run_glue.py" in words:
        finetune.run(glue_args.parse_args([*words[2:], *SHORT]))
    else:
        assert words[0] == "bert-paddle"
        program.run(words[1:])


def test_the_commands_of_the_page_run(place, capsys):
    pytest.importorskip("jieba")
    shutil.copytree(TINY, place / "out" / "model_1000000")
    shutil.copy(place / "vocab.txt", place / "out" / "model_1000000")
    lines = [line for line in COMMANDS if not line.startswith(ELSEWHERE)]
    assert len(lines) == 5
    for line in lines:
        run(line)
    for folder in ("shards", "zh_shards"):
        (shard,) = (place / folder).glob("*.hdf5")
        with h5py.File(shard) as file:
            assert set(file) == set(schema.DTYPES) and len(file["input_ids"]) > 0
    assert (place / "runs" / "sst2" / "model_1" / "manifest.json").is_file()
    assert "exported: " in capsys.readouterr().out
