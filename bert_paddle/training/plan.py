"""How many steps a run takes, and the place of each step in its learning-rate schedule: pure
functions of the training state.

A run is planned in epochs. One that resumes with another global batch or another
--num_train_epochs, or that had finished at its --max_steps and has a higher one now, takes as many
steps as the rows still to be seen need; --max_steps limits them.
Its schedule continues from there, at the pace at which it reaches its end at the last step:

    planned    0 ---------------------- resume --------------------------------- schedule_total
    resumed                             resume ------------- total
                                        (base_step; its place in the schedule: base_position)
"""

import math
from dataclasses import replace

from bert_paddle.training.train_state import TrainState


def planned_steps(epochs: float, steps_per_epoch: int, max_steps: int) -> int:
    """The steps of a new run. max_steps: the limit; -1 for none."""
    planned = math.ceil(epochs * steps_per_epoch)
    return min(planned, max_steps) if max_steps > 0 else planned


def logging_steps(given: int, total: int) -> int:
    """The steps between log lines. given: --logging_steps; -1: about twenty lines in the `total`
    steps of a run, and one at least every 500."""
    return given if given > 0 else min(500, max(1, total // 20))


def remaining_rows(epoch: int, rows: int, epochs: float, rows_per_epoch: int) -> list[int]:
    """How many rows are still to be seen in this epoch, in all the whole epochs after it, and in
    the part of an epoch at the end of the plan.

    rows: finished rows of the current epoch. epochs: planned, such as 2.5.
    """
    whole = math.floor(epochs)
    # Rounded first: 2.1 epochs of 10 rows are 21.000000000000004 rows.
    part = math.ceil(round((epochs - whole) * rows_per_epoch, 6))
    if epoch >= whole:
        return [max(0, part - rows) if epoch == whole else 0, 0, 0]
    return [rows_per_epoch - rows, (whole - epoch - 1) * rows_per_epoch, part]


def remaining_steps(
    epoch: int, rows: int, epochs: float, rows_per_epoch: int, rows_per_step: int
) -> int:
    """The steps that the remaining rows need. No step has rows of two epochs."""
    now, whole, part = remaining_rows(epoch, rows, epochs, rows_per_epoch)
    in_epoch = -(-rows_per_epoch // rows_per_step)  # rounded up
    return -(-now // rows_per_step) + whole // rows_per_epoch * in_epoch + -(-part // rows_per_step)


def schedule_position(state: TrainState, done: int, warmup: int) -> float:
    """Where in the schedule the step after `done` finished steps is: 0 at the beginning,
    `schedule_total` at the end. It is `done` unless a resume has changed the plan.

    warmup: steps of the schedule that are warm-up. They last as many rows as was planned: after a
    resume with twice the batch, half as many steps.
    """
    if not is_replanned(state):
        return done
    start, end = state.base_position, state.schedule_total
    steps, left = done - state.base_step, state.total - state.base_step
    pace = state.rows_per_step / max(1, state.planned_rows)
    steps_of_warmup = max(0.0, warmup - start) / pace
    if warmup >= end or steps_of_warmup >= left:
        steps_of_warmup = 0.0  # it does not end within this run: the same pace for all steps
    elif steps <= steps_of_warmup:
        return start + steps * pace
    else:
        start = max(start, float(warmup))
    return start + (steps - steps_of_warmup) * (end - start) / (left - steps_of_warmup)


def is_replanned(state: TrainState) -> bool:
    """Whether a resume has changed the steps of this run."""
    return state.base_step > 0 or state.total != state.schedule_total


def replan(
    state: TrainState, new: TrainState, rows_per_epoch: int, warmup: int
) -> tuple[TrainState, str]:
    """The state of a resumed run, planned for the global batch and the flags of `new`, and a line
    that says what has changed; "" if the plan is the same.

    new: the state that a new run with these flags would have. warmup: as in `schedule_position`.
    """
    changes = _changes(state, new)
    # The batch number in log lines counts as if all steps of the epoch had this size.
    state = replace(state, batch=_batch(state, new, rows_per_epoch))
    if not changes:
        return state, ""
    line = f"{'; '.join(changes)}: resuming at the next unseen row; "
    epochs, limit = float(new.args["num_train_epochs"]), int(new.args["max_steps"])
    place = state.epoch, state.rows, epochs, rows_per_epoch
    total = state.step + remaining_steps(*place, new.rows_per_step)
    if limit > 0:
        total = max(state.step, min(total, limit))
    if total == state.total == limit and not is_replanned(state):
        return (
            replace(state, rows_per_step=new.rows_per_step),
            f"{line}--max_steps keeps the {total} steps in total and their learning rates",
        )
    if total == state.step == state.total:
        line += f"the run has all of its {total} steps already; no step is left"
        return replace(state, rows_per_step=new.rows_per_step), line
    position, restarted = schedule_position(state, state.step, warmup), ""
    if position >= state.schedule_total and total > state.step:
        # The schedule has ended: all steps to come would have a learning rate of 0.
        rows_left = min(sum(remaining_rows(*place)), (total - state.step) * new.rows_per_step)
        rows_seen = state.epoch * rows_per_epoch + state.rows
        share = rows_seen / (rows_seen + rows_left)
        position = state.schedule_total * share
        restarted = f", which had ended, continues at {share:.0%} of its length"
    line += (
        f"for {epochs:g} epochs there are now {total} steps in total, not {state.total}; "
        f"the learning-rate schedule{restarted or ' continues from here'} and ends at step {total}"
    )
    changed = replace(
        state,
        rows_per_step=new.rows_per_step,
        total=total,
        base_step=state.step,
        base_position=float(position),
    )
    return changed, line + ("; no step is left" if total == state.step else "")


def _changes(state: TrainState, new: TrainState) -> list[str]:
    changes = []
    if state.rows_per_step != new.rows_per_step:
        changes.append(
            f"the global batch was {state.rows_per_step} rows and is {new.rows_per_step} "
            "(processes x --batch_size x --gradient_accumulation_steps)"
        )
    before, now = (each.args.get("num_train_epochs") for each in (state, new))
    if before != now:
        changes.append(f"--num_train_epochs was {before:g} and is {now:g}")
    before, now = (each.args.get("max_steps") for each in (state, new))
    # A run that has not finished keeps its steps: --max_steps may only have stopped it earlier.
    if before != now and state.step >= state.total < new.total:
        changes.append(f"the run had finished, --max_steps was {before} and is {now}")
    return changes


def _batch(state: TrainState, new: TrainState, rows_per_epoch: int) -> int:
    """The number of finished micro-batches of this epoch, for the steps and micro-batches of
    `new`."""
    accumulation = new.args.get("gradient_accumulation_steps")
    is_same = state.args.get("gradient_accumulation_steps") == accumulation
    if is_same and state.rows_per_step == new.rows_per_step:
        return state.batch
    # Rounded down within an epoch, so that its last batch has no number above the epoch's.
    rounding = new.rows_per_step - 1 if state.rows >= rows_per_epoch else 0
    return (state.rows + rounding) // new.rows_per_step * int(accumulation or 1)
