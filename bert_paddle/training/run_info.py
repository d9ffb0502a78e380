"""run.json: the description of a run, for the report and other readers (see docs/REPORT.md).

It is written when the program starts to train or evaluate, and completed at the end; `finished` is
null until then, and stays null for a run that did not complete.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, hardware, read_files, run_log
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.errors import UserError, WeightsError
from bert_paddle.common.flag_fields import flag_names
from bert_paddle.distributed import collectives
from bert_paddle.models import model_config
from bert_paddle.training import visualdl_writer
from bert_paddle.training.run_files import RUN_FILE


@dataclass(frozen=True)
class RunInfo:
    """A program's description of its run.

    task: its name. data: "glue", "demo" or "own". parameters: of the model. labels: class names in
    the order of the logits, empty for regression and pre-training. metric: names, as in
    all_results.json, of the metrics whose mean selects the best step. rows: number of rows by
    dataset split. lengths: see `length_counts`. steps: in total ("planned"), and per epoch
    ("per_epoch"). class_counts: rows of each class, in the order of `labels`, by dataset split.
    example: a row as the model's input, `input_ids`, `input_mask`, `segment_ids` and `pieces` with
    padding, and its `label`.
    """

    program: str
    task: str
    data: str
    parameters: int
    metric: list[str]
    higher_is_better: bool = True
    labels: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, Any] | None = None
    steps: dict[str, int] | None = None
    class_counts: dict[str, list[int]] = field(default_factory=dict)
    example: dict[str, Any] | None = None


def length_counts(lengths: Any, truncated: int, max_length: int) -> dict[str, Any]:
    """The distribution of row lengths, in run.json's format. lengths: int [n], tokens of each row
    after truncation to `max_length`; truncated: the number of rows that were longer."""
    import numpy as np

    counts = np.bincount(lengths, minlength=max_length + 1).tolist()
    return {"max_seq_length": max_length, "counts": counts, "cut": int(truncated)}


class RunInfoFile:
    """The run.json of a run. Every process has an instance; the main process writes the file."""

    def __init__(self, args: CommonArgs, output_dir: Path, log: run_log.RunLog):
        self.args, self.output_dir, self.log = args, output_dir, log
        self.values: dict[str, Any] | None = None  # None: an existing file is kept

    def start(self, run_info: RunInfo, is_training: bool, resumed: bool) -> None:
        """Write run.json with `finished` null. If this run only evaluates or predicts, and the
        folder has the run.json of a training, that file is kept unchanged.

        is_training: whether this run trains, and does not only evaluate or predict. resumed: this
        run continues the one in the folder, whose start time is kept.
        """
        previous = read(self.output_dir)
        if not is_training and previous.get("trains") and previous.get("task") == run_info.task:
            return
        now = _now()
        started = previous.get("started") if resumed else None
        resumes = previous.get("resumed")
        self.values = {
            **asdict(run_info),
            "trains": is_training,
            "settings": self.args.as_dict(),
            "given": sorted(self.args.explicit_flags),  # flags set explicitly
            "not_in_comparisons": list(flag_names(type(self.args), in_comparisons=False)),
            "model": self.args.model_name_or_path,
            "machine": _machine(),
            "processes": collectives.get_world().size,
            "versions": hardware.versions(),
            "started": started or now,
            # The time of each resume.
            "resumed": [*(resumes if isinstance(resumes, list) else []), now] if started else [],
            "finished": None,
        }
        collectives.run_on_main(self._write)
        if self.args.visualdl_dir:
            collectives.run_on_main(self._open_visualdl)

    def _write(self) -> None:
        atomic_files.write_json(self.output_dir / RUN_FILE, run_log.finite_or_none(self.values))

    def _open_visualdl(self) -> None:
        """Write the log's records to VisualDL too, including those already in metrics.jsonl."""
        assert self.args.visualdl_dir
        records = run_log.read_metrics(self.output_dir)
        try:
            folder = Path(self.args.visualdl_dir)
            self.log.copy_records_to(
                visualdl_writer.VisualDLWriter(folder, self.output_dir, records)
            )
        except (OSError, UserError) as error:
            self.log.warning(f"--visualdl_dir {self.args.visualdl_dir}: not written ({error})")

    def finish(self) -> None:
        """Complete run.json, and close the VisualDL log."""
        if self.values is not None:
            self.values["finished"] = _now()
            collectives.run_on_main(self._write)
        self.log.close_sink()


def read(output_dir: Path) -> dict[str, Any]:
    """The content of a folder's run.json; {} where it is missing or damaged. Raises OSError if it
    cannot be read."""
    return read_files.read_json_object(output_dir / RUN_FILE) or {}


def check_classifier_kinds(output_dir: Path) -> None:
    """Raise WeightsError if a run's models, or the one that it used, are of a kind that is not
    supported (see `model_config.check_classifier_kind`). Models that are gone are not checked."""
    used = read(output_dir).get("model")
    folders = [*output_dir.glob("model_*"), *([Path(used)] if isinstance(used, str) else [])]
    for folder in folders:
        try:
            config = model_config.read_config(folder)
        except WeightsError:
            continue
        model_config.check_classifier_kind(config)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _machine() -> str:
    import paddle

    gpu = f"{paddle.device.cuda.get_device_name()}, " if collectives.on_gpu() else ""
    return gpu + hardware.machine()
