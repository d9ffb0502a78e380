"""benchmarks/step_profile.py on a tiny model; no timing is checked."""

import subprocess
import sys

import pytest

from bert_paddle.models.kernels import compile_kernels


def test_the_table():
    if compile_kernels.load_kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.load_kernels()[1]}")
    sizes = "--layers 1 --hidden 48 --rows 2 --length 4 --steps 1 --warmup 0"
    command = [sys.executable, "-m", "benchmarks.step_profile", *sizes.split()]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = {line.split(" | ")[0].strip("| ") for line in printed.splitlines()[2:]}
    assert {"matrix products", "attention", "AdamW", "embeddings", "**all**"} < names
