"""Checkpoints: written atomically, verified by a checksum manifest, pruned and recovered.

    output_dir/model_500/
        model.safetensors config.json vocab.txt tokenizer_config.json  as in any model folder
        state/train_state.json state/optimizer.safetensors             what resuming needs
        manifest.json                                                  written last: sizes, SHA-256

A checkpoint is built under a temporary name, flushed to disk and renamed. A crash may leave
model_<n>.partial (half written), .old (being replaced) and .gone (half deleted); the next run in
the folder cleans up. .aside is a checkpoint newer than the one that a run resumed from.
"""

import dataclasses
import json
import re
import shutil
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import OutputError
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.training.train_state import (
    FIELDS_ADDED_LATER,
    FIELDS_RENAMED_IN_VERSION_5,
    VERSION,
    TrainState,
)

MANIFEST_FILE, STATE_FILE = "manifest.json", "state/train_state.json"
OPTIMIZER_FILE = "state/optimizer.safetensors"
_NAME = re.compile(r"model_(\d+)")
_PARTIAL, _OLD, _ASIDE = ".partial", ".old", ".aside"
_OUTPUT_FILES = (
    r"predictions|all_results\.json|metrics\.jsonl|run\.json|dev_predictions(_\w+)?\.jsonl"
    r"|test_predictions_[^/]+\.jsonl|report\.html|pictures|profile|settings\.yaml"
)
_RUN_ARTIFACT = re.compile(
    rf"(model_\d+(\.partial|\.old|\.aside\d*)?|{_OUTPUT_FILES})(\.gone)?"
    rf"|\.({_OUTPUT_FILES})\.\d+\.part"
)
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
    partial = target.with_name(target.name + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "state").mkdir(parents=True)
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
    """Rename `partial` to `target`. An existing `target` is kept as .old until that is done."""
    old = target.with_name(target.name + _OLD)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    atomic_files.sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def find_damage(folder: Path) -> str | None:
    """Verify the checksums of a checkpoint. Returns why it is not complete, or None."""
    return atomic_files.check_manifest(folder, MANIFEST_FILE, (STATE_FILE, OPTIMIZER_FILE))


def saved_steps(output_dir: Path) -> list[int]:
    """The steps of the checkpoints in a folder, ascending, complete or not."""
    if not output_dir.is_dir():
        return []
    matches = (_NAME.fullmatch(path.name) for path in output_dir.iterdir() if path.is_dir())
    return sorted(int(match[1]) for match in matches if match)


def latest_complete(output_dir: Path, warn: Callable[[str], None]) -> Path | None:
    """The newest complete checkpoint, or None; `warn` gets a message for each one skipped."""
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
    """The flags of the run that saved a checkpoint; {} if they cannot be read."""
    try:
        return _read_state(folder / STATE_FILE).args
    except (OSError, OutputError):
        return {}


def _read_state(path: Path) -> TrainState:
    """Read the state, and check that every field has its declared type."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{path} cannot be read: {error}; give another checkpoint") from None
    types = {field.name: field.type for field in dataclasses.fields(TrainState)}
    version = values.get("version") if isinstance(values, dict) else None
    if version == 4:
        values = {
            FIELDS_RENAMED_IN_VERSION_5.get(name, name): value for name, value in values.items()
        }
        values["version"] = VERSION
    elif version != VERSION:
        raise OutputError(f"{path} has version {version}; this program reads version {VERSION}")
    values = FIELDS_ADDED_LATER | values
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
            candidates = (f"model_{newer}{_ASIDE}{suffix}" for suffix in ("", *range(2, 999)))
            aside = next(name for name in candidates if not (output_dir / name).exists())
            checkpoint_dir(output_dir, newer).rename(output_dir / aside)
            names.append(aside)
    return names


def contains_run(output_dir: Path) -> bool:
    """Whether a folder contains checkpoints or metrics of a training run."""
    return bool(saved_steps(output_dir)) or (output_dir / "metrics.jsonl").is_file()


def run_artifacts(output_dir: Path) -> list[Path]:
    """The existing files and folders that runs write into their output folder."""
    entries = output_dir.iterdir() if output_dir.is_dir() else ()
    return [path for path in entries if _RUN_ARTIFACT.fullmatch(path.name)]


def remove_run(output_dir: Path) -> None:
    """Delete the files and folders that runs write into their output folder, and nothing else."""
    for path in run_artifacts(output_dir):
        atomic_files.delete(path)


def recover_from_crash(output_dir: Path) -> None:
    """Clean up after a crash: delete what is half written or half deleted, and restore a replaced
    checkpoint unless the new one is complete."""
    for path in run_artifacts(output_dir):
        if path.name.endswith((_PARTIAL, atomic_files.DELETED_SUFFIX)):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.endswith(atomic_files.PARTIAL_SUFFIX):
            path.unlink()
        elif path.name.endswith(_OLD):
            target = path.with_name(path.name.removesuffix(_OLD))
            if not target.exists() or find_damage(target) and not find_damage(path):
                atomic_files.delete(target)
                path.rename(target)
            else:
                shutil.rmtree(path, ignore_errors=True)


def prune(output_dir: Path, limit: int, best_step: int | None) -> None:
    """Delete all but the newest `limit` checkpoints and the best one; with -1, delete none."""
    for step in saved_steps(output_dir)[:-limit] if limit > 0 else ():
        if step != best_step:
            atomic_files.delete(checkpoint_dir(output_dir, step))
