"""The training state as one type: where a run stands, all that a resume needs but tensors."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import OutputError

VERSION = 5  # of the checkpoint format
# Fields that version 4 calls otherwise; its checkpoints are read and resumed like any other.
NAMES_OF_VERSION_4 = {"window_updates": "window_steps", "rows_per_update": "rows_per_step"}

# Flags that may differ between a run and its continuation; any other difference is refused.
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
    """Everything that says where a run stands, but for the model's and the optimizer's tensors.

    Dropout and data order need no saved generators: both follow from (seed, step, rank) and
    (seed, epoch).
    """

    total: int  # planned updates T; the schedule ends there, also after a resume
    step: int = 0  # finished updates
    epoch: int = 0  # the epoch under way, from 0
    rows: int = 0  # rows of this epoch that are finished, over all processes
    batch: int = 0  # batches of this epoch that are finished
    window_steps: int = 0  # updates since the last log line
    window_losses: dict[str, list[float]] = dataclasses.field(default_factory=dict)  # by rank
    epoch_losses: list[float] = dataclasses.field(default_factory=list)  # loss x rows, by rank
    seconds_before_epoch: float = 0.0  # of `train_seconds`, those of the epochs before
    best_step: int | None = None
    best_metric: float | None = None
    evaluations_since_best: int = 0
    stopped: bool = False  # by early stopping
    train_seconds: float = 0.0
    rows_per_step: int = 0  # of the global batch that is trained now
    planned_rows: int = 0  # of the global batch that the order of the rows was planned for
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
        self.epoch, self.rows, self.batch = self.epoch + 1, 0, 0
        self.epoch_losses, self.seconds_before_epoch = [], self.train_seconds


def check_same_run(saved: TrainState, now: TrainState, folder: Path) -> None:
    """Raise OutputError when a run that would begin as `now` cannot continue `saved`."""
    differ = [
        f"--{name} was {saved.args.get(name)!r} and is {value!r}"
        for name, value in now.args.items()
        if name not in FLAGS_FREE_ON_RESUME and saved.args.get(name) != value
    ]
    if saved.fingerprint != now.fingerprint:
        differ.append("the training data, its labels or the vocabulary have changed")
    if differ:
        raise OutputError(
            f"cannot go on from {folder}: {'; '.join(differ)}; give what it was trained with, or "
            "another --output_dir for a new run"
        )
