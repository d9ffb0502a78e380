"""Checkpoints: the training state as one type; folders that are whole or are not checkpoints.

    output_dir/model_500/
        model.safetensors config.json vocab.txt tokenizer_config.json  a model folder like any other
        state/train_state.json state/optimizer.safetensors             what going on needs
        manifest.json                                                  written last: sizes, SHA-256

A checkpoint is built under another name, flushed to disk and renamed.
"""

import dataclasses
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle import files
from bert_paddle.errors import OutputError

MANIFEST, STATE, OPTIMIZER = (
    "manifest.json",
    "state/train_state.json",
    "state/optimizer.safetensors",
)
_NAME = re.compile(r"model_(\d+)")
_PARTIAL, _OLD, _ASIDE = ".partial", ".old", ".aside"
VERSION = 2

# Flags that may differ between a run and its continuation; any other difference is refused.
FREE_FLAGS = frozenset(
    "output_dir overwrite_output_dir resume_from_checkpoint logging_steps save_steps "
    "save_total_limit debug n_gpu device num_workers eval_batch_size do_eval do_predict data_dir "
    "load_best_model_at_end early_stopping_patience num_train_epochs max_steps vocab_file "
    "batch_size gradient_accumulation_steps input_dir max_eval_rows".split()
)


@dataclasses.dataclass
class TrainState:
    """Everything that says where a run stands, but for the model's and the optimizer's tensors.

    Dropout and data order need no saved generators: both follow from (seed, step, rank) and
    (seed, epoch).
    """

    total: int  # planned updates T; the schedule ends there, also after a resume
    step: int = 0  # finished updates
    epoch: int = 0  # the epoch under way, from 0
    update: int = 0  # updates of this epoch that are finished
    batch: int = 0  # batches of this epoch that are finished
    window_updates: int = 0  # updates since the last log line
    window_losses: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # by rank
    best_step: int | None = None
    best_metric: float | None = None
    evaluations_since_best: int = 0
    stopped: bool = False  # by early stopping
    train_seconds: float = 0.0
    rows_per_update: int = 0  # of the global batch
    fingerprint: str = ""  # of the training data, as encoded
    scaler: dict[str, float] = dataclasses.field(default_factory=dict)  # loss scaling (AMP)
    args: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: int = VERSION

    def note_metric(self, metric: float, higher_is_better: bool) -> bool:
        """Remember the evaluation of this step when it is the best so far, and say whether it is;
        the earliest of equals stays best, and NaN never is."""
        better = not math.isnan(metric) and (
            self.best_metric is None
            or (metric > self.best_metric) == higher_is_better
            and metric != self.best_metric
        )
        if better:
            self.best_step, self.best_metric = self.step, metric
        self.evaluations_since_best = 0 if better else self.evaluations_since_best + 1
        return better

    def next_epoch(self) -> None:
        """Move to the beginning of the next epoch."""
        self.epoch, self.update, self.batch = self.epoch + 1, 0, 0


def folder_of(output_dir: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return output_dir / f"model_{step}"


def save(
    output_dir: Path,
    state: TrainState,
    optimizer: dict[str, np.ndarray],
    write_model: Callable[[Path], None],
) -> Path:
    """Write the checkpoint of `state.step`; returns its folder.

    optimizer: tensors by structured name. `write_model` writes the model's files into the folder
    it is given. OSError (a full disk, say) leaves earlier checkpoints as they were.
    """
    target = folder_of(output_dir, state.step)
    partial = target.with_name(target.name + _PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "state").mkdir(parents=True)
        write_model(partial)
        files.write_tensors(partial / OPTIMIZER, optimizer)
        files.write_json(partial / STATE, dataclasses.asdict(state))
        _seal(partial)
        _swap(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


def _seal(folder: Path) -> None:
    """Flush every file and write the manifest that makes the folder a checkpoint."""
    entries = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        files.sync(path)
        name = path.relative_to(folder).as_posix()
        entries[name] = {"bytes": path.stat().st_size, "sha256": files.sha256(path)}
    files.sync(folder / "state")
    files.write_json(folder / MANIFEST, {"version": VERSION, "files": entries})


def _swap(partial: Path, target: Path) -> None:
    """Rename into place; a checkpoint of the same step steps aside until the new one stands."""
    old = target.with_name(target.name + _OLD)
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    partial.rename(target)
    files.sync(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def whats_wrong(folder: Path) -> str | None:
    """Why a folder is not a whole checkpoint, or None. Reads every file and its checksum."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        entries = dict(manifest["files"])
    except FileNotFoundError:
        return f"it has no {MANIFEST}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its {MANIFEST} cannot be read ({error})"
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry["bytes"]:
            return f"{name} has {path.stat().st_size} bytes, not {entry['bytes']}"
        if files.sha256(path) != entry["sha256"]:
            return f"{name} differs from its checksum"
    return None if STATE in entries else f"it has no {STATE}"


def steps(output_dir: Path) -> list[int]:
    """The steps of the checkpoints in a folder, ascending, whole or not."""
    if not output_dir.is_dir():
        return []
    found = (_NAME.fullmatch(p.name) for p in output_dir.iterdir() if p.is_dir())
    return sorted(int(match[1]) for match in found if match)


def latest(output_dir: Path, note: Callable[[str], None]) -> Path | None:
    """The newest whole checkpoint, or None; `note` is told of each one passed over."""
    for step in reversed(steps(output_dir)):
        wrong = whats_wrong(folder_of(output_dir, step))
        if wrong is None:
            return folder_of(output_dir, step)
        note(f"{folder_of(output_dir, step)} is not a whole checkpoint, passed over: {wrong}")
    return None


def read(folder: Path) -> tuple[TrainState, dict[str, np.ndarray]]:
    """The state and the optimizer's tensors. Raises OutputError when the folder is not whole."""
    from safetensors.numpy import load_file

    wrong = whats_wrong(folder)
    if wrong and steps(folder):
        raise OutputError(
            f"{folder} is a run's folder: give one of its checkpoints, such as "
            f"{folder_of(folder, steps(folder)[-1])}, or auto"
        )
    if wrong:
        raise OutputError(
            f"{folder} is not a whole checkpoint: {wrong}; give another one, or auto for the "
            "newest whole one"
        )
    values = json.loads((folder / STATE).read_text(encoding="utf-8"))
    known = {field.name for field in dataclasses.fields(TrainState)}
    if values.get("version") != VERSION or set(values) - known:
        raise OutputError(
            f"{folder / STATE} is of version {values.get('version')}, this program reads {VERSION}"
        )
    return TrainState(**values), load_file(folder / OPTIMIZER)


def check_same_run(saved: TrainState, now: TrainState, folder: Path) -> None:
    """Raise OutputError when a run that would begin as `now` cannot continue `saved`."""
    differ = [
        f"--{name} was {saved.args.get(name)!r} and is {value!r}"
        for name, value in now.args.items()
        if name not in FREE_FLAGS and saved.args.get(name) != value
    ]
    if saved.rows_per_update != now.rows_per_update:
        differ.append(
            f"an update was {saved.rows_per_update} rows and is {now.rows_per_update} (processes x "
            "--batch_size x --gradient_accumulation_steps)"
        )
    if saved.fingerprint != now.fingerprint:
        differ.append("the training data, its labels or the vocabulary have changed")
    if differ:
        raise OutputError(
            f"cannot go on from {folder}: {'; '.join(differ)}; give what it was trained with, or "
            "another --output_dir for a new run"
        )


def set_aside_newer(output_dir: Path, step: int) -> list[str]:
    """Rename the checkpoints beyond `step` to model_<n>.aside: the run that goes on from `step`
    will write its own, and a mixture could not be told apart. Returns the new names."""
    names = []
    for newer in steps(output_dir):
        if newer > step:
            aside = folder_of(output_dir, newer).with_name(f"model_{newer}{_ASIDE}")
            _delete(aside)
            folder_of(output_dir, newer).rename(aside)
            names.append(aside.name)
    return names


def _delete(path: Path) -> None:
    """Delete a file, a folder, or a link without what it points to."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def holds_run(output_dir: Path) -> bool:
    """Whether a folder holds something of a training run."""
    return bool(steps(output_dir)) or (output_dir / "metrics.jsonl").is_file()


def parts_of_run(output_dir: Path) -> list[Path]:
    """What runs write into their output folder, as far as it is there."""
    parts = []
    for path in output_dir.iterdir() if output_dir.is_dir() else ():
        name = path.name
        for suffix in (_PARTIAL, _OLD, _ASIDE):
            name = name.removesuffix(suffix)
        if _NAME.fullmatch(name) or name in ("predictions", "all_results.json", "metrics.jsonl"):
            parts.append(path)
    return parts


def remove_run(output_dir: Path) -> None:
    """Delete what runs write into their output folder, and nothing else."""
    for path in parts_of_run(output_dir):
        _delete(path)


def clear_leftovers(output_dir: Path) -> None:
    """Tidy up after a crash: half-built folders go, a replaced checkpoint comes back if alone."""
    for path in list(output_dir.glob(f"model_*{_PARTIAL}")):
        shutil.rmtree(path, ignore_errors=True)
    for path in list(output_dir.glob(f"model_*{_OLD}")):
        target = path.with_name(path.name.removesuffix(_OLD))
        if target.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.replace(path, target)


def prune(output_dir: Path, limit: int, best_step: int | None) -> None:
    """Delete the oldest checkpoints beyond `limit`; never the newest nor the best. -1: none."""
    if limit < 1:
        return
    for step in steps(output_dir)[:-limit]:
        if step != best_step:
            _delete(folder_of(output_dir, step))
