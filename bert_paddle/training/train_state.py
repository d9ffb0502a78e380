"""The training state: everything that resuming needs besides the tensors."""

import dataclasses
import math
from pathlib import Path
from typing import Any

from bert_paddle.common.errors import OutputError

VERSION = 5  # of the checkpoint format
# {name in version 4: name in version 5}, to resume from checkpoints of version 4.
FIELDS_RENAMED_IN_VERSION_5 = {"window_updates": "window_steps", "rows_per_update": "rows_per_step"}

# Fields that older checkpoints lack, with the values that they have there.
FIELDS_ADDED_LATER: dict[str, Any] = {"evaluation_pending": False}

# Flags that may differ when a run is resumed; any other difference is an error.
FLAGS_FREE_ON_RESUME = frozenset(
    "output_dir overwrite_output_dir resume_from_checkpoint logging_steps save_steps "
    "save_total_limit debug n_gpu device num_workers eval_batch_size do_eval do_predict data_dir "
    "load_best_model_at_end early_stopping_patience num_train_epochs max_steps vocab_file "
    "batch_size gradient_accumulation_steps input_dir max_eval_samples report visualdl_dir "
    "train_file validation_file test_file save_strategy profile cpu_kernels recompute to_static "
    "flash_attention fused_adamw".split()
)


@dataclasses.dataclass
class TrainState:
    """The progress of a run, without the model's and the optimizer's tensors.

    It contains no random generator state: dropout depends only on (seed, step, rank), the data
    order on (seed, epoch).
    """

    total: int  # planned steps, over which the learning rate is scheduled; unchanged by a resume
    step: int = 0  # finished optimizer steps
    epoch: int = 0  # the current epoch, from 0
    rows: int = 0  # finished rows of this epoch, over all processes
    batch: int = 0  # finished micro-batches of this epoch
    window_steps: int = 0  # steps since the last log line
    # Sums over the steps since the last log line: by term of the loss, one share per rank (see
    # training.loop._LogWindow).
    window_losses: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    # The sum of loss x rows over the steps of this epoch: one share per rank.
    epoch_losses: list[float] = dataclasses.field(default_factory=list)
    seconds_before_epoch: float = 0.0  # `train_seconds` when this epoch began
    best_step: int | None = None
    best_metric: float | None = None
    evaluations_since_best: int = 0
    stopped: bool = False  # by early stopping
    # A signal interrupted the evaluation of this step, which is to be made before the next one.
    evaluation_pending: bool = False
    train_seconds: float = 0.0
    rows_per_step: int = 0  # global batch size
    # The global batch size that the order of the rows was planned for, `rows_per_step` of the
    # original run: see `TrainData.order_batch_size`.
    planned_rows: int = 0
    fingerprint: str = ""  # hash of the tokenized training data
    scaler: dict[str, float] = dataclasses.field(default_factory=dict)  # state of the loss scaler
    args: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: int = VERSION

    def update_best(self, metric: float, higher_is_better: bool) -> bool:
        """Record the metric of the current step if it is the best so far; returns whether it is. An
        equal metric is not better than an earlier one, and NaN never is."""
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
            f"cannot resume from {folder}: {'; '.join(differences)}; use the original flags and "
            "data, or another --output_dir for a new run"
        )
