"""The training state: everything that resuming needs besides the tensors."""

import dataclasses
import math
from typing import Any

VERSION = 6  # of the checkpoint format
# {name in version 4: name in version 5}, to resume from checkpoints of version 4.
_RENAMED_IN_VERSION_5 = {"window_updates": "window_steps", "rows_per_update": "rows_per_step"}
TRAINING_DATA = "training data"  # the name of its digest in `TrainState.fingerprints`


@dataclasses.dataclass
class TrainState:
    """The progress of a run, without the model's and the optimizer's tensors.

    It contains no random generator state: dropout depends only on (seed, step, rank), the data
    order on (seed, epoch).
    """

    total: int  # planned steps; a resume with another global batch or other epochs changes them
    step: int = 0  # finished optimizer steps
    epoch: int = 0  # the current epoch, from 0
    rows: int = 0  # finished rows of this epoch, over all processes
    batch: int = 0  # finished micro-batches of this epoch
    window_steps: int = 0  # steps since the last log line
    # Sums over the steps since the last log line: by term of the loss, one share per rank (see
    # training.loop._LogWindow).
    window_losses: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    # Of `window_steps`, those whose batch had nothing to average for a term, such as no masked
    # token: they count for no mean of the term. Only terms with such steps.
    window_empty_steps: dict[str, int] = dataclasses.field(default_factory=dict)
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
    # The global batch size that the order of an epoch's rows was planned for: `rows_per_step` of
    # the original run. A run resumed with another batch size keeps that order, so that the first
    # `rows` rows of the epoch are those already trained on.
    planned_rows: int = 0
    # The length of the learning-rate schedule, `total` of the original run; and at which step a
    # resume last changed `total`, and the place of that step in the schedule: see training.plan.
    schedule_total: int = 0
    base_step: int = 0
    base_position: float = 0.0
    # Digests of the data, the model and the tokenizer by name: see training.fingerprints.
    fingerprints: dict[str, str] = dataclasses.field(default_factory=dict)
    # How the model is computed: see models.compute_mode.describe_mode.
    compute_mode: dict[str, str] = dataclasses.field(default_factory=dict)
    scaler: dict[str, float] = dataclasses.field(default_factory=dict)  # state of the loss scaler
    args: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        self.schedule_total = self.schedule_total or self.total

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

    def forget_best(self) -> None:
        """Forget the best step so far and the evaluations since."""
        self.best_step = self.best_metric = None
        self.evaluations_since_best = 0

    def next_epoch(self) -> None:
        """Move to the start of the next epoch."""
        self.epoch, self.rows, self.batch = self.epoch + 1, 0, 0
        self.epoch_losses, self.seconds_before_epoch = [], self.train_seconds


def upgrade(values: dict[str, Any]) -> dict[str, Any] | None:
    """The fields of a saved state in this version's names; None for a version that is not read.
    What an older version did not record has the value of a run that was never resumed."""
    version = values.get("version")
    if version == VERSION:
        return values
    if version not in (4, 5):
        return None
    values = dict(values)
    if version == 4:
        for old, name in _RENAMED_IN_VERSION_5.items():
            if old in values:
                values[name] = values.pop(old)
    fingerprint = values.pop("fingerprint", None)
    return values | {
        "schedule_total": values.get("total"),
        "base_step": 0,
        "base_position": 0.0,
        "fingerprints": {TRAINING_DATA: fingerprint},
        "compute_mode": {},
        "evaluation_pending": False,
        "window_empty_steps": {},
        "version": VERSION,
    }
