"""Tensors that are written while the memory they lie in is about to change."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.common import atomic_files
from bert_paddle.common.tensor_file import TensorSnapshot

DRAWS = np.random.default_rng(0)


def arrays():
    return {
        "first": DRAWS.normal(size=(300, 500)).astype("float32"),
        "second": DRAWS.normal(size=(400, 500)).astype("float32"),
        "power": np.array([0.9], "float32"),
    }


def test_the_library_reads_what_is_written(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file

    given = arrays() | {
        "odd": np.arange(3, dtype="float16"),  # the next would begin at no multiple of 4
        "whole": np.arange(6).reshape(2, 3),
        "none": np.zeros((0, 4), "float32"),
        "scalar": np.array(2.5, "float64"),
        "turned": DRAWS.normal(size=(4, 5)).astype("float32").T,
        "unicode \u00e9": np.ones(2, "int32"),
    }
    atomic_files.write_tensors(tmp_path / "file", given, form="pt")
    found = load_file(tmp_path / "file")
    assert found.keys() == given.keys()
    for name, value in given.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype
    with safe_open(tmp_path / "file", framework="np") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("changed_after", ["no release", "release", "writing"])
def test_what_a_change_does(tmp_path, changed_after):
    from safetensors.numpy import load_file

    given = arrays()
    before = {name: value.copy() for name, value in given.items()}
    held = TensorSnapshot(given, shown=True)
    if changed_after == "release":
        held.release()
    if changed_after == "writing":
        held.write(tmp_path / "file", "np")
    for value in given.values():
        value += 1
    if changed_after != "writing":
        held.write(tmp_path / "file", "np")
    for name, value in load_file(tmp_path / "file").items():
        # Without a release the memory itself was read: nothing was copied.
        wanted = given if changed_after == "no release" else before
        np.testing.assert_array_equal(value, wanted[name])


def test_released_in_the_middle_of_writing(tmp_path):
    """Into a pipe, which takes no more than 64 KiB until it is read."""
    from safetensors.numpy import load

    given = arrays()
    before = {name: value.copy() for name, value in given.items()}
    held = TensorSnapshot(given, shown=True)
    os.mkfifo(tmp_path / "pipe")
    content = []

    def read():
        with (tmp_path / "pipe").open("rb") as pipe:
            content.append(pipe.read(1000))
            time.sleep(0.2)
            content.append(pipe.read())

    reader = threading.Thread(target=read)
    writer = threading.Thread(target=held.write, args=(tmp_path / "pipe", "np"))
    reader.start()
    writer.start()
    while not content:
        time.sleep(0.01)
    held.release()
    for value in given.values():
        value += 1
    writer.join(10)
    reader.join(10)
    for name, value in load(b"".join(content)).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_full_disk_is_told():
    with pytest.raises(OSError, match="No space left"):
        atomic_files.write_tensors(Path("/dev/full"), arrays())
