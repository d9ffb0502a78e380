"""run.json: what a run was, for everything that reads its folder afterwards (see docs/REPORT.md).

It is begun with the training and completed at its end; one that was never completed says that the
run was cut short.
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, hardware, run_log
from bert_paddle.common.args import CommonArgs
from bert_paddle.distributed import collectives
from bert_paddle.training import visualdl_writer

RUN_FILE = "run.json"


@dataclass(frozen=True)
class RunInfo:
    """What a program says of its run.

    task: its name. data: "glue", "demo" or "own". parameters: of the model. labels: class names in
    the order of the logits, empty for a regression and for pre-training. metric: what the best step
    is chosen by (the mean of these), named as in all_results.json. rows: of each set, by name.
    lengths: see `length_counts`. steps: updates planned, and of an epoch.
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


def length_counts(lengths: Any, cut: int, most: int) -> dict[str, Any]:
    """What run.json says of the rows' lengths. lengths: int [n], word pieces of each row after
    cutting to `most`; cut: rows that were longer."""
    import numpy as np

    counts = np.bincount(lengths, minlength=most + 1).tolist()
    return {"max_seq_length": most, "counts": counts, "cut": int(cut)}


class RunInfoFile:
    """A run's own file about itself. All processes make one; the main process writes."""

    def __init__(self, args: CommonArgs, output_dir: Path, log: run_log.RunLog):
        self.args, self.output_dir, self.log = args, output_dir, log
        self.values: dict[str, Any] | None = None  # None: the file tells of another run, and stays

    def begin(self, about: RunInfo, trains: bool, resumed: bool) -> None:
        """Write run.json, as of a run that is not finished. One that only evaluates or predicts
        leaves the file of the training that its folder holds.

        resumed: this run goes on with the one in the folder, whose start stays.
        """
        before = read(self.output_dir)
        if not trains and before.get("trains") and before.get("task") == about.task:
            return
        now = _now()
        started = before.get("started") if resumed and before else None
        self.values = {
            **asdict(about),
            "trains": trains,
            "settings": self.args.as_dict(),
            "given": sorted(self.args.given),
            "model": self.args.model_name_or_path,
            "machine": _machine(),
            "processes": collectives.get_world().size,
            "versions": hardware.versions(),
            "started": started or now,
            "resumed": [*(before.get("resumed") or []), now] if started and before else [],
            "finished": None,
        }
        collectives.run_on_main(self._write)
        if self.args.visualdl_dir:
            collectives.run_on_main(self._open_board)

    def _write(self) -> None:
        atomic_files.write_json(self.output_dir / RUN_FILE, run_log.finite_or_none(self.values))

    def _open_board(self) -> None:
        """Have the log's records drawn by VisualDL too, those kept from before first."""
        assert self.args.visualdl_dir
        kept = run_log.read_records(self.output_dir)
        try:
            self.log.board = visualdl_writer.VisualDLWriter(
                Path(self.args.visualdl_dir), self.output_dir, kept
            )
        except (OSError, ImportError) as error:
            self.log.warning(f"--visualdl_dir {self.args.visualdl_dir}: not written ({error})")

    def finish(self) -> None:
        """Complete run.json, and close the VisualDL log."""
        if self.values is not None:
            self.values["finished"] = _now()
            collectives.run_on_main(self._write)
        self.log.close_board()


def read(output_dir: Path) -> dict[str, Any]:
    """The content of a folder's run.json; {} where there is none that can be read."""
    try:
        found = json.loads((output_dir / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _machine() -> str:
    import paddle

    gpu = f"{paddle.device.cuda.get_device_name()}, " if collectives.on_gpu() else ""
    return gpu + hardware.hardware()
