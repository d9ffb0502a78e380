"""The training loop, independent of the task: steps, log lines, hooks, signals."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from bert_paddle.common import signals
from bert_paddle.common.errors import Interrupted, RunError
from bert_paddle.common.run_log import RunLog, train_line
from bert_paddle.distributed import collectives
from bert_paddle.models.forward_pass import Batch
from bert_paddle.training import optim, plan
from bert_paddle.training.step import StepResult, Trainer
from bert_paddle.training.train_state import TrainState

# Paddle starts with a loss scale of 65,536 and halves it when gradients overflow. A scale below 1
# means that they overflow for another reason.
_MIN_LOSS_SCALE = 1.0


class TrainData(Protocol):
    """One rank's training batches."""

    steps_per_epoch: int
    rows_per_epoch: int
    rows_per_step: int  # global batch size; the last batch of an epoch may be smaller

    def steps(self, epoch: int, start: int, planned_rows: int) -> Iterator[list[Batch]]:
        """Yield the micro-batches of each step of an epoch, starting at row `start` of its order. A
        micro-batch without rows for this rank is an empty dict, so that all ranks have the same
        number of them. planned_rows: see `TrainState`; the order may depend on it."""
        ...

    def describe_rows(self, epoch: int, start: int, planned_rows: int) -> str:
        """For a message: the rows of the step that begins at row `start` of an epoch's order."""
        ...


@dataclass(frozen=True)
class Hook:
    """An action to run every `every` steps (None: at the end of each epoch) and after the last
    step. The model is in evaluation mode; the time does not count as training time. saves: whether
    the action writes a checkpoint.

    When a stop signal interrupts its evaluation, the action saves, sets `evaluation_pending` in the
    state, and raises StopSignal, on all ranks."""

    every: int | None
    action: Callable[[], None]
    saves: bool = True
    evaluates: bool = True  # and so is repeated when a resumed run has a pending evaluation

    def is_due(self, step: int, epoch_over: bool) -> bool:
        """Whether to run after this step."""
        return step % self.every == 0 if self.every else epoch_over


def fit(
    trainer: Trainer,
    batches: TrainData,
    state: TrainState,
    hooks: Sequence[Hook],
    log: RunLog,
    until: int | None = None,
    on_signal: Callable[[], None] = lambda: None,
) -> None:
    """Train from `state` up to step `until` (default: `state.total`, where the schedule ends), or
    until a hook sets `state.stopped`. Leaves the model in evaluation mode. If `state` has a pending
    evaluation, the hooks run first.

    A stop signal to any rank stops training after the current step or the next one. Before
    stopping, and on SIGUSR1, `on_signal` is called to save a checkpoint, unless a hook is due at
    that step that saves too.

    Raises RunError when the loss or the gradients are not finite, Interrupted for a signal.
    """
    try:
        with signals.requests.deferred():
            _loop(trainer, batches, state, hooks, log, until, on_signal)
    except signals.StopSignal as stop:
        raise interrupted(stop.name, state) from None


def _loop(
    trainer: Trainer,
    batches: TrainData,
    state: TrainState,
    hooks: Sequence[Hook],
    log: RunLog,
    until: int | None,
    on_signal: Callable[[], None],
) -> None:
    args, warmup = trainer.args, optim.warmup_steps(trainer.args, state.schedule_total)
    until = state.total if until is None else until
    log_every = plan.logging_steps(args.logging_steps, state.total)
    window = _LogWindow(trainer, batches, state)
    trainer.model.eval()  # also if no step is left
    for hook in hooks:
        if hook.evaluates and state.evaluation_pending:
            hook.action()
    while state.step < until and not state.stopped:
        trainer.model.train()
        for micro_batches in batches.steps(state.epoch, state.rows, state.planned_rows):
            place, total = plan.schedule_position(state, state.step, warmup), state.schedule_total
            kind = args.lr_scheduler_type
            lr = optim.learning_rate(place + 1, total, args.learning_rate, warmup, kind)
            result = trainer.step(micro_batches, lr, state.step + 1, signals.requests.poll())
            state.step, state.rows = state.step + 1, state.rows + result.rows
            state.batch += len(micro_batches)
            window.add(result)
            if trainer.nonfinite_step_seen():
                window.update_state_and_check_finite(lr)
            log.progress.show(state.step, state.total, window.progress)
            last = state.step >= until
            if state.step % log_every == 0:
                window.write_line(log, lr)
            epoch_over = state.rows >= batches.rows_per_epoch
            due = [hook for hook in hooks if last or hook.is_due(state.step, epoch_over)]
            actions = [hook.action for hook in due]
            if result.signals and not any(hook.saves for hook in due):
                actions.append(on_signal)
            for action in actions:
                with window.paused():
                    window.update_state_and_check_finite(lr)
                    trainer.model.eval()
                    action()
            if stop := result.signals & signals.STOP.keys():
                raise interrupted(min(stop), state)
            if last or state.stopped:
                trainer.model.eval()
                return
            trainer.model.train()
        window.next_epoch()


def interrupted(name: str, state: TrainState) -> Interrupted:
    """The error that ends a training, saved at the state's step, after the stop signal `name`."""
    return Interrupted(f"{name}: {saved_status(state)}", signals.STOP[name])


def saved_status(state: TrainState) -> str:
    """What is saved, and how to resume."""
    return (
        f"stopped and saved at step {state.step} of {state.total}; resume with "
        "--resume_from_checkpoint auto"
    )


class _LogWindow:
    """Losses and time since the last log line, and the loss of the current epoch. The losses are
    this rank's shares, and stay on the device until they are needed.

    A rank's share of a loss is its part of the global mean: the shares of all ranks add up to it. A
    term is one component of the loss, such as MLM or NSP.
    """

    def __init__(self, trainer: Trainer, batches: TrainData, state: TrainState):
        self.trainer, self.batches, self.state = trainer, batches, state
        self.losses: dict[str, Any] = {
            name: _local_share(shares) for name, shares in state.window_losses.items()
        }
        self.epoch_loss: Any = _local_share(state.epoch_losses)
        self.window_start = time.perf_counter()
        self.seconds_before_window = state.train_seconds
        self.step_before_window, self.rows = state.step, 0
        # Where in the epoch's order the steps of this size begin.
        self.first_row = state.rows

    def add(self, result: StepResult) -> None:
        """Add the losses and rows of a finished step."""
        for name, loss in result.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss
            # In float64, as checkpoints store it: resuming from one does not change the sum.
            loss = loss.astype("float64") if hasattr(loss, "astype") else loss
            self.epoch_loss = self.epoch_loss + loss * result.rows
        self.rows += result.rows
        self.state.window_steps += 1
        for name in result.empty_terms:
            self.state.window_empty_steps[name] = self.state.window_empty_steps.get(name, 0) + 1

    def progress(self) -> tuple[float, float]:
        """Mean loss and rows/s since the last log line. Without communication: the loss is
        estimated from this rank's rows."""
        estimate = sum(float(loss) for loss in self.losses.values()) * collectives.get_world().size
        seconds = max(1e-9, time.perf_counter() - self.window_start)
        return estimate / self.state.window_steps, self.rows / seconds

    def update_state_and_check_finite(self, lr: float) -> None:
        """Copy losses and time into the state, as a checkpoint needs them. Raises RunError if the
        loss or the gradients are not finite, or the loss scale has become too small."""
        state = self.state
        local = {name: float(loss) for name, loss in self.losses.items()}
        shares = collectives.all_gather((local, float(self.epoch_loss)))
        state.window_losses = {name: [terms[name] for terms, _ in shares] for name in self.losses}
        state.epoch_losses = [loss for _, loss in shares]
        state.train_seconds = self._seconds()
        self._check_finite(lr, sum(map(sum, state.window_losses.values())))

    def _seconds(self) -> float:
        """The training time of the run up to now."""
        return self.seconds_before_window + time.perf_counter() - self.window_start

    def next_epoch(self) -> None:
        """Move to the next epoch, whose loss and time start at zero."""
        self.state.train_seconds = self._seconds()
        self.state.next_epoch()
        self.epoch_loss, self.first_row = 0.0, 0

    def _check_finite(self, lr: float, loss: float) -> None:
        """Raise RunError when the loss or the gradients are not finite, or the loss scale has
        become too small."""
        state, nonfinite_step = self.state, self.trainer.first_nonfinite_step()
        scale = self.trainer.loss_scale()
        if scale is not None and scale < _MIN_LOSS_SCALE:
            raise RunError(
                f"the loss scale fell to {scale:g} at step {state.step} (learning rate {lr:g}): "
                "float16 gradients were not finite too often; resume with --resume_from_checkpoint "
                "auto and --amp_dtype bfloat16, a lower --learning_rate, or --use_amp 0"
            )
        if nonfinite_step is None and math.isfinite(loss):
            return
        step, problem = nonfinite_step, "the gradients are not finite"
        if step is None:
            step, problem = state.step, f"the loss is {loss}"
        batch_size = state.rows_per_step
        # Steps of this epoch, since a resume in it, before that step; -(-a // b) is a / b rounded
        # up. Negative: the step was in an earlier epoch, or the batch size is unknown; then no rows
        # are named.
        rows = state.rows - self.first_row
        steps_before = -(-rows // batch_size) - 1 - (state.step - step) if batch_size else -1
        # All steps but an epoch's last have this many rows.
        start = self.first_row + steps_before * batch_size
        where = ""
        if steps_before >= 0:
            where = f"; {self.batches.describe_rows(state.epoch, start, state.planned_rows)}"
        raise RunError(
            f"{problem} at step {step} (epoch {state.epoch}, learning rate {lr:g}{where}); resume "
            "with --resume_from_checkpoint auto and a lower --learning_rate, or start over with "
            "more --warmup_steps and --overwrite_output_dir"
        )

    def write_line(self, log: RunLog, lr: float) -> None:
        """Write the log line and the metrics record, and start the next window. Raises RunError as
        update_state_and_check_finite does."""
        self.update_state_and_check_finite(lr)
        state, now = self.state, time.perf_counter()
        terms, empty = _means_of_terms(state), bool(state.window_empty_steps)
        loss = sum(map(sum, state.window_losses.values())) / state.window_steps
        if empty:
            loss = sum(terms.values())
        seconds = max(1e-9, now - self.window_start)
        speed = (state.step - self.step_before_window) / seconds
        if len(terms) == 1 and not empty:  # the term is the loss itself
            terms = {}
        rows_per_second = self.rows / seconds
        line = train_line(state.step, state.epoch, state.batch, loss, speed, terms, rows_per_second)
        log.line(line)
        log.log_metrics(
            "train",
            state.step,
            epoch=state.epoch,
            batch=state.batch,
            loss=loss,
            **{f"{name}_loss": value for name, value in terms.items()},
            learning_rate=lr,
            steps_per_second=speed,
            sequences_per_second=rows_per_second,
        )
        self.seconds_before_window, self.window_start = state.train_seconds, now
        self.step_before_window, self.rows, self.losses = state.step, 0, {}
        state.window_steps, state.window_losses, state.window_empty_steps = 0, {}, {}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time of the block from speed and training time."""
        started = time.perf_counter()
        yield
        self.window_start += time.perf_counter() - started


def _local_share(shares: list[float]) -> float:
    """This rank's share of a sum that was saved as one share per rank."""
    size = collectives.get_world().size
    # Saved with a different world size: rank 0 takes the sum of all shares.
    if len(shares) != size:
        shares = [sum(shares)] + [0.0] * (size - 1)
    return collectives.shard(shares)[0]


def _means_of_terms(state: TrainState) -> dict[str, float]:
    """The mean of each term over those steps since the last log line that have one."""
    return {
        name: sum(shares) / (state.window_steps - state.window_empty_steps.get(name, 0))
        for name, shares in state.window_losses.items()
    }
