"""The core loop without a task: means over the global batch, hooks, the log window."""

import io
import math

import numpy as np
import pytest

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import RunError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue.args import parse_args
from bert_paddle.models import classifier
from bert_paddle.training.loop import Hook, fit
from bert_paddle.training.step import Objective, Trainer
from bert_paddle.training.train_state import TrainState

ROWS = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")


class Fixed:
    """The same micro-batches at every update, a made-up epoch of five updates."""

    steps_per_epoch = 5
    rows_per_step = planned_rows = len(ROWS)
    rows_per_epoch = steps_per_epoch * rows_per_step

    def __init__(self, *cuts: int):
        self.parts = np.split(ROWS, cuts)

    def rows_of(self, epoch, start):
        return f"rows of epoch {epoch} from {start}"

    def steps(self, epoch, start):
        for _ in range(start // self.rows_per_step, self.steps_per_epoch):
            yield [{"x": part} if len(part) else {} for part in self.parts]


def objective(fail_at: float = math.inf):
    """Two terms with different counts: a squared error by row and one by element."""
    import paddle

    def sums(network, batch):
        out = network(paddle.to_tensor(batch["x"]))
        return {"rows": (out**2).sum(), "elements": paddle.abs(out - 1).sum()}

    def counts(batch):
        return {"rows": len(batch["x"]), "elements": 2 * len(batch["x"])} if batch else {}

    return Objective(sums, counts, rows="rows")


def a_trainer(log=None, **flags):
    """A trainer of a small network, the network, and the log."""
    import paddle

    paddle.seed(3)
    network = paddle.nn.Linear(3, 2)
    argv = "--task_name sst2 --model_name_or_path m --output_dir o --learning_rate 0.1".split()
    for name, value in flags.items():
        argv += [f"--{name}", str(value)]
    args = parse_args(argv)
    log = log or RunLog(out=io.StringIO(), err=io.StringIO())
    return Trainer(network, objective(), args, False, log), network, log


def train(batches, total=3, hooks=(), log=None, **flags):
    trainer, network, log = a_trainer(log, **flags)
    state = TrainState(total=total)
    fit(trainer, batches, state, hooks(network, state) if hooks else (), log)
    return network.weight.numpy(), state, log


def test_uneven_and_empty_micro_batches_are_one_mean():
    """A mean of the parts' means would differ: 12 rows as 12, as 5 + 7, and with an empty part."""
    whole, *_ = train(Fixed())
    for cuts in ((5,), (1, 2), (5, 5), (0, 4)):
        parts, *_ = train(Fixed(*cuts))
        np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_first_update_is_the_gradient_of_the_mean():
    """Against numpy: d/dW of sum(out^2)/12 + sum|out - 1|/24, through AdamW's first step."""
    import paddle

    paddle.seed(3)
    network = paddle.nn.Linear(3, 2)
    weight, bias = network.weight.numpy(), network.bias.numpy()
    out = ROWS @ weight + bias
    gradient = ROWS.T @ (2 * out / 12 + np.sign(out - 1) / 24)
    trained, *_ = train(Fixed(), total=1, max_grad_norm=0)
    np.testing.assert_allclose(trained, weight - 0.1 * np.sign(gradient), rtol=1e-4)


def test_the_loss_of_an_epoch_begun_by_other_processes_is_whole():
    """Shares of two processes, gone on with by one; the mean counts an update by its rows."""
    trainer, network, log = a_trainer()
    state = TrainState(total=3, epoch_losses=[1.5, 2.5])
    seen = []
    fit(trainer, Fixed(), state, [Hook(1, lambda: seen.append(sum(state.epoch_losses)))], log)
    steps = np.diff([4.0, *seen]) / len(ROWS)
    hooked = []
    train(
        Fixed(),
        total=3,
        hooks=lambda _, now: [Hook(1, lambda: hooked.append(sum(now.epoch_losses)))],
    )
    np.testing.assert_allclose(steps, np.diff([0.0, *hooked]) / len(ROWS), rtol=1e-6)


def test_at_an_epochs_end_its_hook_is_called_and_the_next_loss_begins_at_zero():
    seen = []

    def hooks(network, state):
        return [Hook(None, lambda: seen.append((state.step, sum(state.epoch_losses))))]

    train(Fixed(), total=12, hooks=hooks)
    assert [step for step, _ in seen] == [5, 10, 12]
    assert seen[1][1] < seen[0][1]  # the loss falls; a sum over both epochs would be larger


def test_lines_and_window():
    _, state, log = train(Fixed(4, 8), total=7, logging_steps=3)
    lines = log.out.getvalue().splitlines()
    assert [line.split(", loss")[0] for line in lines] == [
        "global step 3, epoch: 0, batch: 9",
        "global step 6, epoch: 1, batch: 3",
    ]
    assert (state.step, state.epoch, state.rows, state.window_steps) == (7, 1, 24, 1)


def test_hooks_run_on_time_and_in_evaluation_mode():
    seen = []

    def hooks(network, state):
        return [Hook(2, lambda: seen.append((state.step, network.training)))]

    train(Fixed(), total=5, hooks=hooks)
    assert seen == [(2, False), (4, False), (5, False)]


def test_a_hook_can_stop_and_changes_nothing_else():
    def stops(network, state):
        return [Hook(2, lambda: setattr(state, "stopped", state.step == 4))]

    def draws(network, state):
        import paddle

        return [Hook(1, lambda: paddle.rand([10]))]

    assert train(Fixed(), total=50, hooks=stops)[1].step == 4
    assert np.array_equal(train(Fixed(), hooks=draws)[0], train(Fixed())[0])


def test_a_loss_that_is_no_number_is_told_with_step_and_rate():
    broken = Fixed()
    broken.parts = [np.full((2, 3), np.inf, "float32")]
    with pytest.raises(RunError, match=r"step 1 .*learning rate 0.1"):
        train(broken, logging_steps=1)


def test_gradients_that_are_no_numbers_stop_at_once_with_the_rows_and_the_weights_kept():
    class Breaking(Fixed):
        def steps(self, epoch, start):
            for i, parts in enumerate(super().steps(epoch, start)):
                yield parts if (epoch, i) != (1, 2) else [{"x": np.full((2, 3), 3e38, "float32")}]

    state, weights = TrainState(total=99, rows_per_step=len(ROWS)), []
    hooks = [Hook(1, lambda: weights.append(network.weight.numpy()))]
    trainer, network, log = a_trainer(logging_steps=1000)
    told = r"not finite at step 8 \(epoch 1, learning rate 0.0\d+; rows of epoch 1 from 24\)"
    with pytest.raises(RunError, match=told):
        fit(trainer, Breaking(), state, hooks, log)
    assert len(weights) == 7 and np.isfinite(weights[-1]).all()
    assert np.array_equal(network.weight.numpy(), weights[-1])


def test_dropout_is_a_function_of_seed_step_and_rank():
    import paddle

    from bert_paddle.training.step import _seed_dropout

    def draw(*key):
        _seed_dropout(*key)
        return tuple(paddle.rand([4]).numpy())

    keys = [(1, 1, 0), (1, 2, 0), (1, 1, 1), (2, 1, 0)]
    assert draw(1, 1, 0) == draw(1, 1, 0)
    assert len({draw(*key) for key in keys}) == 4


def test_amp_on_the_cpu_is_told_and_trains_in_float32():
    log = RunLog(out=io.StringIO(), err=io.StringIO())
    weight, *_ = train(Fixed(), log=log, use_amp=1, amp_dtype="bfloat16", amp_level="O2")
    assert "no effect on the CPU" in log.err.getvalue()
    assert np.array_equal(weight, train(Fixed())[0])


def test_weights_that_are_being_saved_are_those_before_the_next_update(tmp_path):
    """Nothing is copied before an update, and everything that is not written yet then."""
    from safetensors.numpy import load_file

    trainer, network, _ = a_trainer()
    before = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    waiting, written = (classifier.snapshot_tensors(network.state_dict()) for _ in range(2))
    trainer.held = [waiting]
    trainer.step([{"x": ROWS}], 0.1, 1, {})
    atomic_files.write_tensors(tmp_path / "waiting", waiting)
    atomic_files.write_tensors(tmp_path / "written", written)  # was not told of the update
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(load_file(tmp_path / "waiting")[name], before[name])
        np.testing.assert_array_equal(load_file(tmp_path / "written")[name], value.numpy())
        assert not np.array_equal(value.numpy(), before[name])
    assert not trainer.held
