"""Checkpoints as earlier versions of this program wrote them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files
from bert_paddle.training import checkpoint

_ADDED_IN_VERSION_6 = (
    *("schedule_total", "base_step", "base_position", "compute_mode"),
    *("evaluation_pending", "window_empty_steps"),
)


def make_older(
    folder: Path, version: int = 5, change: Callable[[dict[str, Any]], object] = lambda args: None
) -> None:
    """Rewrite the state of a checkpoint as version 4 or 5 had it. change: of the saved flags."""
    path = folder / checkpoint.STATE_FILE
    state = json.loads(path.read_text())
    for name in _ADDED_IN_VERSION_6:
        del state[name]
    state["fingerprint"] = state.pop("fingerprints")["training data"]
    state["version"] = version
    if version == 4:
        state["window_updates"] = state.pop("window_steps")
        state["rows_per_update"] = state.pop("rows_per_step")
    change(state["args"])
    path.write_text(json.dumps(state))
    (folder / checkpoint.MANIFEST_FILE).unlink()
    atomic_files.write_manifest(folder, checkpoint.MANIFEST_FILE, version)
