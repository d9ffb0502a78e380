"""The training loop without a task: means over the global batch, hooks, the log window."""

import io

import numpy as np
import pytest

from bert_paddle.common import atomic_files, signals
from bert_paddle.common.errors import Interrupted, RunError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.args import parse_args
from bert_paddle.models import model_state
from bert_paddle.training.loop import Hook, fit
from bert_paddle.training.step import Objective, Trainer
from bert_paddle.training.train_state import TrainState

ROWS = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")


class FixedData:
    """The same micro-batches at every step, five steps an epoch."""

    steps_per_epoch = 5
    rows_per_step = len(ROWS)
    rows_per_epoch = steps_per_epoch * rows_per_step

    def __init__(self, *cuts: int):
        self.parts = np.split(ROWS, cuts)

    def describe_rows(self, epoch, start, planned_rows):
        return f"rows of epoch {epoch} from {start}"

    def steps(self, epoch, start, planned_rows):
        for _ in range(start // self.rows_per_step, self.steps_per_epoch):
            yield [{"x": part} if len(part) else {} for part in self.parts]


def make_objective():
    """Two terms with different counts: a squared error by row and one by element."""
    import paddle

    def sums(network, batch):
        out = network(paddle.to_tensor(batch["x"]))
        return {"rows": (out**2).sum(), "elements": paddle.abs(out - 1).sum()}

    def counts(batch):
        return {"rows": len(batch["x"]), "elements": 2 * len(batch["x"])} if batch else {}

    return Objective(sums, counts, rows="rows")


def make_trainer(log=None, **flags):
    """A trainer of a small network, the network, and the log."""
    import paddle

    paddle.seed(3)
    network = paddle.nn.Linear(3, 2)
    argv = "--task_name sst2 --model_name_or_path m --output_dir o --learning_rate 0.1".split()
    for name, value in flags.items():
        argv += [f"--{name}", str(value)]
    args = parse_args(argv)
    log = log or RunLog(stdout=io.StringIO(), stderr=io.StringIO())
    return Trainer(network, make_objective(), args, False, log), network, log


def train(batches, total=3, hooks=(), log=None, **flags):
    trainer, network, log = make_trainer(log, **flags)
    state = TrainState(total=total)
    fit(trainer, batches, state, hooks(network, state) if hooks else (), log)
    return network.weight.numpy(), state, log


def test_uneven_and_empty_micro_batches_are_one_mean():
    """12 rows as 12, as 5 + 7, with an empty part: a mean of the parts' means would differ."""
    undivided, *_ = train(FixedData())
    for cuts in ((5,), (1, 2), (5, 5), (0, 4)):
        parts, *_ = train(FixedData(*cuts))
        np.testing.assert_allclose(parts, undivided, rtol=1e-5)


def test_first_step_follows_the_gradient_of_the_mean():
    """Against numpy: d/dW of sum(out^2)/12 + sum|out - 1|/24, through AdamW's first step."""
    import paddle

    paddle.seed(3)
    network = paddle.nn.Linear(3, 2)
    weight, bias = network.weight.numpy(), network.bias.numpy()
    out = ROWS @ weight + bias
    gradient = ROWS.T @ (2 * out / 12 + np.sign(out - 1) / 24)
    trained, *_ = train(FixedData(), total=1, max_grad_norm=0)
    np.testing.assert_allclose(trained, weight - 0.1 * np.sign(gradient), rtol=1e-4)


def test_epoch_loss_after_resuming_with_another_world_size():
    """Saved by two ranks, resumed by one; the mean weights each step by its rows."""
    trainer, network, log = make_trainer()
    state = TrainState(total=3, epoch_losses=[1.5, 2.5])
    seen = []
    fit(trainer, FixedData(), state, [Hook(1, lambda: seen.append(sum(state.epoch_losses)))], log)
    steps = np.diff([4.0, *seen]) / len(ROWS)
    hooked = []
    train(
        FixedData(),
        total=3,
        hooks=lambda _, now: [Hook(1, lambda: hooked.append(sum(now.epoch_losses)))],
    )
    np.testing.assert_allclose(steps, np.diff([0.0, *hooked]) / len(ROWS), rtol=1e-6)


def test_epoch_hook_is_called_and_the_next_epoch_loss_starts_at_zero():
    seen = []

    def hooks(network, state):
        return [Hook(None, lambda: seen.append((state.step, sum(state.epoch_losses))))]

    train(FixedData(), total=12, hooks=hooks)
    assert [step for step, _ in seen] == [5, 10, 12]
    assert seen[1][1] < seen[0][1]  # the loss falls; a sum over both epochs would be larger


def test_log_lines_and_window():
    _, state, log = train(FixedData(4, 8), total=7, logging_steps=3)
    lines = log.stdout.getvalue().splitlines()
    assert [line.split(", loss")[0] for line in lines] == [
        "global step 3, epoch: 0, batch: 9",
        "global step 6, epoch: 1, batch: 3",
    ]
    assert (state.step, state.epoch, state.rows, state.window_steps) == (7, 1, 24, 1)


def test_hooks_run_every_n_steps_in_evaluation_mode():
    seen = []

    def hooks(network, state):
        return [Hook(2, lambda: seen.append((state.step, network.training)))]

    train(FixedData(), total=5, hooks=hooks)
    assert seen == [(2, False), (4, False), (5, False)]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_at_a_hook_that_does_not_save_saves_too(monkeypatch, name):
    polls = iter([{}, {name: 1}, {}])
    monkeypatch.setattr(signals.requests, "poll", lambda: next(polls))
    trainer, _, log = make_trainer()
    state, actions = TrainState(total=3), []
    hooks = [
        Hook(2, lambda: actions.append(f"evaluate {state.step}"), saves=False),
        Hook(3, lambda: actions.append(f"save {state.step}")),
    ]

    def train() -> None:
        on_signal = lambda: actions.append(f"save {state.step}")  # noqa: E731
        fit(trainer, FixedData(), state, hooks, log, on_signal=on_signal)

    if name == "SIGTERM":
        with pytest.raises(Interrupted, match="saved at step 2 of 3"):
            train()
        assert actions == ["evaluate 2", "save 2"]
    else:
        train()
        assert actions == ["evaluate 2", "save 2", "evaluate 3", "save 3"]


def test_a_hook_can_stop_training_and_changes_nothing_else():
    def stops(network, state):
        return [Hook(2, lambda: setattr(state, "stopped", state.step == 4))]

    def draws(network, state):
        import paddle

        return [Hook(1, lambda: paddle.rand([10]))]

    assert train(FixedData(), total=50, hooks=stops)[1].step == 4
    assert np.array_equal(train(FixedData(), hooks=draws)[0], train(FixedData())[0])


def test_non_finite_loss_is_reported_with_step_and_learning_rate():
    data = FixedData()
    data.parts = [np.full((2, 3), np.inf, "float32")]
    with pytest.raises(RunError, match=r"step 1 .*learning rate 0.1"):
        train(data, logging_steps=1)


def test_non_finite_gradients_stop_at_once_and_keep_the_weights():
    class OverflowingData(FixedData):
        def steps(self, epoch, start, planned_rows):
            for i, parts in enumerate(super().steps(epoch, start, planned_rows)):
                yield parts if (epoch, i) != (1, 2) else [{"x": np.full((2, 3), 3e38, "float32")}]

    state, weights = TrainState(total=99, rows_per_step=len(ROWS)), []
    hooks = [Hook(1, lambda: weights.append(network.weight.numpy()))]
    trainer, network, log = make_trainer(logging_steps=1000)
    message = r"not finite at step 8 \(epoch 1, learning rate 0.0\d+; rows of epoch 1 from 24\)"
    with pytest.raises(RunError, match=message):
        fit(trainer, OverflowingData(), state, hooks, log)
    assert len(weights) == 7 and np.isfinite(weights[-1]).all()
    assert np.array_equal(network.weight.numpy(), weights[-1])


def test_rows_that_are_not_finite_are_named_after_a_resume_with_another_batch():
    """The steps of this process begin at row 30 of the epoch, not at a multiple of 12 rows."""

    class OverflowingData(FixedData):
        def steps(self, epoch, start, planned_rows):
            yield from super().steps(epoch, start, planned_rows)
            yield [{"x": np.full((2, 3), 3e38, "float32")}]

    state = TrainState(total=99, step=9, rows=30, rows_per_step=len(ROWS))
    trainer, _, log = make_trainer(logging_steps=1000)
    with pytest.raises(RunError, match="at step 13 .*rows of epoch 0 from 66"):
        fit(trainer, OverflowingData(), state, (), log)


def test_dropout_is_a_function_of_seed_step_and_rank():
    import paddle

    from bert_paddle.training.step import _seed_dropout

    def draw(*key):
        _seed_dropout(*key)
        return tuple(paddle.rand([4]).numpy())

    keys = [(1, 1, 0), (1, 2, 0), (1, 1, 1), (2, 1, 0)]
    assert draw(1, 1, 0) == draw(1, 1, 0)
    assert len({draw(*key) for key in keys}) == 4


def test_amp_on_the_cpu_warns_and_trains_in_float32():
    log = RunLog(stdout=io.StringIO(), stderr=io.StringIO())
    weight, *_ = train(FixedData(), log=log, use_amp=1, amp_dtype="bfloat16", amp_level="O2")
    assert "no effect on the CPU" in log.stderr.getvalue()
    assert np.array_equal(weight, train(FixedData())[0])


def test_snapshots_are_materialized_before_a_step_changes_the_weights(tmp_path):
    """By the hook that a run registers: they are copied then, as far as they are not written."""
    from safetensors.numpy import load_file

    trainer, network, _ = make_trainer()
    before = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    pending, unregistered = (model_state.snapshot_tensors(network.state_dict()) for _ in range(2))
    trainer.before_optimizer_step.append(pending.materialize)
    trainer.step([{"x": ROWS}], 0.1, 1, {})
    atomic_files.write_tensors(tmp_path / "pending", pending)
    atomic_files.write_tensors(
        tmp_path / "unregistered", unregistered
    )  # not released before the step
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(load_file(tmp_path / "pending")[name], before[name])
        np.testing.assert_array_equal(load_file(tmp_path / "unregistered")[name], value.numpy())
        assert not np.array_equal(value.numpy(), before[name])
