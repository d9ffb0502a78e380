"""Checkpoints: the training state as one type; folders that are whole or are not checkpoints.

    output_dir/model_500/
        model.safetensors config.json vocab.txt tokenizer_config.json  a model folder like any other
        state/train_state.json state/optimizer.safetensors             what going on needs
        manifest.json                                                  written last: sizes, SHA-256

A checkpoint is built under another name, flushed to disk and renamed. Beside them a crash may
leave model_<n>.partial (half built), .old (replaced) and .gone (half deleted), which the next start
sees to; .aside is a checkpoint beyond the one that a run went on from.
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
from bert_paddle.training.train_state import NAMES_OF_VERSION_4, VERSION, TrainState

MANIFEST, STATE = "manifest.json", "state/train_state.json"
OPTIMIZER = "state/optimizer.safetensors"
_NAME = re.compile(r"model_(\d+)")
_PARTIAL, _OLD, _ASIDE = ".partial", ".old", ".aside"
_FILES = (
    r"predictions|all_results\.json|metrics\.jsonl|run\.json|dev_predictions(_\w+)?\.jsonl"
    r"|test_predictions_[^/]+\.jsonl|report\.html|pictures|profile|settings\.yaml"
)
_PART_OF_RUN = re.compile(
    rf"(model_\d+(\.partial|\.old|\.aside\d*)?|{_FILES})(\.gone)?|\.({_FILES})\.\d+\.part"
)
_found_whole: set[Path] = set()  # by `latest` in this process, for `read`


def checkpoint_dir(output_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return output_dir / f"model_{step}"


def save(
    output_dir: Path,
    state: TrainState,
    optimizer: Mapping[str, np.ndarray] | TensorSnapshot,
    write_model: Callable[[Path], None],
) -> Path:
    """Write the checkpoint of `state.step`; returns its folder.

    optimizer: tensors by structured name. `write_model` writes the model's files into the folder
    it is given. OSError (a full disk, say) leaves earlier checkpoints as they were.
    """
    target = checkpoint_dir(output_dir, state.step)
    partial = target.with_name(target.name + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "state").mkdir(parents=True)
        write_model(partial)
        atomic_files.write_tensors(partial / OPTIMIZER, optimizer)
        atomic_files.write_json(partial / STATE, dataclasses.asdict(state))
        atomic_files.write_manifest(partial, MANIFEST, VERSION)
        _swap(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # What lies beyond is of a run that this one does not continue: it must not count as newest.
    set_aside_newer(output_dir, state.step)
    return target


def _swap(partial: Path, target: Path) -> None:
    """Rename into place; a checkpoint of the same step steps aside until the new one stands."""
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
    """Why a folder is not a whole checkpoint, or None. Reads every file and its checksum."""
    return atomic_files.check_manifest(folder, MANIFEST, (STATE, OPTIMIZER))


def saved_steps(output_dir: Path) -> list[int]:
    """The steps of the checkpoints in a folder, ascending, whole or not."""
    if not output_dir.is_dir():
        return []
    found = (_NAME.fullmatch(p.name) for p in output_dir.iterdir() if p.is_dir())
    return sorted(int(match[1]) for match in found if match)


def latest_complete(output_dir: Path, note: Callable[[str], None]) -> Path | None:
    """The newest whole checkpoint, or None; `note` is told of each one passed over."""
    for step in reversed(saved_steps(output_dir)):
        folder = checkpoint_dir(output_dir, step)
        wrong = find_damage(folder)
        if wrong is None:
            _found_whole.add(folder.resolve())
            return folder
        note(f"{folder} is not a whole checkpoint, passed over: {wrong}")
    return None


def load(folder: Path) -> tuple[TrainState, dict[str, np.ndarray]]:
    """The state and the optimizer's tensors; called by all processes together.

    Raises OutputError when the folder is not a whole checkpoint of this version. The main process
    looks, for all: not again where `latest` has just done so.
    """

    def look() -> str | None:
        known = folder.resolve() in _found_whole
        _found_whole.clear()
        return None if known else find_damage(folder)

    wrong = collectives.run_on_main(look)
    if wrong and saved_steps(folder):
        raise OutputError(
            f"{folder} is a run's folder: give one of its checkpoints, such as "
            f"{checkpoint_dir(folder, saved_steps(folder)[-1])}, or auto"
        )
    if wrong:
        raise OutputError(
            f"{folder} is not a whole checkpoint: {wrong}; give another one, or auto for the "
            "newest whole one"
        )
    return _read_state(folder / STATE), _read_tensors(folder / OPTIMIZER)


def _read_state(path: Path) -> TrainState:
    """The state, every field of its type."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise OutputError(f"{path} cannot be read: {error}; give another checkpoint") from None
    kinds = {field.name: field.type for field in dataclasses.fields(TrainState)}
    version = values.get("version") if isinstance(values, dict) else None
    if version == 4:
        values = {NAMES_OF_VERSION_4.get(name, name): value for name, value in values.items()}
        version = values["version"] = VERSION
    if version != VERSION or values.keys() != kinds.keys():
        raise OutputError(f"{path} is of version {version}, this program reads {VERSION}")
    for name, kind in kinds.items():
        origin: Any = typing.get_origin(kind)
        plain: Any = origin if origin in (dict, list) else kind
        right = isinstance(values[name], plain | int if plain in (float, float | None) else plain)
        if not right or isinstance(values[name], bool) and kind is not bool:
            raise OutputError(f"{path}: {name} is {values[name]!r}; give another checkpoint")
    return TrainState(**values)


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise OutputError(f"{path} cannot be read: {error}; give another checkpoint") from None


def set_aside_newer(output_dir: Path, step: int) -> list[str]:
    """Rename the checkpoints beyond `step` to model_<n>.aside: the run that goes on from `step`
    will write its own, and a mixture could not be told apart. Those set aside before stay, and
    this one is numbered. Returns the new names."""
    names = []
    for newer in reversed(saved_steps(output_dir)):
        if newer > step:
            free = (f"model_{newer}{_ASIDE}{again}" for again in ("", *range(2, 999)))
            aside = next(name for name in free if not (output_dir / name).exists())
            checkpoint_dir(output_dir, newer).rename(output_dir / aside)
            names.append(aside)
    return names


def holds_run(output_dir: Path) -> bool:
    """Whether a folder holds something of a training run."""
    return bool(saved_steps(output_dir)) or (output_dir / "metrics.jsonl").is_file()


def run_artifacts(output_dir: Path) -> list[Path]:
    """What runs write into their output folder, as far as it is there."""
    entries = output_dir.iterdir() if output_dir.is_dir() else ()
    return [path for path in entries if _PART_OF_RUN.fullmatch(path.name)]


def remove_run(output_dir: Path) -> None:
    """Delete what runs write into their output folder, and nothing else."""
    for path in run_artifacts(output_dir):
        atomic_files.delete(path)


def clear_leftovers(output_dir: Path) -> None:
    """Tidy up after a crash: what is half built or half deleted goes, a replaced checkpoint comes
    back unless the new one is whole."""
    for path in run_artifacts(output_dir):
        if path.name.endswith((_PARTIAL, atomic_files.GONE)):
            shutil.rmtree(path, ignore_errors=True)
        elif path.name.endswith(atomic_files.PART):
            path.unlink()
        elif path.name.endswith(_OLD):
            target = path.with_name(path.name.removesuffix(_OLD))
            if not target.exists() or find_damage(target) and not find_damage(path):
                atomic_files.delete(target)
                path.rename(target)
            else:
                shutil.rmtree(path, ignore_errors=True)


def prune(output_dir: Path, limit: int, best_step: int | None) -> None:
    """Delete the oldest checkpoints beyond `limit`; never the newest nor the best. -1: none."""
    for step in saved_steps(output_dir)[:-limit] if limit > 0 else ():
        if step != best_step:
            atomic_files.delete(checkpoint_dir(output_dir, step))
