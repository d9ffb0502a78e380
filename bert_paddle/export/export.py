"""The story of an export: read the model, write its files beside, check them, put them in place."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bert_paddle.common import atomic_files, hardware
from bert_paddle.common.errors import OutputError, RunError, UserError, WeightsError
from bert_paddle.export import card, check, hugging_face, onnx_graph, paddle_inference, sample
from bert_paddle.export.check import Checked
from bert_paddle.export.source import ExportSource, find, load

RECORD_FILE = "export.json"  # what an export says of itself, and is known by
_WRITERS: dict[str, Callable[[ExportSource, Path], None]] = {
    "hf": hugging_face.write,
    "onnx": onnx_graph.write,
    "paddle_inference": paddle_inference.write,
}


@dataclass(frozen=True)
class Exported:
    """Where an export lies, its bytes, and how it compares with the model."""

    folder: Path
    size: int
    checked: Checked


def export(
    model_dir: str,
    form: str,
    output: str | None = None,
    overwrite: bool = False,
    checker: str | None = None,
) -> Exported:
    """Write a model in another tool's form and have that tool check it; paddle has to be ready.

    model_dir: a folder of any kind with a classifier or, for hf, a pre-training model. form: one of
    FORMATS. output: the new folder; None for the model's with the form's name behind. overwrite:
    replace an earlier export. checker: the python that checks, where it is not this one.

    Raises UserError for what the user gave, RunError when the export computes something else; then
    nothing is put in place, and an earlier export stays.
    """
    python = check.interpreter(checker)
    target = _target(model_dir, form, output, overwrite)
    source = load(model_dir)
    if source.is_pretrained and form != "hf":
        raise WeightsError(
            f"{source.folder} is a pre-training model, and {form} is written of classifiers and "
            "regressions only: fine-tune it first, or give --format hf"
        )
    beside = _beside(target, sum(tensor.nbytes for tensor in source.tensors().values()))
    try:
        _write(form, source, beside)
        checked = check.compare(form, beside, source, sample.batches(source), python)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        record = {
            "format": form,
            "from": source.folder.resolve().name,
            "exported": now,
            "checked": str(checked),
            "largest_difference": None if checked.unchecked else checked.difference,
            "versions": hardware.versions("onnx") if form == "onnx" else hardware.versions(),
        }
        atomic_files.write_json(beside / RECORD_FILE, record)
        card.write(source, form, str(checked), now, beside, target.name)
        size = _flush(beside)
        _put(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Exported(target, size, checked)


def _target(model_dir: str, form: str, output: str | None, overwrite: bool) -> Path:
    """The folder to write. Raises OutputError for one that holds something else."""
    source = find(model_dir)
    here = Path(model_dir).expanduser().is_dir()
    plain = source if here else Path(source.name)
    target = Path(output).expanduser() if output else plain.with_name(f"{plain.name}_{form}")
    if target.resolve() == source.resolve():
        raise OutputError(f"--output {target} is the model itself: give another folder")
    if source.resolve() in target.resolve().parents:
        raise OutputError(
            f"--output {target} lies in the model's folder, which stays as it is: give a folder "
            "beside it"
        )
    if not target.exists() and not target.is_symlink():
        return target
    if not target.is_dir() or target.is_symlink():
        raise OutputError(f"--output {target} is no folder: give another name")
    ours = (target / RECORD_FILE).is_file() or not any(target.iterdir())
    if ours and overwrite:
        return target
    if ours:
        raise OutputError(f"--output {target} is there already: give --overwrite, or another name")
    raise OutputError(
        f"--output {target} is there already and is no export (it has no {RECORD_FILE}), so it is "
        "not replaced: give another name"
    )


def _beside(target: Path, size: int) -> Path:
    """A new folder beside the target, with room for `size` bytes."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(
            tempfile.mkdtemp(prefix=f".{target.name}.", suffix=atomic_files.PART, dir=target.parent)
        )
        beside.chmod(0o755)  # mkdtemp gives 0700
    except OSError as error:
        raise OutputError(
            f"--output {target} cannot be written ({error.strerror}): give another folder"
        ) from None
    free = shutil.disk_usage(beside).free
    if free < size * 1.02:
        beside.rmdir()
        raise RunError(
            f"the disk is full: the export has {size / 1e6:.0f} MB, and there are "
            f"{free / 1e6:.0f} MB free at {target.parent}"
        )
    return beside


def _write(form: str, source: ExportSource, folder: Path) -> None:
    """The files of the format. What its library says of a refusing disk becomes one line."""
    try:
        _WRITERS[form](source, folder)
    except (UserError, OSError):
        raise
    except Exception as error:
        words = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        raise RunError(f"{form} could not be written: {words}") from error


def _flush(folder: Path) -> int:
    """Everything onto the disk; returns the bytes."""
    size = 0
    for path in (*sorted(folder.rglob("*")), folder):
        if path.is_file():
            path.chmod(0o644)  # some libraries give 0600
            size += path.stat().st_size
        atomic_files.sync(path)
    return size


def _put(beside: Path, target: Path) -> None:
    atomic_files.delete(target)  # an earlier export, or nothing
    beside.rename(target)
    atomic_files.sync(target.parent)
