"""Checkpoints: any state comes back, any damage is seen, and a crafted one is told in one line."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bert_paddle.common.errors import OutputError
from bert_paddle.training import checkpoint
from bert_paddle.training.train_state import TrainState

QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TENSORS = {"w|moment1_0": np.arange(6, dtype=np.float32)}
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
STATES = st.builds(
    TrainState,
    total=st.integers(1, 10**9),
    step=st.just(3),
    epoch=st.integers(0, 10**6),
    rows=st.integers(0, 10**6),
    batch=st.integers(0, 10**6),
    window_losses=st.dictionaries(st.text(max_size=5), st.lists(NUMBERS, max_size=3), max_size=2),
    best_step=st.none() | st.integers(0, 10**9),
    best_metric=st.none() | NUMBERS,
    stopped=st.booleans(),
    train_seconds=NUMBERS,
    fingerprint=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    args=st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | NUMBERS, max_size=3),
)


def save(out: Path, state: TrainState | None = None) -> Path:
    def write_model(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"weights")

    return checkpoint.save(out, state or TrainState(9, 3), TENSORS, write_model)


@QUICK
@given(state=STATES)
def test_any_state_comes_back(tmp_path, state):
    again, tensors = checkpoint.load(save(tmp_path, state))
    assert again == state
    assert np.array_equal(tensors["w|moment1_0"], TENSORS["w|moment1_0"])


@QUICK
@given(data=st.data())
def test_a_changed_byte_or_a_lost_tail_of_any_file_is_seen(tmp_path, data):
    folder = save(tmp_path)
    names = ["model.safetensors", checkpoint.STATE, checkpoint.OPTIMIZER]
    path = folder / data.draw(st.sampled_from(names))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    path.write_bytes(content)
    told: list[str] = []
    assert checkpoint.latest_complete(tmp_path, told.append) is None
    assert len(told) == 1 and path.name in told[0]
    with pytest.raises(OutputError, match="not a whole checkpoint"):
        checkpoint.load(folder)


def replace(folder: Path, name: str, text: bytes) -> None:
    """Put other content into a file of a checkpoint, and make the manifest agree."""
    (folder / name).write_bytes(text)
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    manifest["files"][name] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))


def state_with(**changed) -> bytes:
    return json.dumps(dataclasses.asdict(TrainState(9, 3)) | changed).encode()


def without(name: str) -> bytes:
    values = dataclasses.asdict(TrainState(9, 3))
    del values[name]
    return json.dumps(values).encode()


CRAFTED = {
    "manifest is no object": (checkpoint.MANIFEST, b"[]"),
    "files are no object": (checkpoint.MANIFEST, b'{"files": [1]}'),
    "an entry without its size": (
        checkpoint.MANIFEST,
        b'{"files": {"state/train_state.json": {"sha256": "0"}}}',
    ),
    "an entry that is no object": (
        checkpoint.MANIFEST,
        b'{"files": {"state/train_state.json": 1}}',
    ),
    "manifest nested deeply": (checkpoint.MANIFEST, b"[" * 100_000),
    "a state of another version": (checkpoint.STATE, state_with(version=1)),
    "an unknown field": (checkpoint.STATE, state_with(extra=1)),
    "state is not JSON": (checkpoint.STATE, b"{"),
    "state is not UTF-8": (checkpoint.STATE, b'{"args": "\xff"}'),
    "state is a list": (checkpoint.STATE, b"[]"),
    "state without a field": (checkpoint.STATE, without("total")),
    "a step that is no number": (checkpoint.STATE, state_with(step="3")),
    "flags that are no object": (checkpoint.STATE, state_with(args=[])),
    "optimizer is no safetensors": (checkpoint.OPTIMIZER, b"\x80\x04N."),
    "optimizer is empty": (checkpoint.OPTIMIZER, b""),
}


@pytest.mark.parametrize("what", CRAFTED)
def test_a_checkpoint_whose_checksums_agree_but_whose_content_is_wrong(tmp_path, what):
    name, text = CRAFTED[what]
    folder = save(tmp_path)
    if name == checkpoint.MANIFEST:
        (folder / name).write_bytes(text)
    else:
        replace(folder, name, text)
    with pytest.raises(OutputError) as caught:
        checkpoint.load(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_an_optimizer_that_the_manifest_leaves_out_is_missed(tmp_path):
    folder = save(tmp_path)
    (folder / checkpoint.OPTIMIZER).unlink()
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    del manifest["files"][checkpoint.OPTIMIZER]
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(OutputError):
        checkpoint.load(folder)


@pytest.mark.parametrize("path", ["../outside", "state/../../outside"])
def test_a_manifest_names_files_of_its_folder_alone(tmp_path, path):
    folder = save(tmp_path)
    (tmp_path / "outside").write_bytes(b"x")
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    content = (folder / path).read_bytes()
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"][path] = entry
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(OutputError):
        checkpoint.load(folder)
