"""Writing tensors whose memory is about to change."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.common import atomic_files
from bert_paddle.common.tensor_file import TensorSnapshot

RNG = np.random.default_rng(0)


def arrays():
    return {
        "first": RNG.normal(size=(300, 500)).astype("float32"),
        "second": RNG.normal(size=(400, 500)).astype("float32"),
        "power": np.array([0.9], "float32"),
    }


def test_safetensors_reads_the_file(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file

    tensors = arrays() | {
        "odd": np.arange(3, dtype="float16"),  # would misalign the next array
        "integers": np.arange(6).reshape(2, 3),
        "empty": np.zeros((0, 4), "float32"),
        "scalar": np.array(2.5, "float64"),
        "transposed": RNG.normal(size=(4, 5)).astype("float32").T,
        "unicode \u00e9": np.ones(2, "int32"),
    }
    atomic_files.write_tensors(tmp_path / "file", tensors, framework="pt")
    loaded = load_file(tmp_path / "file")
    assert loaded.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(loaded[name], value)
        assert loaded[name].dtype == value.dtype
    with safe_open(tmp_path / "file", framework="np") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("changed_after", ["nothing", "materialize", "write"])
def test_effect_of_changing_the_memory(tmp_path, changed_after):
    from safetensors.numpy import load_file

    tensors = arrays()
    before = {name: value.copy() for name, value in tensors.items()}
    snapshot = TensorSnapshot(tensors, shared=True)
    if changed_after == "materialize":
        snapshot.materialize()
    if changed_after == "write":
        snapshot.write(tmp_path / "file", "np")
    for value in tensors.values():
        value += 1
    if changed_after != "write":
        snapshot.write(tmp_path / "file", "np")
    for name, value in load_file(tmp_path / "file").items():
        # Without materialize the memory itself is read: nothing was copied.
        expected = tensors if changed_after == "nothing" else before
        np.testing.assert_array_equal(value, expected[name])


def test_materialize_while_writing(tmp_path):
    """Write into a pipe, which blocks after 64 KiB until it is read."""
    from safetensors.numpy import load

    tensors = arrays()
    before = {name: value.copy() for name, value in tensors.items()}
    snapshot = TensorSnapshot(tensors, shared=True)
    os.mkfifo(tmp_path / "pipe")
    content = []

    def read():
        with (tmp_path / "pipe").open("rb") as pipe:
            content.append(pipe.read(1000))
            time.sleep(0.2)
            content.append(pipe.read())

    reader = threading.Thread(target=read)
    writer = threading.Thread(target=snapshot.write, args=(tmp_path / "pipe", "np"))
    reader.start()
    writer.start()
    while not content:
        time.sleep(0.01)
    snapshot.materialize()
    for value in tensors.values():
        value += 1
    writer.join(10)
    reader.join(10)
    for name, value in load(b"".join(content)).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_full_disk_raises():
    with pytest.raises(OSError, match="No space left"):
        atomic_files.write_tensors(Path("/dev/full"), arrays())
