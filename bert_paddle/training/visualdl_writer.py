"""--visualdl_dir: a run's metrics for VisualDL, which is imported only when used."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, extras

# Numbers in a record that say at what point of the run it was written; all others are plotted.
_PROGRESS_FIELDS = ("step", "epoch", "batch", "samples")
_FLUSH_SECONDS = 10


class VisualDLWriter:
    """One VisualDL log file with the content of metrics.jsonl, as scalars by step, such as
    `train/loss`, `eval/accuracy`, `eval_mismatched/accuracy`.

    Rewritten from `records` on opening, so that the curves of a resumed run have no duplicate
    points.
    """

    def __init__(self, folder: Path, run: Path, records: Iterable[Mapping[str, Any]] = ()):
        """folder: contains the log file; created if missing. run: the run's output folder, from
        which the file's name is derived, so that a resumed run replaces its own file. Raises
        OSError."""
        LogWriter = extras.import_extra("visualdl", "--visualdl_dir").LogWriter

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
        """Add a record's numbers; those of evaluations are flushed to disk at once."""
        self._add(record)
        if record["kind"] != "train":
            self.writer.flush()

    def _add(self, record: Mapping[str, Any]) -> None:
        group = str(record.get("kind", "train")).replace("%", "")  # VisualDL allows no % in a tag
        group += f"_{record['dev']}" if record.get("dev") else ""
        for name, value in record.items():
            if name not in _PROGRESS_FIELDS and isinstance(value, int | float):
                self.writer.add_scalar(f"{group}/{name}", float(value), record["step"])

    def close(self) -> None:
        """Flush and close the file."""
        self.writer.close()
