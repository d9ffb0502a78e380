"""When a run is evaluated and saved: the hooks of its training loop.

Each save has an evaluation before it, unless the --eval_... flags give evaluations steps of their
own. Either way the last step has both.
"""

import sys
import time
from collections.abc import Callable, Mapping

from bert_paddle.common import signals
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.run_log import RunLog
from bert_paddle.training import epoch_metrics, plan
from bert_paddle.training.loop import Hook, TrainData
from bert_paddle.training.train_state import TrainState


def make_hooks(
    args: CommonArgs,
    batches: TrainData,
    state: TrainState,
    evaluate: Callable[[], Mapping[str, float]],
    save: Callable[[], None],
    out_of_patience: Callable[[], bool],
    log: RunLog,
) -> list[Hook]:
    """The hooks that evaluate and save. evaluate: see `TrainingRun.fit`. save: write a checkpoint.
    out_of_patience: whether early stopping is due; then, and with --load_best_model_at_end at a new
    best step, an evaluation saves too."""
    saved_step = -1
    apart = args.evaluates_apart()
    strategy = args.eval_strategy or ("steps" if apart else args.save_strategy)

    def save_now() -> None:
        nonlocal saved_step
        saved_step = state.step
        save()

    def evaluate_now() -> None:
        start = time.perf_counter()
        state.evaluation_pending = True
        try:
            metrics = evaluate()
        except signals.StopSignal:
            save_now()
            raise
        state.evaluation_pending = False
        if metrics and (strategy == "epoch" or state.rows >= batches.rows_per_epoch):
            seconds = time.perf_counter() - start
            epoch_metrics.record_epoch(log, state, batches, metrics, seconds)

    def evaluate_and_save() -> None:
        evaluate_now()
        save_now()

    def evaluate_apart() -> None:
        evaluate_now()
        is_best = args.load_best_model_at_end and state.best_step == state.step
        if is_best or out_of_patience():
            save_now()

    def save_apart() -> None:
        if saved_step != state.step:
            save_now()

    save_every = _interval(args.save_strategy, args.save_steps)
    if not apart:
        return [Hook(save_every, evaluate_and_save)]
    eval_steps = args.eval_steps
    if eval_steps < 0:
        eval_steps = plan.logging_steps(args.logging_steps, state.total)
    return [
        Hook(_interval(strategy, eval_steps), evaluate_apart, saves=False),
        Hook(save_every, save_apart),
    ]


def _interval(strategy: str, steps: int) -> int | None:
    """`Hook.every` for a --save_strategy or --eval_strategy."""
    return {"steps": steps, "epoch": None, "no": sys.maxsize}[strategy]
