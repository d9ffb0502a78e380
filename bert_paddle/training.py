"""The training loop. It knows no task: a loss over batches, hooks, and where it stands."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bert_paddle import dist, optim
from bert_paddle.args import CommonArgs
from bert_paddle.checkpoint import TrainState
from bert_paddle.errors import RunError
from bert_paddle.log import Log, train_line

Batch = dict[str, np.ndarray]


class Batches(Protocol):
    """Training data of one process."""

    updates_per_epoch: int
    rows_per_update: int  # of the global batch; an epoch's last one may be smaller

    def updates(self, epoch: int, start: int) -> Iterator[list[Batch]]:
        """The micro-batches of each update of an epoch, from update `start` on. A micro-batch
        without rows is an empty dict: all processes make the same number of steps."""
        ...


@dataclass(frozen=True)
class Objective:
    """A loss as sums and counts, so that a mean is taken once, over the whole global batch.

    sums(model, batch): the summed loss of each term, scalar tensors by name. counts(batch): what
    each term's sum is divided by, over all micro-batches and processes: rows, masked tokens; of
    an empty batch, {}. `rows` names the count that is the number of rows.
    """

    sums: Callable[[Any, Batch], dict[str, Any]]
    counts: Callable[[Batch], dict[str, int]]
    rows: str = "loss"


@dataclass(frozen=True)
class Update:
    """What an update came to: this process's share of each term's loss (scalar tensors), and the
    rows of the global batch."""

    losses: dict[str, Any]
    rows: int


@dataclass(frozen=True)
class Hook:
    """Something done every `every` updates and after the last, with the loop set aside."""

    every: int
    action: Callable[[], None]


class Trainer:
    """A model in training with all that one update needs."""

    def __init__(self, model: Any, objective: Objective, args: CommonArgs, gpu: bool, log: Log):
        self.args, self.objective = args, objective
        if args.use_amp and not gpu:
            log.warning("--use_amp has no effect on the CPU: training in float32")
        self.optimizer = optim.build(model, args)
        self.precision, self.scaler, self.model = _mixed_precision(model, self.optimizer, args, gpu)
        self.parameters = [p for p in model.parameters() if not p.stop_gradient]

    def step(self, micro_batches: Sequence[Batch], rate: float, step: int) -> Update:
        """One update at the learning rate `rate`; `step` counts from 1."""
        _seed_dropout(self.args.seed, step, dist.current().rank)
        totals = dist.sum_counts(_total(map(self.objective.counts, micro_batches)))
        losses: dict[str, Any] = dict.fromkeys(totals, 0.0)
        for batch in micro_batches:
            if not batch:
                continue
            with self.precision():
                sums = self.objective.sums(self.model, batch)
                parts = {name: sums[name] / max(1, totals[name]) for name in sums}
                whole = sum(parts.values())
            (self.scaler.scale(whole) if self.scaler else whole).backward()
            for name, part in parts.items():
                losses[name] = losses[name] + part.detach().astype("float32")
        dist.sum_gradients(self.parameters)
        self.optimizer.set_lr(rate)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.clear_grad()
        return Update(losses, totals[self.objective.rows])

    def scaler_state(self) -> dict[str, Any]:
        """The loss scaler's numbers, for a checkpoint; {} without one."""
        return _numbers(self.scaler.state_dict()) if self.scaler else {}

    def restore_scaler(self, saved: dict[str, Any]) -> None:
        """The way back from `scaler_state`."""
        if self.scaler and saved:
            self.scaler.load_state_dict(
                {k: np.array([v], "float32") if k == "scale" else v for k, v in saved.items()}
            )


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {k: float(v) if hasattr(v, "item") else v for k, v in values.items()}


def fit(
    trainer: Trainer,
    batches: Batches,
    state: TrainState,
    hooks: Sequence[Hook],
    log: Log,
    until: int | None = None,
) -> None:
    """Train from where `state` stands to update `until` (default: `state.total`, where the
    schedule ends), or until a hook stops it. Leaves the model in evaluation mode.

    Raises RunError when the loss is no number; the last checkpoint is then still good.
    """
    args, warmup = trainer.args, optim.warmup_steps(trainer.args, state.total)
    until = state.total if until is None else until
    window = _Window(state)
    while state.step < until and not state.stopped:
        trainer.model.train()
        for micro_batches in batches.updates(state.epoch, state.update):
            rate = optim.learning_rate(
                state.step + 1, state.total, args.learning_rate, warmup, args.lr_scheduler_type
            )
            update = trainer.step(micro_batches, rate, state.step + 1)
            state.step, state.update = state.step + 1, state.update + 1
            state.batch += len(micro_batches)
            window.add(update)
            log.progress.show(state.step, state.total)
            last = state.step >= until
            if state.step % args.logging_steps == 0:
                window.report(log, rate)
            for hook in hooks:
                if state.step % hook.every == 0 or last:
                    with window.paused():
                        window.settle(rate)
                        trainer.model.eval()
                        hook.action()
            if last or state.stopped:
                trainer.model.eval()
                return
            trainer.model.train()
        state.next_epoch()


class _Window:
    """Losses and time since the last log line; losses stay on the device until asked for."""

    def __init__(self, state: TrainState):
        self.state = state
        world = dist.current()
        self.losses: dict[str, Any] = {}
        for name, shares in state.window_losses.items():
            # Saved by other processes than now, the shares cannot be told apart: one has all.
            if len(shares) != world.size:
                shares = [sum(shares)] + [0.0] * (world.size - 1)
            self.losses[name] = dist.my_share(shares)[0]
        self.clock = time.perf_counter()
        self.seconds_before = state.train_seconds
        self.timed_from, self.rows = state.step, 0

    def add(self, update: Update) -> None:
        for name, loss in update.losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss
        self.rows += update.rows
        self.state.window_updates += 1

    def settle(self, rate: float) -> None:
        """Bring the window into the state, so that a checkpoint holds it; check the loss."""
        state = self.state
        everyone = dist.gather({name: float(loss) for name, loss in self.losses.items()})
        state.window_losses = {name: [one[name] for one in everyone] for name in self.losses}
        state.train_seconds = self.seconds_before + time.perf_counter() - self.clock
        loss = _sum_of_all(state.window_losses)
        if not math.isfinite(loss):
            raise RunError(
                f"the loss is {loss} at step {state.step} (epoch {state.epoch}, "
                f"batch {state.batch}, learning rate {rate:g}); try a lower --learning_rate or "
                "more --warmup_steps and go on with --resume_from_checkpoint auto"
            )

    def report(self, log: Log, rate: float) -> None:
        """Write the log line of the window and open the next one."""
        self.settle(rate)
        state, now = self.state, time.perf_counter()
        loss = _sum_of_all(state.window_losses) / state.window_updates
        seconds = max(1e-9, now - self.clock)
        speed = (state.step - self.timed_from) / seconds
        terms = {name: sum(s) / state.window_updates for name, s in state.window_losses.items()}
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
        state.window_updates, state.window_losses = 0, {}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of the block out of speed and training time."""
        begun = time.perf_counter()
        yield
        self.clock += time.perf_counter() - begun


def _sum_of_all(losses: dict[str, list[float]]) -> float:
    return sum(sum(shares) for shares in losses.values())


def _total(counts: Iterator[dict[str, int]] | Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            total[name] = total.get(name, 0) + count
    return total


def _seed_dropout(seed: int, step: int, rank: int) -> None:
    """Make dropout a function of (seed, step, rank): nothing else draws from the generator between
    two updates, and a resumed run needs no saved generator."""
    import paddle

    digest = hashlib.blake2b(f"{seed} {step} {rank}".encode(), digest_size=4).digest()
    paddle.seed(int.from_bytes(digest, "little") >> 1)


def _mixed_precision(model: Any, optimizer: Any, args: CommonArgs, gpu: bool) -> tuple:
    """(context for the forward pass, loss scaler or None, the model to call)."""
    if not args.use_amp or not gpu:
        return nullcontext, None, model
    import paddle

    if args.amp_level == "O2":
        model, _ = paddle.amp.decorate(model, optimizer, level="O2", dtype=args.amp_dtype)

    def context() -> Any:
        return paddle.amp.auto_cast(level=args.amp_level, dtype=args.amp_dtype)

    # bfloat16 has float32's range and needs no loss scaling.
    scaler = paddle.amp.GradScaler() if args.amp_dtype == "float16" else None
    return context, scaler, model
