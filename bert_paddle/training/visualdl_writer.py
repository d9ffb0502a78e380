"""The curves of a run for VisualDL, Paddle's own board. Imported packages: only when it is used."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files

# What says where a record stands; all other numbers of it are curves.
_PLACES = ("step", "epoch", "batch", "samples")
_FLUSH_SECONDS = 10


class VisualDLWriter:
    """One VisualDL log file that holds what metrics.jsonl holds, as scalars by step.

    Opened with the records that the run keeps, so that a resumed run's curves have no double
    points: `train/loss`, `eval/accuracy`, `eval_mismatched/accuracy`.
    """

    def __init__(self, folder: Path, run: Path, records: Iterable[Mapping[str, Any]] = ()):
        """folder: of the log file, made where it is missing; run: the run's own folder, which
        names the file, so that a resumed run finds it again. Raises OSError."""
        from visualdl import LogWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:12]
        self.path = folder / f"vdlrecords.{name}.log"
        atomic_files.delete(self.path)
        self.writer = LogWriter(
            logdir=str(folder), file_name=self.path.name, flush_secs=_FLUSH_SECONDS
        )
        for record in records:
            self._add(record)
        self.writer.flush()

    def add(self, record: Mapping[str, Any]) -> None:
        """Put a record's numbers on the board; evaluations are on the disk at once."""
        self._add(record)
        if record["kind"] != "train":
            self.writer.flush()

    def _add(self, record: Mapping[str, Any]) -> None:
        group = str(record.get("kind", "train")).replace("%", "")  # VisualDL takes no % in a name
        group += f"_{record['dev']}" if record.get("dev") else ""
        for name, value in record.items():
            if name not in _PLACES and isinstance(value, int | float):
                self.writer.add_scalar(f"{group}/{name}", float(value), record["step"])

    def close(self) -> None:
        """Write out what is left."""
        self.writer.close()
