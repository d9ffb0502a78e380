"""Checkpoints: any state round-trips, any damage is detected, bad files give a one-line error."""

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
    fingerprints=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        st.text(max_size=5),
        max_size=2,
    ),
    schedule_total=st.integers(1, 10**9),
    base_step=st.integers(0, 10**6),
    base_position=NUMBERS,
    args=st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | NUMBERS, max_size=3),
)


def save(out: Path, state: TrainState | None = None) -> Path:
    def write_model(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"weights")

    return checkpoint.save(out, state or TrainState(9, 3), TENSORS, write_model)


@QUICK
@given(state=STATES)
def test_any_state_round_trips(tmp_path, state):
    loaded, tensors = checkpoint.load(save(tmp_path, state))
    assert loaded == state
    assert np.array_equal(tensors["w|moment1_0"], TENSORS["w|moment1_0"])


@QUICK
@given(data=st.data())
def test_changed_byte_or_truncation_of_any_file_is_detected(tmp_path, data):
    folder = save(tmp_path)
    names = ["model.safetensors", checkpoint.STATE_FILE, checkpoint.OPTIMIZER_FILE]
    path = folder / data.draw(st.sampled_from(names))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[position] ^= data.draw(st.integers(1, 255))
    else:
        del content[position:]
    path.write_bytes(content)
    warnings: list[str] = []
    assert checkpoint.latest_complete(tmp_path, warnings.append) is None
    assert len(warnings) == 1 and path.name in warnings[0]
    with pytest.raises(OutputError, match="not a complete checkpoint"):
        checkpoint.load(folder)


def replace(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a checkpoint, and update the manifest to match."""
    (folder / name).write_bytes(content)
    manifest = json.loads((folder / checkpoint.MANIFEST_FILE).read_text())
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / checkpoint.MANIFEST_FILE).write_text(json.dumps(manifest))


def state_with(**changed) -> bytes:
    return json.dumps(dataclasses.asdict(TrainState(9, 3)) | changed).encode()


def state_without(name: str) -> bytes:
    values = dataclasses.asdict(TrainState(9, 3))
    del values[name]
    return json.dumps(values).encode()


CRAFTED = {
    "manifest is not an object": (checkpoint.MANIFEST_FILE, b"[]"),
    "files are not an object": (checkpoint.MANIFEST_FILE, b'{"files": [1]}'),
    "an entry without its size": (
        checkpoint.MANIFEST_FILE,
        b'{"files": {"state/train_state.json": {"sha256": "0"}}}',
    ),
    "an entry that is not an object": (
        checkpoint.MANIFEST_FILE,
        b'{"files": {"state/train_state.json": 1}}',
    ),
    "manifest deeply nested": (checkpoint.MANIFEST_FILE, b"[" * 100_000),
    "a state of another version": (checkpoint.STATE_FILE, state_with(version=1)),
    "an unknown field": (checkpoint.STATE_FILE, state_with(extra=1)),
    "state is not JSON": (checkpoint.STATE_FILE, b"{"),
    "state is not UTF-8": (checkpoint.STATE_FILE, b'{"args": "\xff"}'),
    "state is a list": (checkpoint.STATE_FILE, b"[]"),
    "state without a field": (checkpoint.STATE_FILE, state_without("total")),
    "a step that is not a number": (checkpoint.STATE_FILE, state_with(step="3")),
    "flags that are not an object": (checkpoint.STATE_FILE, state_with(args=[])),
    "optimizer is not safetensors": (checkpoint.OPTIMIZER_FILE, b"\x80\x04N."),
    "optimizer is empty": (checkpoint.OPTIMIZER_FILE, b""),
}


@pytest.mark.parametrize("case", CRAFTED)
def test_invalid_content_with_matching_checksums_is_refused(tmp_path, case):
    name, content = CRAFTED[case]
    folder = save(tmp_path)
    if name == checkpoint.MANIFEST_FILE:
        (folder / name).write_bytes(content)
    else:
        replace(folder, name, content)
    with pytest.raises(OutputError) as caught:
        checkpoint.load(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_manifest_without_the_optimizer_is_refused(tmp_path):
    folder = save(tmp_path)
    (folder / checkpoint.OPTIMIZER_FILE).unlink()
    manifest = json.loads((folder / checkpoint.MANIFEST_FILE).read_text())
    del manifest["files"][checkpoint.OPTIMIZER_FILE]
    (folder / checkpoint.MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(OutputError):
        checkpoint.load(folder)


@pytest.mark.parametrize("path", ["../outside", "state/../../outside"])
def test_manifest_path_outside_the_folder_is_refused(tmp_path, path):
    folder = save(tmp_path)
    (tmp_path / "outside").write_bytes(b"x")
    manifest = json.loads((folder / checkpoint.MANIFEST_FILE).read_text())
    content = (folder / path).read_bytes()
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"][path] = entry
    (folder / checkpoint.MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(OutputError):
        checkpoint.load(folder)
