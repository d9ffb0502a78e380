"""One update of a model: a loss over the micro-batches of all processes, taken as one mean."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_paddle.common.args import CommonArgs
from bert_paddle.common.run_log import RunLog
from bert_paddle.common.signals import SAVE, STOP
from bert_paddle.common.tensor_file import TensorSnapshot
from bert_paddle.distributed import collectives
from bert_paddle.training import optim

Batch = dict[str, np.ndarray]


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
class StepResult:
    """What an update came to: this process's share of each term's loss (scalar tensors), and the
    rows of the global batch."""

    losses: dict[str, Any]
    rows: int
    signals: frozenset[str]  # names of what any process was asked before the update


class Trainer:
    """A model in training with all that one update needs."""

    def __init__(self, model: Any, objective: Objective, args: CommonArgs, gpu: bool, log: RunLog):
        self.args, self.objective = args, objective
        if args.use_amp and not gpu:
            log.warning("--use_amp has no effect on the CPU: training in float32")
        if args.optimizer == "lamb" and args.weight_decay == 0:
            log.note(
                "--optimizer lamb: without --weight_decay no weight's rate is scaled, as in Adam"
            )
        self.optimizer = optim.build(model, args, gpu)
        self.precision, self.scaler, self.model = _mixed_precision(model, self.optimizer, args, gpu)
        self.parameters = [p for p in model.parameters() if not p.stop_gradient]
        self.gpu = gpu
        self.held: list[TensorSnapshot] = []  # tensors that are being saved
        self._bad: Any = math.inf  # the first update without finite gradients; on a GPU, a tensor

    def step(
        self, micro_batches: Sequence[Batch], rate: float, step: int, asked: dict[str, int]
    ) -> StepResult:
        """One update at the learning rate `rate`; `step` counts from 1. `asked`: the signals that
        this process has had, told to all in the exchange that every update makes anyway.

        Where gradients are not finite, the weights stay as they were, and `first_bad_step` tells.
        """
        _seed_dropout(self.args.seed, step, collectives.get_world().rank)
        totals = collectives.all_reduce_counts(
            _total(map(self.objective.counts, micro_batches)) | asked
        )
        heard = frozenset(name for name in totals if name in STOP | SAVE)
        totals = {name: count for name, count in totals.items() if name not in heard}
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
        collectives.all_reduce_gradients(self.parameters)
        self.optimizer.set_lr(rate)
        while self.held:
            self.held.pop().release()
        self._apply(step)
        self.optimizer.clear_grad(set_to_zero=False)  # zeros would only be added to
        return StepResult(losses, totals[self.objective.rows], heard)

    def _apply(self, step: int) -> None:
        """Clip and let the optimizer work. The norm is the same on all processes."""
        limit = self.args.max_grad_norm
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
            optim.clip(self.optimizer, self.parameters, limit, self.gpu)
            self.scaler.step(self.optimizer)  # skips an update that is not finite
            self.scaler.update()
            return
        norm = optim.clip(self.optimizer, self.parameters, limit, self.gpu)
        if self.gpu:
            self._bad = _earlier_if_bad(self._bad, norm, step)
        elif not math.isfinite(float(norm)):
            self._bad = min(self._bad, step)
            return
        self.optimizer.step()

    def first_bad_step_is_known(self) -> bool:
        """Whether `first_bad_step` has something to tell, as far as can be said without waiting
        for a GPU."""
        return not self.gpu and self._bad is not math.inf

    def first_bad_step(self) -> int | None:
        """The first update whose gradients were not finite, if there is one."""
        step = float(self._bad)
        return int(step) if math.isfinite(step) else None

    def loss_scale(self) -> float | None:
        """What the loss is multiplied by in half precision; None in other precisions."""
        return float(self.scaler.state_dict()["scale"]) if self.scaler else None

    def scaler_state(self) -> dict[str, Any]:
        """The loss scaler's numbers, for a checkpoint; {} without one."""
        return _numbers(self.scaler.state_dict()) if self.scaler else {}

    def restore_scaler(self, saved: dict[str, Any]) -> None:
        """The way back from `scaler_state`."""
        if self.scaler and saved:
            self.scaler.load_state_dict(
                {k: np.array([v], "float32") if k == "scale" else v for k, v in saved.items()}
            )


def _earlier_if_bad(bad: Any, norm: Any, step: int) -> Any:
    """`bad`, or `step` where that is earlier and the norm is not finite, without waiting for it."""
    import paddle

    now = paddle.full([], float(step))
    earlier = now if bad is math.inf else paddle.minimum(bad, now)
    before = paddle.full([], math.inf) if bad is math.inf else bad
    return paddle.where(paddle.isfinite(norm), before, earlier)


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {k: float(v) if hasattr(v, "item") else v for k, v in values.items()}


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
