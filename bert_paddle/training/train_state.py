"""The training state as one type: all that a resume needs besides the tensors."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import OutputError

VERSION = 5  # of the checkpoint format
# Old name to new. Checkpoints of version 4 can still be resumed from.
FIELDS_RENAMED_IN_VERSION_5 = {"window_updates": "window_steps", "rows_per_update": "rows_per_step"}

# Flags that may change on resume; any other difference is refused.
FLAGS_FREE_ON_RESUME = frozenset(
    "output_dir overwrite_output_dir resume_from_checkpoint logging_steps save_steps "
    "save_total_limit debug n_gpu device num_workers eval_batch_size do_eval do_predict data_dir "
    "load_best_model_at_end early_stopping_patience num_train_epochs max_steps vocab_file "
    "batch_size gradient_accumulation_steps input_dir max_eval_rows report visualdl_dir "
    "train_file validation_file test_file save_strategy profile cpu_kernels recompute to_static "
    "flash_attention fused_adamw".split()
)


@dataclasses.dataclass
class TrainState:
    """The progress of a run, without the model's and the optimizer's tensors.

    No random generators are saved: dropout follows from (seed, step, rank), the data order from
    (seed, epoch).
    """

    total: int  # planned steps T; the schedule ends there, also after a resume
    step: int = 0  # finished optimizer steps
    epoch: int = 0  # the current epoch, from 0
    rows: int = 0  # finished rows of this epoch, over all processes
    batch: int = 0  # finished batches of this epoch
    window_steps: int = 0  # steps since the last log line
    window_losses: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # by rank
    epoch_losses: list[float] = dataclasses.field(default_factory=list)  # loss x rows, by rank
    seconds_before_epoch: float = 0.0  # `train_seconds` when this epoch began
    best_step: int | None = None
    best_metric: float | None = None
    evaluations_since_best: int = 0
    stopped: bool = False  # by early stopping
    train_seconds: float = 0.0
    rows_per_step: int = 0  # of the current global batch
    planned_rows: int = 0  # of the global batch that the data order was made for
    fingerprint: str = ""  # of the training data, as encoded
    scaler: dict[str, float] = dataclasses.field(default_factory=dict)  # loss scaling (AMP)
    args: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: int = VERSION

    def update_best(self, metric: float, higher_is_better: bool) -> bool:
        """Record the metric of this step if it is the best so far; returns whether it is. Of equal
        metrics the earliest stays best, and NaN never is."""
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
        """Move to the start of the next epoch."""
        self.epoch, self.rows, self.batch = self.epoch + 1, 0, 0
        self.epoch_losses, self.seconds_before_epoch = [], self.train_seconds


def check_same_run(saved: TrainState, new: TrainState, folder: Path) -> None:
    """Raise OutputError when a run with the flags and data of `new` cannot resume from `saved`."""
    differences = [
        f"--{name} was {saved.args.get(name)!r} and is {value!r}"
        for name, value in new.args.items()
        if name not in FLAGS_FREE_ON_RESUME and saved.args.get(name) != value
    ]
    if saved.fingerprint != new.fingerprint:
        differences.append("the training data, its labels or the vocabulary have changed")
    if differences:
        raise OutputError(
            f"cannot resume from {folder}: {'; '.join(differences)}; give what it was trained "
            "with, or another --output_dir for a new run"
        )
