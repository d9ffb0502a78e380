"""The training loop. It knows no task: a loss over batches, hooks, and where it stands."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from bert_paddle.common.errors import Interrupted, RunError
from bert_paddle.common.run_log import RunLog, train_line
from bert_paddle.common.signals import STOP, SignalRequests
from bert_paddle.distributed import collectives
from bert_paddle.training import optim
from bert_paddle.training.step import Batch, StepResult, Trainer
from bert_paddle.training.train_state import TrainState

# Paddle halves the scale at each failure, from 65,536 on; below one, nothing is gained by it.
_LEAST_SCALE = 1.0


class TrainData(Protocol):
    """Training data of one process."""

    steps_per_epoch: int
    rows_per_epoch: int
    rows_per_step: int  # of the global batch; an epoch's last one may be smaller
    # The global batch that the order of the rows is made for. A run that goes on with a larger or
    # smaller one keeps its order, and so the rows that it has not seen.
    planned_rows: int

    def steps(self, epoch: int, start: int) -> Iterator[list[Batch]]:
        """The micro-batches of each update of an epoch, from its row `start` on. A micro-batch
        without rows is an empty dict: all processes make the same number of steps."""
        ...

    def rows_of(self, epoch: int, start: int) -> str:
        """The rows of the update that begins at row `start` of an epoch, for a message."""
        ...


@dataclass(frozen=True)
class Hook:
    """Something done every `every` updates (None: at the end of each epoch) and after the last,
    with the loop set aside."""

    every: int | None
    action: Callable[[], None]


def fit(
    trainer: Trainer,
    batches: TrainData,
    state: TrainState,
    hooks: Sequence[Hook],
    log: RunLog,
    until: int | None = None,
    on_signal: Callable[[], None] = lambda: None,
) -> None:
    """Train from where `state` stands to update `until` (default: `state.total`, where the
    schedule ends), or until a hook stops it. Leaves the model in evaluation mode.

    SIGTERM and SIGINT to any process end the training after the update under way, or the one
    after it; SIGUSR1 does not end it. Both call `on_signal` first, unless a hook was due anyway.

    Raises RunError when the loss is no number; the last checkpoint is then still good. Raises
    Interrupted when a signal ended the training.
    """
    requests = SignalRequests()
    with requests.heard():
        _loop(trainer, batches, state, hooks, log, until, on_signal, requests)


def _loop(
    trainer: Trainer,
    batches: TrainData,
    state: TrainState,
    hooks: Sequence[Hook],
    log: RunLog,
    until: int | None,
    on_signal: Callable[[], None],
    requests: SignalRequests,
) -> None:
    args, warmup = trainer.args, optim.warmup_steps(trainer.args, state.total)
    until = state.total if until is None else until
    window = _Window(trainer, batches, state)
    trainer.model.eval()  # also where nothing is left to train
    while state.step < until and not state.stopped:
        trainer.model.train()
        for micro_batches in batches.steps(state.epoch, state.rows):
            rate = optim.learning_rate(
                state.step + 1, state.total, args.learning_rate, warmup, args.lr_scheduler_type
            )
            update = trainer.step(micro_batches, rate, state.step + 1, requests.counts())
            state.step, state.rows = state.step + 1, state.rows + update.rows
            state.batch += len(micro_batches)
            window.add(update)
            if trainer.first_bad_step_is_known():
                window.settle(rate)
            log.progress.show(state.step, state.total, window.look)
            last = state.step >= until
            if state.step % args.logging_steps == 0:
                window.report(log, rate)
            epoch_over = state.rows >= batches.rows_per_epoch
            due = [
                hook.action
                for hook in hooks
                if last or (state.step % hook.every == 0 if hook.every else epoch_over)
            ]
            for action in due or ([on_signal] if update.signals else []):
                with window.paused():
                    window.settle(rate)
                    trainer.model.eval()
                    action()
            if stop := update.signals & STOP.keys():
                raise _interrupted(min(stop), state)
            if last or state.stopped:
                trainer.model.eval()
                return
            trainer.model.train()
        window.next_epoch()


def _interrupted(name: str, state: TrainState) -> Interrupted:
    return Interrupted(
        f"{name}: stopped and saved at step {state.step} of {state.total}; go on with "
        "--resume_from_checkpoint auto",
        STOP[name],
    )


class _Window:
    """Losses and time since the last log line, and the loss of the epoch under way; losses stay on
    the device until asked for."""

    def __init__(self, trainer: Trainer, batches: TrainData, state: TrainState):
        self.trainer, self.batches, self.state = trainer, batches, state
        self.losses: dict[str, Any] = {
            name: _own_share(shares) for name, shares in state.window_losses.items()
        }
        self.epoch_loss: Any = _own_share(state.epoch_losses)
        self.clock = time.perf_counter()
        self.seconds_before = state.train_seconds
        self.timed_from, self.rows = state.step, 0

    def add(self, update: StepResult) -> None:
        for name, loss in update.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss
            # In float64, where a sum is the same whether or not it was saved on the way.
            loss = loss.astype("float64") if hasattr(loss, "astype") else loss
            self.epoch_loss = self.epoch_loss + loss * update.rows
        self.rows += update.rows
        self.state.window_steps += 1

    def look(self) -> tuple[float, float]:
        """Mean loss and rows/s since the last log line. Without an exchange: the loss is of this
        process's rows, taken for a share like any other's."""
        own = sum(float(loss) for loss in self.losses.values()) * collectives.get_world().size
        seconds = max(1e-9, time.perf_counter() - self.clock)
        return own / self.state.window_steps, self.rows / seconds

    def settle(self, rate: float) -> None:
        """Bring the window into the state, so that a checkpoint holds it; check the loss."""
        state = self.state
        own = {name: float(loss) for name, loss in self.losses.items()}
        everyone = collectives.all_gather((own, float(self.epoch_loss)))
        state.window_losses = {name: [one[name] for one, _ in everyone] for name in self.losses}
        state.epoch_losses = [loss for _, loss in everyone]
        state.train_seconds = self._seconds()
        self._check(rate, _sum_of_all(state.window_losses))

    def _seconds(self) -> float:
        return self.seconds_before + time.perf_counter() - self.clock

    def next_epoch(self) -> None:
        """Move on to the next epoch, whose loss and time begin at zero."""
        self.state.train_seconds = self._seconds()
        self.state.next_epoch()
        self.epoch_loss = 0.0

    def _check(self, rate: float, loss: float) -> None:
        """Raise RunError when loss or gradients are no numbers any more."""
        state, bad = self.state, self.trainer.first_bad_step()
        scale = self.trainer.loss_scale()
        if scale is not None and scale < _LEAST_SCALE:
            raise RunError(
                f"in half precision the gradients were not finite so often that the loss scale "
                f"fell to {scale:g} at step {state.step} (learning rate {rate:g}); try "
                "--amp_dtype bfloat16, a lower --learning_rate, or no --use_amp, and "
                "--resume_from_checkpoint auto"
            )
        if bad is None and math.isfinite(loss):
            return
        step = state.step if bad is None else bad
        what = f"the loss is {loss}" if bad is None else "the gradients are not finite"
        # All updates of an epoch but the last have the same number of rows.
        size = state.rows_per_step
        begin = (-(-state.rows // size) - 1 - (state.step - step)) * size if size else -1
        rows = f"; {self.batches.rows_of(state.epoch, begin)}" if begin >= 0 else ""
        raise RunError(
            f"{what} at step {step} (epoch {state.epoch}, learning rate {rate:g}{rows}); try a "
            "lower --learning_rate or more --warmup_steps and go on with --resume_from_checkpoint "
            "auto"
        )

    def report(self, log: RunLog, rate: float) -> None:
        """Write the log line of the window and open the next one."""
        self.settle(rate)
        state, now = self.state, time.perf_counter()
        loss = _sum_of_all(state.window_losses) / state.window_steps
        seconds = max(1e-9, now - self.clock)
        speed = (state.step - self.timed_from) / seconds
        terms = {name: sum(s) / state.window_steps for name, s in state.window_losses.items()}
        # One term is the loss itself: nothing to tell apart.
        apart, rows = terms if len(terms) > 1 else {}, self.rows / seconds
        log.line(train_line(state.step, state.epoch, state.batch, loss, speed, apart, rows))
        log.record(
            "train",
            state.step,
            epoch=state.epoch,
            batch=state.batch,
            loss=loss,
            **{f"{name}_loss": value for name, value in apart.items()},
            learning_rate=rate,
            steps_per_second=speed,
            sequences_per_second=rows,
        )
        self.seconds_before, self.clock = state.train_seconds, now
        self.timed_from, self.rows, self.losses = state.step, 0, {}
        state.window_steps, state.window_losses = 0, {}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of speed and training time."""
        begun = time.perf_counter()
        yield
        self.clock += time.perf_counter() - begun


def _own_share(shares: list[float]) -> float:
    """This process's part of a sum that was saved by process."""
    size = collectives.get_world().size
    # Saved by other processes than now, the shares cannot be told apart: one has all.
    if len(shares) != size:
        shares = [sum(shares)] + [0.0] * (size - 1)
    return collectives.shard(shares)[0]


def _sum_of_all(losses: dict[str, list[float]]) -> float:
    return sum(sum(shares) for shares in losses.values())
