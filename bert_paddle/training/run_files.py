"""Which files in an output folder are a run's, recognized by their content.

Only these may be replaced or deleted. All others of the same names, such as a user's own run.json,
are refused before anything is written.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bert_paddle.common import atomic_files, config_file, outputs, read_files, run_log
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.errors import OutputError
from bert_paddle.training import checkpoint, checkpoint_files

RUN_FILE, RESULTS_FILE = "run.json", "all_results.json"
REPORT_PAGE, PICTURES, PREDICTIONS, PROFILE = "report.html", "pictures", "predictions", "profile"
# Pictures of the report.
PICTURE_NAME = re.compile(
    r"(loss|loss_terms|metrics|perplexity|learning_rate|throughput|lengths|mcc_by_batch"
    r"|(scatter|confusion)(_\d+)?)\.png"
)
_PREDICTIONS_JSONL = r"dev_predictions(_\w+)?\.jsonl|test_predictions_[^/]+\.jsonl"
_TEMPORARY = re.compile(
    rf"\.(({_PREDICTIONS_JSONL})|all_results\.json|metrics\.jsonl|run\.json|report\.html"
    r"|settings\.yaml)\.\d+\.part"
)
_TEMPORARY_INSIDE = re.compile(r"\.(.+)\.\d+\.part")  # in the folders of _CONTENTS
# How settings.yaml begins, also in earlier versions, and how report.html ends.
_SETTINGS_START = (b"# All settings of this run", b"# The settings of this run")
_PAGE_END = re.compile(rb"<footer>(Generated|Made) by bert_paddle [^<]*<code>python -m bert_paddle")
_END_BYTES = 2000
_PNG_START, _PNG_TEXT = b"\x89PNG\r\n\x1a\n", (b"tEXt", b"iTXt", b"zTXt")


def is_run_folder(folder: Path) -> bool:
    """Whether a folder has a run.json, results or a checkpoint that this program wrote. Raises
    OSError."""
    files = (folder / RUN_FILE, folder / RESULTS_FILE)
    return any(read_files.is_file(path) and is_own(path) for path in files) or bool(
        checkpoint.saved_steps(folder)
    )


def contains_run(output_dir: Path) -> bool:
    """Whether a folder contains checkpoints or metrics of a training run. Raises OSError."""
    metrics = output_dir / run_log.METRICS_FILE
    return bool(checkpoint.saved_steps(output_dir)) or read_files.is_file(metrics)


def run_artifacts(output_dir: Path) -> list[Path]:
    """The files and checkpoints in an output folder that runs wrote there. Raises OSError."""
    if not read_files.is_dir(output_dir):
        return []
    artifacts = []
    for path in output_dir.iterdir():
        if path.name in _CONTENTS and read_files.is_dir(path):
            inside = path.iterdir()
            artifacts += [inner for inner in inside if _is_temporary(inner) or is_own(inner)]
        elif _is_temporary(path) or is_own(path):
            artifacts.append(path)
    return artifacts


def remove_run(output_dir: Path) -> None:
    """Delete what runs wrote into their output folder, and nothing else. run.json, by which some of
    it is recognized, is deleted last."""
    artifacts = run_artifacts(output_dir)
    for path in sorted(artifacts, key=lambda path: path.name in (RUN_FILE, RESULTS_FILE)):
        if checkpoint_files.ANY_NAME.fullmatch(path.name):
            checkpoint_files.delete(path)
        else:
            atomic_files.delete(path)
    for name in _CONTENTS:
        with suppress(OSError):  # not empty, or not there
            (output_dir / name).rmdir()


def remove_temporary_files(output_dir: Path) -> None:
    """Delete files that a crash left half written."""
    for folder in (output_dir, *(output_dir / name for name in _CONTENTS)):
        for path in folder.iterdir() if read_files.is_dir(folder) else ():
            if _is_temporary(path):
                path.unlink()


def _is_temporary(path: Path) -> bool:
    """Whether a file has the name under which one of a run's files is written."""
    if path.parent.name not in _CONTENTS:
        return _TEMPORARY.fullmatch(path.name) is not None
    name = _TEMPORARY_INSIDE.fullmatch(path.name)
    return name is not None and bool(_CONTENTS[path.parent.name][0].fullmatch(name[1]))


def check_outputs(
    args: CommonArgs,
    inputs: Iterable[outputs.Input],
    models: Sequence[outputs.Input],
    file_names: Iterable[str],
    trains: bool,
) -> None:
    """Check, before anything is written, that a run replaces and deletes nothing but files of runs.

    inputs: files and folders that are read. models: those which are model folders. file_names: the
    program's own output files, relative to --output_dir. trains: whether checkpoints are written.
    Raises OutputError, OSError.
    """
    output_dir, way_out = Path(args.output_dir), "move it, or give another --output_dir"
    files = [output_dir / name for name in (*_names(args, trains), *file_names)]
    deleted = run_artifacts(output_dir) if args.overwrite_output_dir else []
    if trains:
        steps = checkpoint.saved_steps(output_dir)
        deleted += [checkpoint.checkpoint_dir(output_dir, step) for step in steps]
    settings: list[outputs.Input] = []
    if not is_settings_of_run(args.config_path, output_dir) or args.overwrite_output_dir:
        settings = [("--config", args.config_path)]
    outputs.check_inputs_kept([*inputs, *models, *settings], [*files, *deleted], way_out)
    for flag, value in models:
        if value and outputs.is_same(Path(value).expanduser(), output_dir):
            raise OutputError(f"{flag} {value} is also --output_dir: give another --output_dir")
    refuse_in_the_way([*_foreign(files), *_foreign_checkpoints(output_dir, trains, args)])


def check_report_outputs(folder: Path) -> None:
    """Raise OutputError if the report of a run would replace files that are not a report's."""
    refuse_in_the_way(list(_foreign(folder / name for name in _report_names(folder))))


def refuse_in_the_way(in_the_way: Sequence[Path]) -> None:
    """Raise OutputError if there are any files that would be replaced and are not a run's."""
    if in_the_way:
        names = ", ".join(str(path) for path in in_the_way[:3])
        more = f" and {len(in_the_way) - 3} more" if len(in_the_way) > 3 else ""
        raise OutputError(
            f"{names}{more}: in the way of this run's files, and not written by a run, or damaged: "
            "move what is yours, or give another folder"
        )


def is_settings_of_run(path: str | Path | None, output_dir: Path) -> bool:
    """Whether `path` is the settings.yaml that a run wrote into this output folder."""
    settings = output_dir / config_file.SETTINGS_FILE
    return path is not None and outputs.is_same(Path(path), settings) and is_own(settings)


def _names(args: CommonArgs, trains: bool) -> Iterator[str]:
    """The output files of all programs, relative to the output folder."""
    yield from (RUN_FILE, RESULTS_FILE, run_log.METRICS_FILE)
    if trains:
        yield config_file.SETTINGS_FILE
    if args.report:
        yield from _report_names(Path(args.output_dir))
    if args.profile:
        yield from _inside(Path(args.output_dir) / PROFILE, _PROFILE_NAME)


def _report_names(output_dir: Path) -> Iterator[str]:
    yield REPORT_PAGE
    yield from _inside(output_dir / PICTURES, PICTURE_NAME)


def _inside(folder: Path, pattern: re.Pattern) -> Iterator[str]:
    if read_files.is_dir(folder):
        names = (path.name for path in folder.iterdir())
        yield from (f"{folder.name}/{name}" for name in names if pattern.fullmatch(name))


def _foreign(files: Iterable[Path]) -> Iterator[Path]:
    """The existing ones that no run wrote."""
    for path in files:
        if read_files.exists(path) and not is_own(path):
            yield path


def _foreign_checkpoints(output_dir: Path, trains: bool, args: CommonArgs) -> Iterator[Path]:
    """Folders of a checkpoint's name that are none; and, if they would be deleted, files in
    checkpoints that are not theirs."""
    for path in sorted(output_dir.iterdir()) if trains and read_files.is_dir(output_dir) else ():
        if not checkpoint_files.ANY_NAME.fullmatch(path.name):
            continue
        if not is_own(path):
            yield path
        elif args.overwrite_output_dir and not path.is_symlink():
            yield from (path / name for name in checkpoint_files.other_files(path))


def is_own(path: Path) -> bool:
    """Whether a run wrote a file or a checkpoint, judged by its name and content. An empty file
    counts too: there is nothing to lose. Raises OSError."""
    if checkpoint_files.ANY_NAME.fullmatch(path.name):
        return read_files.is_dir(path) and checkpoint_files.is_checkpoint(path)
    recognize = _recognizer(path)
    if recognize is None or not read_files.is_file(path):
        return False
    return not path.stat().st_size or recognize(path)


def _recognizer(path: Path) -> Callable[[Path], bool] | None:
    """The function that recognizes a run's file of this name; None if it is no name of one."""
    if path.parent.name in _CONTENTS:
        pattern, recognize = _CONTENTS[path.parent.name]
        return recognize if pattern.fullmatch(path.name) else None
    if re.fullmatch(_PREDICTIONS_JSONL, path.name):
        return _is_predictions
    return _FILES.get(path.name)


def _is_run_info(path: Path) -> bool:
    content = read_files.read_json_object(path) or {}
    return "finished" in content and isinstance(content.get("settings"), dict)


def _is_results(path: Path) -> bool:
    content = read_files.read_json_object(path) or {}
    return "task" in content and any(key in content for key in ("data", "global_step", "model"))


def _is_metrics(path: Path) -> bool:
    """Whether any line is a record, since a crash may leave others."""
    return any("kind" in record for record in run_log.read_metrics(path.parent))


def _is_settings(path: Path) -> bool:
    return (read_files.read_bytes(path) or b"").startswith(_SETTINGS_START)


def is_page(path: Path) -> bool:
    """Whether a file is a page of `bert-paddle report`."""
    return bool(_PAGE_END.search((read_files.read_bytes(path) or b"")[-_END_BYTES:]))


def _is_predictions(path: Path) -> bool:
    with read_files.errors_name(path), path.open("rb") as file:
        line = file.readline()
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(row, dict) and {"index", "text_a", "prediction"} <= row.keys()


def _is_submission(path: Path) -> bool:
    """Whether a file has the header of predictions, and its name is in the run's results, or the
    run was interrupted before it wrote these: others write such files too."""
    with read_files.errors_name(path), path.open("rb") as file:
        header = file.readline()
    run = path.parent.parent
    results = read_files.read_json_object(run / RESULTS_FILE) or {}
    info = read_files.read_json_object(run / RUN_FILE) or {}
    settings = info.get("settings")
    predicts = isinstance(settings, dict) and bool(settings.get("do_predict"))
    is_interrupted = predicts and info.get("finished", "") is None
    return header.startswith(b"index\tprediction") and (
        f"predictions_{path.name}" in results or is_interrupted
    )


def is_picture(path: Path) -> bool:
    """Whether a file is a picture of a report: PNG at its resolution, without a text that names
    another program."""
    content = read_files.read_bytes(path) or b""
    resolution = b"pHYs" + (7874).to_bytes(4, "big") * 2 + b"\x01"  # 200 dpi, in pixels per metre
    return (
        content.startswith(_PNG_START)
        and resolution in content[:200]
        and not any(mark in content[:200] for mark in _PNG_TEXT)
    )


def _is_profile(path: Path) -> bool:
    return is_run_folder(path.parent.parent)


_FILES: dict[str, Callable[[Path], bool]] = {
    RUN_FILE: _is_run_info,
    RESULTS_FILE: _is_results,
    run_log.METRICS_FILE: _is_metrics,
    config_file.SETTINGS_FILE: _is_settings,
    REPORT_PAGE: is_page,
}
_PROFILE_NAME = re.compile(r"(table_\d+\.txt|trace_\d+\.json)")
# Folders in the output folder: the names of a run's files in them, and how these are recognized.
_CONTENTS: dict[str, tuple[re.Pattern, Callable[[Path], bool]]] = {
    PICTURES: (PICTURE_NAME, is_picture),
    PREDICTIONS: (re.compile(r".+\.tsv"), _is_submission),
    PROFILE: (_PROFILE_NAME, _is_profile),
}
