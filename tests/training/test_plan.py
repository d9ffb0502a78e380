"""The planned steps of a resumed run and its place in the learning-rate schedule."""

from dataclasses import replace

import pytest

from bert_paddle.training import plan
from bert_paddle.training.optim import learning_rate
from bert_paddle.training.train_state import TrainState


def state_of(rows_per_step, epochs=2.0, max_steps=-1, accumulation=1, total=14, **fields):
    """50 rows in batches of 8 are seven steps an epoch."""
    args = {"num_train_epochs": epochs, "max_steps": max_steps}
    args["gradient_accumulation_steps"] = accumulation
    fields.setdefault("planned_rows", 8)
    return TrainState(total=total, rows_per_step=rows_per_step, args=args, **fields)


def rates(state, warmup=0, schedule="linear"):
    """The learning rates of the steps to come."""
    return [
        learning_rate(
            plan.schedule_position(state, done, warmup) + 1,
            state.schedule_total,
            1.0,
            warmup,
            schedule,
        )
        for done in range(state.step, state.total + 1)
    ]


@pytest.mark.parametrize(
    ("epoch", "rows", "epochs", "rows_per_step", "steps"),
    [
        (0, 0, 2, 8, 14),
        (0, 24, 2, 5, 6 + 10),
        (0, 24, 2, 50, 2),
        (0, 50, 2, 8, 7),  # at an epoch's end
        (1, 0, 2, 50, 1),
        (1, 24, 2, 10, 3),
        (1, 50, 2, 10, 0),
        (7, 0, 2, 50, 0),  # more than planned
        (0, 0, 0.5, 5, 5),
        (0, 24, 0.5, 5, 1),
        (0, 32, 0.5, 5, 0),
        (0, 24, 2.5, 10, 3 + 5 + 3),
        (2, 10, 2.1, 5, 0),
        (0, 0, 1e5, 8, 700_000),
    ],
)
def test_remaining_steps(epoch, rows, epochs, rows_per_step, steps):
    assert plan.remaining_steps(epoch, rows, epochs, 50, rows_per_step) == steps


def test_the_same_plan_is_kept_to_the_last_bit():
    state = state_of(8, step=3, rows=24, batch=3)
    assert plan.replan(state, state_of(8), 50, 0) == (state, "")
    assert [plan.schedule_position(state, done, 4) for done in range(15)] == list(range(15))
    # The same rows in other micro-batches: only their number differs.
    other, line = plan.replan(state, state_of(8, accumulation=2), 50, 0)
    assert line == "" and other == replace(state, batch=6)
    # A run of an earlier version that kept its steps with another batch.
    state = state_of(5, step=9, rows=30, total=14)
    assert plan.replan(state, state_of(5, total=20), 50, 0) == (state, "")


@pytest.mark.parametrize(("rows_per_step", "total"), [(5, 3 + 6 + 10), (25, 3 + 2 + 2), (50, 5)])
@pytest.mark.parametrize("schedule", ["linear", "poly", "constant"])
@pytest.mark.parametrize("warmup", [0, 2, 6, 40])
def test_another_batch_keeps_epochs_and_goes_on_in_the_schedule(
    rows_per_step, total, schedule, warmup
):
    state = state_of(8, step=3, rows=24, batch=3)
    changed, line = plan.replan(state, state_of(rows_per_step), 50, warmup)
    assert changed.total == total and changed.schedule_total == 14
    assert f"the global batch was 8 rows and is {rows_per_step}" in line
    assert f"2 epochs there are now {total} steps in total, not 14" in line and "\n" not in line
    before, after = rates(state, warmup, schedule), rates(changed, warmup, schedule)
    assert after[0] == before[0] and after[-1] == pytest.approx(before[-1])
    if warmup == 6 and total > 5:  # a warm-up of 48 rows: it ends after the same rows
        peak = max(range(len(after)), key=after.__getitem__)
        assert abs(24 + peak * rows_per_step - 48) <= rows_per_step


def test_two_resumes_with_other_batches():
    state = state_of(8, step=3, rows=24)
    first, _ = plan.replan(state, state_of(5), 50, 0)
    at_45 = replace(first, step=7, rows=44, args=state_of(5).args)
    second, _ = plan.replan(at_45, state_of(20), 50, 0)
    assert second.total == 7 + 1 + 3
    assert rates(second)[0] == pytest.approx(rates(at_45)[0])
    assert rates(second)[-1] == pytest.approx(0)
    assert plan.replan(replace(second, step=8), state_of(20), 50, 0)[1] == ""


def test_more_epochs_go_on_from_the_present_learning_rate():
    state = state_of(8, step=7, rows=50)
    changed, line = plan.replan(state, state_of(8, epochs=4.0), 50, 0)
    assert changed.total == 28 and "--num_train_epochs was 2 and is 4" in line
    assert rates(changed)[0] == 0.5 and rates(changed)[-1] == pytest.approx(0)


def test_more_epochs_after_the_end_train_at_the_share_of_rows_seen():
    state = state_of(8, step=14, epoch=1, rows=50)
    changed, line = plan.replan(state, state_of(8, epochs=4.0), 50, 0)
    assert changed.total == 28 and "had ended, continues at 50%" in line
    assert rates(changed)[0] == pytest.approx(0.5) and rates(changed)[-1] == pytest.approx(0)


def test_fewer_epochs_for_a_finished_run():
    state = state_of(8, step=14, epoch=1, rows=50)
    changed, line = plan.replan(state, state_of(8, epochs=1.5), 50, 0)
    assert changed.total == 14 and line.endswith("has all of its 14 steps already; no step is left")


def test_fewer_epochs_than_are_done():
    state = state_of(8, step=10, epoch=1, rows=24)
    changed, line = plan.replan(state, state_of(8, epochs=1.0), 50, 0)
    assert changed.total == 10 and "no step is left" in line


def test_max_steps_keep_steps():
    state = state_of(8, max_steps=12, total=12, step=3, rows=24)
    changed, line = plan.replan(state, state_of(5, max_steps=12), 50, 4)
    assert changed == replace(state, rows_per_step=5, batch=4)
    assert rates(changed, 4) == rates(state, 4) and "--max_steps keeps the 12 steps" in line
    # Unless the planned epochs end before.
    changed, _ = plan.replan(state, state_of(50, max_steps=12), 50, 4)
    assert changed.total == 5


def test_batch_numbers_stay_within_the_epoch():
    for rows in range(1, 51):
        for size in range(1, 51):
            changed, _ = plan.replan(state_of(51, rows=rows), state_of(size), 50, 0)
            assert changed.batch + -(-(50 - rows) // size) <= -(-50 // size)
