"""Two processes train as one: the same losses, evaluation and samples."""

import json
from pathlib import Path

import forks
import numpy as np
import pytest
import same
import tiny_gpt2
from jobs import finish, without_job
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]


def start(folder: Path, name: str, *more: str) -> forks.Fork:
    command = ["run_clm.py", "--model_name_or_path", str(folder / "model")]
    command += ["--train_file", str(folder / "texts.txt"), "--output_dir", str(folder / name)]
    command += ["--max_steps", "4", "--logging_steps", "1", "--report", "0", "--packing"]
    command += ["--sample_every", "2", "--sample_length", "8", "--learning_rate", "1e-3", *more]
    return forks.start(command, ROOT, without_job())


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "model").mkdir()
    for path in tiny_gpt2.HF_DIR.iterdir():
        (tmp_path / "model" / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    # Without dropout: its masks depend on the rank.
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
    (tmp_path / "model" / "config.json").write_text(json.dumps(config | rates))
    (tmp_path / "texts.txt").write_text("\n".join(tiny_gpt2.sentences(60)))
    return tmp_path


def test_two_ranks_train_as_one(folder):
    outputs = {}
    for name, more in {
        "one": ("--n_gpu", "0", "--batch_size", "4"),
        "two": ("--n_gpu", "2", "--batch_size", "2"),
    }.items():
        code, outputs[name], err = finish(start(folder, name, *more))
        assert code == 0, err
    a, b = (load_file(folder / name / "model_4" / "model.safetensors") for name in ("one", "two"))
    # The loss does not depend on the keys' biases: their gradient is nothing but rounding.
    for key in (key for key in a if not key.endswith("k_proj.bias")):
        np.testing.assert_allclose(a[key], b[key], atol=2e-5, err_msg=key)
    records = [
        {r["step"]: r["loss"] for r in same.records(folder / name) if r["kind"] == "train"}
        for name in ("one", "two")
    ]
    assert records[0] == pytest.approx(records[1], rel=1e-5)
    lines = [
        [line for line in out.splitlines() if line.startswith(("eval loss", "sample: "))]
        for out in outputs.values()
    ]
    assert len(lines[0]) == len(lines[1]) == 3
    evaluations = [float(ls[-1].split()[2].rstrip(",")) for ls in lines]
    assert evaluations[0] == pytest.approx(evaluations[1], abs=1e-5)


def test_ranks_with_other_flags_are_refused(folder):
    code, _, err = finish(start(folder, "out", "--n_gpu", "2", "--sample_top_p", "7"))
    assert code == 2 and "--sample_top_p" in err
