"""Checkpoints: written atomically, verified by a checksum manifest, pruned and recovered.

    output_dir/model_500/
        model.safetensors config.json vocab.txt tokenizer_config.json  as in any model folder
        state/train_state.json state/optimizer.safetensors             what resuming needs
        manifest.json                                                  written last: sizes, SHA-256

A checkpoint is built under a temporary name, flushed to disk and renamed. A crash may leave
model_<n>.partial (half written), .replaced and .gone (half deleted); the next run in
the folder cleans up. .aside is a checkpoint newer than the one that a run resumed from. Folders of
these names that this program did not write are left alone: see `checkpoint_files`.
"""

import dataclasses
import json
import os
import shutil
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.errors import OutputError
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.training import checkpoint_files, train_state
from bert_paddle.training.checkpoint_files import MANIFEST_FILE, OPTIMIZER_FILE, STATE_FILE
from bert_paddle.training.train_state import VERSION, TrainState

# Verified by `latest_complete` in this process: `load` does not verify these checkpoints again.
_verified: set[Path] = set()


def checkpoint_dir(output_dir: Path, step: int) -> Path:
    """The folder of the checkpoint of a step."""
    return output_dir / f"model_{step}"


def save(
    output_dir: Path,
    state: TrainState,
    optimizer: Mapping[str, np.ndarray] | TensorSnapshot,
    write_model: Callable[[Path], None],
) -> Path:
    """Write the checkpoint of `state.step`; returns its folder.

    optimizer: tensors by structured name. `write_model` writes the model's files into the folder
    it is passed. On OSError (such as a full disk), earlier checkpoints are unchanged.
    """
    target = checkpoint_dir(output_dir, state.step)
    partial = target.with_name(target.name + checkpoint_files.PARTIAL)
    if partial.is_dir():
        checkpoint_files.delete_unfinished(partial)
    (partial / "state").mkdir(parents=True)
    try:
        (partial / OPTIMIZER_FILE).touch()  # first: by it, the folder is recognized
        write_model(partial)
        atomic_files.write_tensors(partial / OPTIMIZER_FILE, optimizer)
        atomic_files.write_json(partial / STATE_FILE, dataclasses.asdict(state))
        atomic_files.write_manifest(partial, MANIFEST_FILE, VERSION)
        _swap(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # Newer checkpoints are not of this run, which resumed from an earlier one: the newest is this.
    set_aside_newer(output_dir, state.step)
    return target


def _swap(partial: Path, target: Path) -> None:
    """Rename `partial` to `target`. An existing `target` is kept as .replaced until that is done;
    one with a user's files is set aside."""
    old = None
    if os.path.lexists(target):
        replaceable = target.is_symlink() or not checkpoint_files.other_files(target)
        suffix = checkpoint_files.REPLACED if replaceable else checkpoint_files.ASIDE
        old = atomic_files.free_name(target, suffix)
        target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        if old is not None:
            old.rename(target)
        raise
    atomic_files.sync(target.parent)
    if old is not None and replaceable:
        checkpoint_files.discard(old)


def find_damage(folder: Path) -> str | None:
    """Verify the checksums of a checkpoint. Returns why it is not complete, or None. Raises OSError
    if it cannot be read, which is no damage."""
    return atomic_files.check_manifest(folder, MANIFEST_FILE, (STATE_FILE, OPTIMIZER_FILE))


def saved_steps(output_dir: Path) -> list[int]:
    """The steps of the checkpoints in a folder, ascending, complete or not. Raises OSError."""
    steps = []
    for path in _entries(output_dir):
        match = checkpoint_files.NAME.fullmatch(path.name)
        if match and read_files.is_dir(path) and checkpoint_files.is_checkpoint(path):
            steps.append(int(match[1]))
    return sorted(steps)


def _entries(folder: Path) -> list[Path]:
    """The content of a folder; [] if there is none. Raises OSError."""
    return list(folder.iterdir()) if read_files.is_dir(folder) else []


def latest_complete(output_dir: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest complete checkpoint, or None; `warn` gets a message for each one skipped. Raises
    OSError if one cannot be read: an older one must not take its place for that."""
    for step in reversed(saved_steps(output_dir)):
        folder = checkpoint_dir(output_dir, step)
        damage = find_damage(folder)
        if damage is None:
            _verified.add(folder.resolve())
            return folder
        warn(f"{folder} is not a complete checkpoint, skipped: {damage}")
    return None


def load(folder: Path) -> tuple[TrainState, dict[str, np.ndarray]]:
    """Read the training state and the optimizer's tensors. All processes must call this together.

    Raises OutputError when the folder is not a complete checkpoint of a supported version. The main
    process verifies it for all, unless `latest_complete` has just done so.
    """

    def verify() -> str | None:
        verified = folder.resolve() in _verified
        _verified.clear()
        return None if verified else find_damage(folder)

    damage = collectives.run_on_main(verify)
    if damage and saved_steps(folder):
        raise OutputError(
            f"{folder} is a run's folder: give one of its checkpoints, such as "
            f"{checkpoint_dir(folder, saved_steps(folder)[-1])}, or auto"
        )
    if damage:
        raise OutputError(
            f"{folder} is not a complete checkpoint: {damage}; give another one, or auto for the "
            "newest complete one"
        )
    return _read_state(folder / STATE_FILE), _read_tensors(folder / OPTIMIZER_FILE)


def saved_args(folder: Path) -> dict[str, Any]:
    """The flags of the run that saved a checkpoint, also of an older version; {} if they are
    damaged, which `load` reports. Raises OSError."""
    try:
        flags = json.loads(read_files.read_bytes(folder / STATE_FILE) or b"")["args"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return {}
    return flags if isinstance(flags, dict) else {}


def _read_state(path: Path) -> TrainState:
    """Read the state, and check that every field has its declared type."""
    try:
        values = json.loads(read_files.read_bytes(path) or b"")
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{path} cannot be read: {error}; give another checkpoint") from None
    types = {field.name: field.type for field in dataclasses.fields(TrainState)}
    version = values.get("version") if isinstance(values, dict) else None
    values = train_state.upgrade(values) if isinstance(values, dict) else None
    if values is None:
        raise OutputError(f"{path} has version {version}; this program reads version {VERSION}")
    if values.keys() != types.keys():
        raise OutputError(f"{path} has missing or unknown fields; give another checkpoint")
    for name, declared in types.items():
        origin: Any = typing.get_origin(declared)
        expected: Any = origin if origin in (dict, list) else declared
        if expected in (float, float | None):
            expected |= int  # accepted where a float is expected
        has_type = isinstance(values[name], expected)
        # bool is a subclass of int.
        if not has_type or isinstance(values[name], bool) and declared is not bool:
            raise OutputError(
                f"{path} has an invalid {name}: {values[name]!r}; give another checkpoint"
            )
    return TrainState(**values)


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise OutputError(f"{path} cannot be read: {error}; give another checkpoint") from None


def set_aside_newer(output_dir: Path, step: int) -> list[str]:
    """Rename the checkpoints newer than `step` to model_<n>.aside, so that they are not taken for
    checkpoints of the run that resumes from `step`. If that name is taken, a number is appended.
    Returns the new names."""
    names = []
    for newer in reversed(saved_steps(output_dir)):
        if newer > step:
            folder = checkpoint_dir(output_dir, newer)
            aside = atomic_files.free_name(folder, checkpoint_files.ASIDE)
            folder.rename(aside)
            names.append(aside.name)
    return names


def recover_from_crash(output_dir: Path) -> None:
    """Clean up after a crash: delete checkpoints that are half written or half deleted, and restore
    a replaced one unless the new one is complete. Raises OutputError for one of them with a user's
    files, OSError."""
    for path in _entries(output_dir):
        name = path.name
        is_ours = checkpoint_files.ANY_NAME.fullmatch(name)
        earlier = checkpoint_files.EARLIER_REPLACED.fullmatch(name)
        if not (is_ours or earlier) or not path.is_dir():
            continue
        if name.endswith(checkpoint_files.PARTIAL) or atomic_files.DELETED_SUFFIX in name:
            checkpoint_files.delete_unfinished(path)
        elif earlier and checkpoint_files.is_checkpoint(path):
            _restore_if_needed(path, path.with_name(earlier[1]))
        elif checkpoint_files.REPLACED in name and checkpoint_files.is_checkpoint(path):
            target = path.with_name(name.partition(checkpoint_files.REPLACED)[0])
            if not _restore_if_needed(path, target):
                checkpoint_files.delete_unfinished(path)


def _restore_if_needed(replaced: Path, target: Path) -> bool:
    """Rename a replaced checkpoint back unless the new one is complete; returns whether it was."""
    is_missing = not os.path.lexists(target)
    if not is_missing and (not find_damage(target) or find_damage(replaced)):
        return False
    if not is_missing:
        checkpoint_files.delete(target)
    replaced.rename(target)
    return True


def prune(
    output_dir: Path, limit: int, best_step: int | None, warn: Callable[[str], None] | None = None
) -> None:
    """Delete all but the newest `limit` checkpoints and the best one; with -1, delete none. `warn`
    gets a message for each one that is kept because of a user's files in it."""
    for step in saved_steps(output_dir)[:-limit] if limit > 0 else ():
        if step != best_step:
            try:
                checkpoint_files.delete(checkpoint_dir(output_dir, step))
            except OutputError as error:
                if warn:
                    warn(str(error))
