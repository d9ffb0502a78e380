"""One optimizer step, on the mean loss over the micro-batches of all ranks."""

import contextlib
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert_paddle.common.args import CommonArgs
from bert_paddle.common.run_log import RunLog
from bert_paddle.common.signals import SAVE, STOP
from bert_paddle.distributed import collectives
from bert_paddle.models import compute_mode
from bert_paddle.models.forward_pass import Batch, ForwardPass
from bert_paddle.training import optim


@dataclass(frozen=True)
class Objective:
    """A loss as sums and counts, so that one mean is taken over the global batch. A term is one
    component of the loss, such as MLM or NSP.

    sums(forward, batch): the summed loss of each term, scalar tensors by name; `forward` computes
    the model's outputs. counts(batch): the number of rows or masked tokens in each term's sum, {}
    for an empty batch. Each sum is divided by its count over all micro-batches and ranks. rows:
    name of the count that is the number of rows; rows_are_a_term: whether that is a term's count,
    too.
    """

    sums: Callable[[Any, Batch], dict[str, Any]]
    counts: Callable[[Batch], dict[str, int]]
    rows: str = "loss"
    rows_are_a_term: bool = True

    def terms(self, counts: Iterable[str]) -> list[str]:
        """Those names of counts that are terms of the loss."""
        return [name for name in counts if self.rows_are_a_term or name != self.rows]


@dataclass(frozen=True)
class StepResult:
    """The result of a step. losses: for each term, this rank's part of the global mean, a scalar
    tensor (the sum over all ranks is the mean). rows: the number of rows in the global batch.
    empty_terms: the terms of which the global batch has nothing, such as no masked token; they have
    no mean and are not in `losses`."""

    losses: dict[str, Any]
    rows: int
    signals: frozenset[str]  # names of the signals that any rank has received
    empty_terms: tuple[str, ...] = ()


class Trainer:
    """A model, its optimizer and what else a training step needs.

    before_optimizer_step: called at each step when its gradients are summed over all ranks, before
    they are unscaled and clipped and the weights change. after_step: called at the end of each
    step.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        args: CommonArgs,
        gpu: bool,
        log: RunLog,
        forward: ForwardPass | None = None,
    ):
        """forward: what the objective calls; None: the model itself."""
        self.args, self.objective, self.log = args, objective, log
        self.forward = forward or model
        self.by_kernels = forward is not None and forward.by_kernels
        self.before_optimizer_step: list[Callable[[], None]] = []
        self.after_step: list[Callable[[], None]] = []
        self.products = "float32" if forward is None else forward.products
        if args.use_amp and not gpu and forward is None:  # else said where that was chosen
            log.warning("--use_amp has no effect on the CPU: training in float32")
        if args.optimizer == "lamb" and args.weight_decay == 0:
            log.note("--optimizer lamb: without --weight_decay the trust ratio is 1, as in Adam")
        use_kernels = forward is None or forward.by_kernels
        self.optimizer = optim.build_optimizer(model, args, gpu, use_kernels)
        self.autocast, self.scaler, self.model = _mixed_precision(model, self.optimizer, args, gpu)
        self.parameters = [p for p in model.parameters() if not p.stop_gradient]
        self.gpu = gpu
        # Paddle's kernels of LAMB and of the fused AdamW take gradients in the weights' type only.
        half_gradients = self.scaler is not None and args.amp_level == "O2"
        takes_float32 = args.optimizer == "adamw" and not args.fused_adamw
        self._unscales_in_float32 = half_gradients and takes_float32
        if half_gradients and not takes_float32:
            log.note(
                "--amp_level O2 --amp_dtype float16: with --optimizer lamb or --fused_adamw, "
                "gradients below 6e-8 are lost when they are unscaled; --amp_level O1 or "
                "--amp_dtype bfloat16 keeps them"
            )
        # The first step with non-finite gradients; inf if there is none. On a GPU, a tensor.
        self._first_nonfinite: Any = math.inf

    def describe_mode(self) -> dict[str, str]:
        """See models.compute_mode.describe_mode."""
        return compute_mode.describe_mode(self.args, self.by_kernels, self.products)

    def step(
        self, micro_batches: Sequence[Batch], lr: float, step: int, signals: dict[str, int]
    ) -> StepResult:
        """One optimizer step at the learning rate `lr`. step: from 1. signals: those that this
        process has received, as counts by name; they are gathered together with the row counts.

        With non-finite gradients the weights do not change. In float16 training continues with a
        smaller loss scale. In other precisions the run has to end: see `first_nonfinite_step`. On a
        GPU, which is not waited for, the host learns of it later; until then no further step
        changes the weights.
        """
        _seed_dropout(self.args.seed, step, collectives.get_world().rank)
        totals = collectives.all_reduce_counts(
            _sum_counts(map(self.objective.counts, micro_batches)) | signals
        )
        received = frozenset(name for name in totals if name in STOP | SAVE)
        totals = {name: count for name, count in totals.items() if name not in received}
        losses: dict[str, Any] = dict.fromkeys(self.objective.terms(totals), 0.0)
        for batch in micro_batches:
            if not batch:
                continue
            with self.autocast():
                sums = self.objective.sums(self.forward, batch)
                terms = {name: sums[name] / max(1, totals[name]) for name in sums}
                loss = sum(terms.values())
            (self.scaler.scale(loss) if self.scaler else loss).backward()
            for name, term in terms.items():
                losses[name] = losses[name] + term.detach().astype("float32")
        collectives.all_reduce_gradients(self.parameters)
        self.optimizer.set_lr(lr)
        for hook in self.before_optimizer_step:
            hook()
        self._clip_and_step(step)
        self.optimizer.clear_grad(set_to_zero=False)  # frees gradients instead of writing zeros
        empty = tuple(name for name in losses if totals.get(name) == 0)
        losses = {name: loss for name, loss in losses.items() if name not in empty}
        for hook in self.after_step:
            hook()
        return StepResult(losses, totals[self.objective.rows], received, empty)

    def _clip_and_step(self, step: int) -> None:
        """Clip the gradients, which are the same on all ranks, and step the optimizer."""
        limit = self.args.max_grad_norm
        if self.scaler:
            if self._unscales_in_float32:
                _cast_gradients_to_float32(self.parameters)
            self.scaler.unscale_(self.optimizer)
            self.optimizer.clip_gradients(self.parameters, limit)
            self.scaler.step(self.optimizer)  # skips a step whose gradients are not finite
            self._update_loss_scale(step)
            return
        norm = self.optimizer.clip_gradients(self.parameters, limit)
        if self.gpu:
            self._first_nonfinite = _update_first_nonfinite(self._first_nonfinite, norm, step)
            skip = self._first_nonfinite.isfinite()
            optim.cancel_step_if(skip, self.optimizer, self.parameters)
        elif not math.isfinite(float(norm)):
            self._first_nonfinite = min(self._first_nonfinite, step)
            return
        self.optimizer.step()

    def _update_loss_scale(self, step: int) -> None:
        """Let the scaler adapt its loss scale. What it prints of a skipped step, on stdout and on
        all ranks, becomes one note."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            self.scaler.update()
        if printed.getvalue():
            self.log.note(
                f"step {step} skipped: its float16 gradients are not finite; the loss scale is now "
                f"{self.loss_scale():g}"
            )

    def nonfinite_step_seen(self) -> bool:
        """On the CPU: whether a step had non-finite gradients. Always False on a GPU, where the
        answer would need a synchronization."""
        return not self.gpu and self._first_nonfinite is not math.inf

    def first_nonfinite_step(self) -> int | None:
        """The first step whose gradients were not finite, or None. Steps that the loss scaler of
        float16 skips are not counted."""
        step = float(self._first_nonfinite)
        return int(step) if math.isfinite(step) else None

    def loss_scale(self) -> float | None:
        """The loss scale in float16; None in other precisions."""
        return self.scaler.state_dict()["scale"].item() if self.scaler else None

    def scaler_state(self) -> dict[str, Any]:
        """The loss scaler's state, for a checkpoint; {} without one."""
        return _plain_numbers(self.scaler.state_dict()) if self.scaler else {}

    def restore_scaler(self, saved: dict[str, Any]) -> None:
        """Restore what `scaler_state` returned."""
        if self.scaler and saved:
            self.scaler.load_state_dict(
                {k: np.array([v], "float32") if k == "scale" else v for k, v in saved.items()}
            )


def _cast_gradients_to_float32(parameters: Sequence[Any]) -> None:
    """Replace half-precision gradients. Unscaled in float16, those below 6e-8 would become 0.

    Paddle's `master_grad` would do so after each backward pass, and the next one of the same step
    cannot add float16 gradients to float32 ones."""
    from paddle.base import core

    core.eager.set_master_grads([p for p in parameters if p.grad is not None])


def _update_first_nonfinite(first: Any, norm: Any, step: int) -> Any:
    """`first`, or `step` if the norm is not finite and `step` is earlier. Returns a tensor, without
    synchronizing with the GPU."""
    import paddle

    current = paddle.full([], float(step))
    earlier = current if first is math.inf else paddle.minimum(first, current)
    unchanged = paddle.full([], math.inf) if first is math.inf else first
    return paddle.where(paddle.isfinite(norm), unchanged, earlier)


def _plain_numbers(values: dict[str, Any]) -> dict[str, Any]:
    """The values, with scalar arrays and tensors converted to float."""
    return {k: float(v.item()) if hasattr(v, "item") else v for k, v in values.items()}


def _sum_counts(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Sum counts by name."""
    totals: dict[str, int] = {}
    for batch_counts in counts:
        for name, count in batch_counts.items():
            totals[name] = totals.get(name, 0) + count
    return totals


def _seed_dropout(seed: int, step: int, rank: int) -> None:
    """Make dropout depend only on (seed, step, rank): evaluation and resuming do not change it, and
    checkpoints need no generator state."""
    import paddle

    digest = hashlib.blake2b(f"{seed} {step} {rank}".encode(), digest_size=4).digest()
    paddle.seed(int.from_bytes(digest, "little") >> 1)  # 31 bits: not negative as an int32


def _mixed_precision(model: Any, optimizer: Any, args: CommonArgs, gpu: bool) -> tuple:
    """(autocast context for the forward pass, loss scaler or None, the model to call)."""
    if not args.use_amp or not gpu:
        return contextlib.nullcontext, None, model
    import paddle

    if args.amp_level == "O2":
        model, _ = paddle.amp.decorate(model, optimizer, level="O2", dtype=args.amp_dtype)

    def autocast() -> Any:
        return paddle.amp.auto_cast(level=args.amp_level, dtype=args.amp_dtype)

    # bfloat16 has float32's range: it needs no loss scaling.
    scaler = (
        paddle.amp.GradScaler(init_loss_scaling=args.scale_loss)
        if args.amp_dtype == "float16"
        else None
    )
    return autocast, scaler, model
