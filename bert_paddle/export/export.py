"""Export a model: load it, write it to a temporary folder, check it there, move it into place."""

import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from bert_paddle.common import atomic_files, extras, hardware, outputs, read_files
from bert_paddle.common.errors import OutputError, RunError, UserError, WeightsError
from bert_paddle.export import card, check, hugging_face, int8, onnx_graph, paddle_inference, sample
from bert_paddle.export.check import CheckResult
from bert_paddle.export.int8 import Int8Options, Int8Result
from bert_paddle.export.source import ExportSource, find_model_dir, load_source

EXPORT_INFO_FILE = "export.json"  # the export's metadata; a folder with it is an export
_EXPORT_INFO_KEYS = frozenset(("format", "exported"))
# The files of exports, of all formats and earlier versions.
_FILE_NAMES = frozenset(
    "export.json README.md config.json vocab.txt tokenizer.json tokenizer_config.json "
    "special_tokens_map.json added_tokens.json model.safetensors model.onnx model.json "
    "model.pdmodel model.pdiparams model.pdiparams.info".split()
)
_WRITERS: dict[str, Callable[[ExportSource, Path], None]] = {
    "hf": hugging_face.write,
    "onnx": onnx_graph.write,
    "paddle_inference": paddle_inference.write,
}


@dataclass(frozen=True)
class ExportResult:
    """The export's folder, its size in bytes, the result of its check, and the comparison of 8-bit
    weights with float32 where they were asked for."""

    folder: Path
    size: int
    check: CheckResult
    quantized: Int8Result | None = None


def export_model(
    model_dir: str,
    export_format: str,
    output: str | None = None,
    overwrite: bool = False,
    checker: str | None = None,
    do_lower_case: bool | None = None,
    log: Callable[[str], None] = lambda line: None,
    int8_options: Int8Options | None = None,
) -> ExportResult:
    """Write a model in another format, and compare its logits with the original's; call
    `set_up_device` first.

    model_dir: a Paddle or Hugging Face folder with a classifier or, for hf, a pre-training model.
    export_format: one of FORMATS. output: the folder to create; default: the model's
    path with "_<format>" appended. overwrite: replace an earlier export. checker: the Python
    interpreter that runs the check; default: the current one. do_lower_case, log: as in
    `glue.predictor.Predictor`. int8_options: with them, an ONNX model gets 8-bit weights, after the
    check of its float32 ones.

    Raises UserError for invalid input, RunError when the export's logits are wrong or 8-bit weights
    lose too much. In these cases nothing is written, and an earlier export is kept.
    """
    if export_format == "onnx":
        extras.import_extra("onnx", "--format onnx")
    python = check.find_checker_python(checker)
    target = _resolve_output_dir(model_dir, export_format, output, overwrite)
    source = load_source(model_dir, do_lower_case, log)
    if source.is_pretraining_model and export_format != "hf":
        raise WeightsError(
            f"{source.folder} is a pre-training model, and {export_format} supports classification "
            "and regression models only: fine-tune it first, or give --format hf"
        )
    dev = int8.read_dev_rows(source, int8_options.dev_predictions) if int8_options else None
    temp_dir = _create_temp_dir(target, sum(tensor.nbytes for tensor in source.tensors().values()))
    try:
        _write_files(export_format, source, temp_dir)
        batches = sample.make_batches(source)
        result = check.compare_logits(export_format, temp_dir, source, batches, python)
        quantized = None
        if int8_options and dev:
            quantized = int8.quantize(temp_dir, dev, int8_options.max_drop, python)
        timestamp = datetime.now(timezone.utc).isoformat(timespec="seconds")
        extra_packages = ("onnx",) if export_format == "onnx" else ()
        export_info = {
            "format": export_format,
            "from": source.folder.resolve().name,
            "exported": timestamp,
            "checked": str(result),
            "largest_difference": None if result.skip_reason else result.max_difference,
            "versions": hardware.versions(*extra_packages),
        }
        if quantized:
            export_info["int8"] = dataclasses.asdict(quantized)
        atomic_files.write_json(temp_dir / EXPORT_INFO_FILE, export_info)
        checked = f"{result}; {quantized}" if quantized else str(result)
        card.write_card(source, export_format, checked, timestamp, temp_dir, target.name)
        size = _sync_to_disk(temp_dir)
        _move_into_place(temp_dir, target)
    finally:
        shutil.rmtree(temp_dir, ignore_errors=True)
    return ExportResult(target, size, result, quantized)


def _resolve_output_dir(
    model_dir: str, export_format: str, output: str | None, overwrite: bool
) -> Path:
    """The folder to write. Raises OutputError if it exists and must not be replaced."""
    source = find_model_dir(model_dir)
    # A model given by name is in the cache: its export is written to the current folder.
    is_path = Path(model_dir).expanduser().is_dir()
    base = source if is_path else Path(source.name)
    if base.name in ("", ".."):  # the working directory, or one above it
        base = base.resolve()
    if not base.name and not output:
        raise OutputError(f"{model_dir} has no folder beside it: give --output")
    default = base.parent / f"{base.name}_{export_format}"
    target = Path(output).expanduser() if output else default
    if target.resolve() == source.resolve() or outputs.is_same(target, source):
        raise OutputError(f"--output {target} is the model itself: give another folder")
    if source.resolve() in target.resolve().parents:
        raise OutputError(
            f"--output {target} is inside the model's folder, which is never changed: give a "
            "folder outside it"
        )
    if not target.exists() and not target.is_symlink():
        return target
    if not target.is_dir() or target.is_symlink():
        raise OutputError(f"--output {target} is not a folder: give another name")
    info = read_files.read_json_object(target / EXPORT_INFO_FILE) or {}
    names = sorted(path.name for path in target.iterdir())
    replaceable = not names or _EXPORT_INFO_KEYS <= info.keys()
    others = [name for name in names if name not in _FILE_NAMES]
    if replaceable and overwrite and others:
        raise OutputError(
            f"--output {target} is not replaced, since it contains files that are not the export's "
            f"({', '.join(others[:3])}): move them, or give another name"
        )
    if replaceable and overwrite:
        return target
    if replaceable:
        raise OutputError(f"--output {target} already exists: give --overwrite, or another name")
    raise OutputError(
        f"--output {target} already exists and is not an export (it has no {EXPORT_INFO_FILE}), "
        "so it is not replaced: give another name"
    )


def _create_temp_dir(target: Path, size: int) -> Path:
    """Create a temporary folder next to the target. Raises OutputError if that is not possible,
    RunError if the disk has fewer than `size` bytes free."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temp_dir = atomic_files.temporary_path(target)
        temp_dir.mkdir()
    except OSError as error:
        raise OutputError(
            f"--output {target} cannot be written ({error.strerror}): give another folder"
        ) from None
    free = shutil.disk_usage(temp_dir).free
    if free < size * 1.02:  # the weights, and 2 % for all other files
        temp_dir.rmdir()
        raise RunError(
            f"the disk is full: the export needs {size / 1e6:.0f} MB, and {target.parent} has "
            f"{free / 1e6:.0f} MB free"
        )
    return temp_dir


def _write_files(export_format: str, source: ExportSource, folder: Path) -> None:
    """Write the format's files. Raises RunError, with one line, for any exception of the library
    that writes them; UserError and OSError are passed on."""
    try:
        _WRITERS[export_format](source, folder)
    except (UserError, OSError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
        raise RunError(f"{export_format} could not be written: {reason}") from error


def _sync_to_disk(folder: Path) -> int:
    """Flush all files to disk; returns their total size in bytes."""
    size = 0
    for path in (*sorted(folder.rglob("*")), folder):
        if path.is_file():
            path.chmod(0o644)  # some libraries create files with 0600
            size += path.stat().st_size
        atomic_files.sync(path)
    return size


def _move_into_place(temp_dir: Path, target: Path) -> None:
    atomic_files.delete(target)  # an earlier export, if any
    temp_dir.rename(target)
    atomic_files.sync(target.parent)
