"""The half of a step that runs on GPUs only, here on the CPU: mixed precision, the loss scaler,
clipping after unscaling, steps with non-finite gradients. The scaler is Paddle's own."""

import functools
import io
import shutil

import fake_amp
import numpy as np
import paddle
import pytest
import tiny

from bert_paddle.common.errors import RunError
from bert_paddle.common.run_log import RunLog
from bert_paddle.glue import finetune
from bert_paddle.glue.args import parse_args
from bert_paddle.training import checkpoint, optim
from bert_paddle.training.loop import fit
from bert_paddle.training.step import Objective, Trainer
from bert_paddle.training.train_state import TrainState

ROWS = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
GOOD = [{"x": ROWS}]
# The squares of the gradients overflow in float32; NaN, in the loss as well.
BAD = {
    "inf": [{"x": np.full((6, 3), 3e38, "float32")}],
    "nan": [{"x": np.full((6, 3), np.nan, "float32")}],
}
AMP = "--use_amp --amp_dtype float16"


@pytest.fixture
def amp_calls(monkeypatch):
    return fake_amp.install(monkeypatch)


def make_trainer(flags="", gpu=True):
    paddle.seed(3)
    network = paddle.nn.Linear(3, 2)
    argv = "--task_name sst2 --model_name_or_path m --output_dir o --weight_decay 0.1 " + flags
    log = RunLog(stdout=io.StringIO(), stderr=io.StringIO())

    def sums(network, batch):
        return {"loss": (network(paddle.to_tensor(batch["x"])) ** 2).sum()}

    objective = Objective(sums, lambda batch: {"loss": len(batch["x"])} if batch else {})
    return Trainer(network, objective, parse_args(argv.split()), gpu, log)


def test_the_first_loss_scale(amp_calls):
    assert make_trainer(AMP).loss_scale() == 65536
    assert make_trainer("--fp16 --scale_loss 1024").loss_scale() == 1024


def weights(trainer):
    return np.concatenate([p.numpy().ravel() for p in trainer.parameters])


def moments(trainer):
    state = trainer.optimizer.state_dict()
    return {k.split("_", 2)[-1]: v.numpy() for k, v in state.items() if hasattr(v, "numpy")}


def take(trainer, batch, step, lr=0.1):
    result = trainer.step(batch, lr, step, {})
    return float(result.losses["loss"])


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("limit", [0, 1.0])
@pytest.mark.parametrize("bad_step", [1, 3])
def test_a_step_with_non_finite_gradients_is_not_taken(optimizer, bad, limit, bad_step):
    trainer = make_trainer(f"--optimizer {optimizer} --max_grad_norm {limit}")
    for step in range(1, bad_step):
        take(trainer, GOOD, step)
    assert trainer.first_nonfinite_step() is None
    before = weights(trainer)
    take(trainer, BAD[bad], bad_step)
    assert np.array_equal(weights(trainer), before)
    take(trainer, GOOD, bad_step + 1)  # the host does not know yet
    take(trainer, BAD[bad], bad_step + 2)
    assert np.array_equal(weights(trainer), before)
    assert trainer.first_nonfinite_step() == bad_step
    assert not trainer.nonfinite_step_seen()  # would wait for the GPU


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
@pytest.mark.parametrize("limit", [0, 0.5])
def test_finite_steps_are_those_of_the_cpu(optimizer, limit):
    flags = f"--optimizer {optimizer} --max_grad_norm {limit} --cpu_kernels 0"
    trainers = [make_trainer(flags, gpu) for gpu in (True, False)]
    for step in range(1, 5):
        losses = [take(trainer, GOOD, step, lr=0.1 / step) for trainer in trainers]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    on_gpu, on_cpu = map(weights, trainers)
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-5, atol=1e-6)
    assert not np.allclose(on_gpu, weights(make_trainer(flags)), atol=1e-2)


def test_the_run_ends_with_the_first_bad_step_named():
    class Batches:
        steps_per_epoch, rows_per_epoch, rows_per_step = 10, 60, 6

        def describe_rows(self, epoch, start, planned_rows):
            return f"rows from {start}"

        def steps(self, epoch, start, planned_rows):
            for step in range(1, 11):
                yield BAD["inf"] if step in (4, 6) else GOOD

    trainer = make_trainer("--logging_steps 8")
    state = TrainState(total=10, rows_per_step=6)
    with pytest.raises(RunError, match=r"gradients are not finite at step 4 .*rows from 18"):
        fit(trainer, Batches(), state, [], trainer.log)
    assert np.isfinite(weights(trainer)).all()


@pytest.mark.parametrize("level", ["O1", "O2"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_precision_and_level_reach_paddle(amp_calls, level, dtype):
    trainer = make_trainer(f"--use_amp --amp_level {level} --amp_dtype {dtype}")
    take(trainer, GOOD, 1)
    options = {"level": level, "dtype": dtype}
    assert amp_calls == [("decorate", options)] * (level == "O2") + [("auto_cast", options)]
    assert (trainer.scaler is not None) == (dtype == "float16")  # bfloat16 has float32's range
    assert (trainer.loss_scale() is not None) == (dtype == "float16")
    assert (trainer.scaler_state() != {}) == (dtype == "float16")


def test_bfloat16_does_not_take_a_bad_step(amp_calls):
    trainer = make_trainer("--use_amp --amp_dtype bfloat16")
    before = weights(trainer)
    take(trainer, BAD["nan"], 1)
    assert np.array_equal(weights(trainer), before) and trainer.first_nonfinite_step() == 1


@pytest.mark.parametrize("limit", [0, 0.5])
def test_the_scaler_changes_no_result(amp_calls, limit):
    """Gradients are unscaled before they are clipped: the scale is a power of 2, so that even the
    last bit is the same."""
    scaled, plain = (make_trainer(f"{f} --max_grad_norm {limit}") for f in (AMP, ""))
    for step in range(1, 4):
        assert take(scaled, GOOD, step) == take(plain, GOOD, step)
        assert np.array_equal(weights(scaled), weights(plain))
    assert scaled.loss_scale() == 65536


class HalfLinear(paddle.nn.Layer):
    """A weight in float16, as decorate leaves it with O2, computed in float32, for which a CPU has
    kernels."""

    def __init__(self):
        super().__init__()
        self.weight = paddle.create_parameter([3], "float16")

    def forward(self, x):
        return x * self.weight.astype("float32")


def tiny_gradients_trainer(flags):
    """A trainer whose gradients, without the loss scale, are below the least float16 number."""
    argv = f"--task_name sst2 --model_name_or_path m --output_dir o {AMP} {flags}"
    objective = Objective(
        lambda network, batch: {"loss": (network(paddle.to_tensor(batch["x"])) * 1e-8).sum()},
        lambda batch: {"loss": len(batch["x"])},
    )
    log = RunLog(stdout=io.StringIO(), stderr=io.StringIO())
    trainer = Trainer(HalfLinear(), objective, parse_args(argv.split()), True, log)
    gradients = []

    def step():  # in place of Paddle's kernel for GPUs, which takes them in either type
        gradient = trainer.parameters[0].grad
        gradients.append((gradient.dtype, gradient.astype("float32").numpy()))

    trainer.optimizer.step = step
    return trainer, gradients


@pytest.mark.parametrize("parts", [1, 3])
def test_float16_gradients_are_unscaled_in_float32(amp_calls, parts):
    trainer, gradients = tiny_gradients_trainer("--amp_level O2 --max_grad_norm 0")
    for step in (1, 2):  # the second begins without the first one's gradients
        take(trainer, [{"x": part} for part in np.split(np.abs(ROWS), parts)], step)
        expected = 1e-8 * np.abs(ROWS).mean(axis=0)
        dtype, values = gradients[-1]
        assert dtype == paddle.float32
        np.testing.assert_allclose(values, expected, rtol=2e-3)
    assert trainer.log.stderr.getvalue() == ""


@pytest.mark.parametrize("flags", ["--optimizer lamb --weight_decay 0.1", "--fused_adamw"])
def test_optimizers_that_take_float16_gradients_only_keep_them(amp_calls, flags):
    trainer, gradients = tiny_gradients_trainer(f"--amp_level O2 --max_grad_norm 0 {flags}")
    # A CPU has no kernel that unscales float16 gradients.
    trainer.scaler.unscale_ = lambda optimizer: None
    trainer.scaler.step = lambda optimizer: optimizer.step()
    take(trainer, GOOD, 1)
    assert gradients[0][0] == paddle.float16
    assert "gradients below 6e-8 are lost" in trainer.log.stderr.getvalue()


@pytest.mark.parametrize("on_gpu", [False, True])
def test_the_norm_of_float16_gradients_is_computed_in_float32(on_gpu):
    """The squares would overflow in float16."""
    weight = paddle.create_parameter([4], "float16")
    weight.grad = paddle.full([4], 3000.0, "float16")
    assert float(optim.clip_gradients([weight], 0.0, on_gpu)) == pytest.approx(6000)


def test_a_micro_batch_is_scaled_like_the_whole(amp_calls):
    whole, parts = make_trainer(AMP), make_trainer(AMP)
    take(whole, GOOD, 1)
    take(parts, [{"x": ROWS[:2]}, {}, {"x": ROWS[2:]}], 1)
    np.testing.assert_allclose(weights(parts), weights(whole), rtol=1e-6)


@pytest.mark.parametrize("bad", BAD)
def test_an_overflow_in_float16_skips_the_step_and_halves_the_scale(amp_calls, bad, capsys):
    trainer = make_trainer(AMP)
    take(trainer, GOOD, 1)
    before, state = weights(trainer), moments(trainer)
    take(trainer, BAD[bad], 2)
    assert np.array_equal(weights(trainer), before)
    assert all(np.array_equal(value, state[name]) for name, value in moments(trainer).items())
    assert trainer.loss_scale() == 32768
    assert trainer.first_nonfinite_step() is None
    assert capsys.readouterr().out == ""  # Paddle prints a line there, on every rank
    message = "step 2 skipped: its float16 gradients are not finite; the loss scale is now 32768\n"
    assert trainer.log.stderr.getvalue() == message
    take(trainer, GOOD, 3)
    assert not np.array_equal(weights(trainer), before)


def test_skipped_steps_are_counted_as_not_taken(amp_calls):
    """Adam's bias correction afterwards is that of a run without them."""
    skipping, plain = make_trainer(AMP), make_trainer(AMP)
    take(skipping, BAD["inf"], 1)
    for step in (1, 2):
        take(skipping, GOOD, step + 1)
        take(plain, GOOD, step)
    assert np.array_equal(weights(skipping), weights(plain))


def test_the_scale_grows_again_and_is_restored(amp_calls):
    trainer = make_trainer(AMP)
    trainer.scaler.set_incr_every_n_steps(2)
    for step, batch in enumerate([BAD["inf"], GOOD, GOOD, GOOD], start=1):
        take(trainer, batch, step)
    assert trainer.loss_scale() == 65536
    take(trainer, GOOD, 5)
    saved = trainer.scaler_state()
    resumed = make_trainer(AMP)
    resumed.restore_scaler(saved)
    assert resumed.scaler_state() == saved and resumed.loss_scale() == 131072


def test_a_resumed_run_goes_on_with_the_loss_scale_of_its_checkpoint(
    amp_calls, monkeypatch, tmp_path, tiny_dir
):
    monkeypatch.setattr(
        finetune,
        "Trainer",
        lambda model, loss, args, gpu, *others: Trainer(model, loss, args, 1, *others),
    )
    scaler = functools.partial(paddle.amp.GradScaler, incr_every_n_steps=1)  # it doubles each step
    monkeypatch.setattr(paddle.amp, "GradScaler", scaler)
    tiny.write_sst2(tmp_path / "SST-2", train=16)
    argv = f"--task_name sst2 --model_name_or_path {tiny_dir} --data_dir {tmp_path} {AMP} "
    argv += "--do_train --max_seq_length 32 --batch_size 4 --max_steps 4 --save_steps 2 --report 0"
    for name in ("whole", "resumed"):
        finetune.run(parse_args(f"{argv} --output_dir {tmp_path / name}".split()))
    shutil.rmtree(tmp_path / "resumed" / "model_4")
    resume = f"{argv} --output_dir {tmp_path / 'resumed'} --resume_from_checkpoint auto"
    finetune.run(parse_args(resume.split()))
    states = [checkpoint.load(tmp_path / name / "model_4")[0] for name in ("whole", "resumed")]
    assert [state.scaler["scale"] for state in states] == [65536 * 2**4] * 2
    assert states[0].scaler == states[1].scaler


def test_a_scale_below_one_ends_the_run(amp_calls):
    class Overflowing:
        steps_per_epoch, rows_per_epoch, rows_per_step = 30, 180, 6

        def steps(self, epoch, start, planned_rows):
            for _ in range(30):
                yield BAD["inf"]

    trainer = make_trainer(f"{AMP} --logging_steps 30")
    with pytest.raises(RunError, match="the loss scale fell to"):
        fit(trainer, Overflowing(), TrainState(total=30), [], trainer.log)


def test_fused_adamw_does_not_take_a_bad_step(monkeypatch):
    """Its kernel gets a learning rate of 0 and no gradients."""
    launches = []  # two a step: the decayed weight, the bias

    def fused_adam(parameters, gradients, rate, *others):
        launches.append((float(rate), [float(paddle.abs(g).sum()) for g in gradients]))

    monkeypatch.setattr(paddle._C_ops, "fused_adam_", fused_adam)
    trainer = make_trainer("--fused_adamw")
    take(trainer, GOOD, 1)
    assert [rate for rate, _ in launches] == pytest.approx([0.1, 0.1])
    assert all(sums[0] > 0 for _, sums in launches)
    take(trainer, BAD["nan"], 2)
    assert launches[2:] == [(0.0, [0.0])] * 2


@pytest.mark.parametrize("condition", [True, False])
def test_gradients_of_all_types_are_cancelled_or_kept(condition):
    """As with --amp_level O2, where some parameters stay in float32. bfloat16 has no such kernel on
    a CPU: here the other type is float64."""

    class Optimizer:
        rate = paddle.to_tensor([0.5])

        def _global_learning_rate(self):
            return self.rate

    values = np.array([1.0, np.nan, np.inf])
    parameters = [paddle.to_tensor(values.astype(t), stop_gradient=False) for t in "fdf"]
    for parameter in parameters[:2]:  # the last one has no gradient
        (parameter * 2).sum().backward()
        parameter.grad.set_value(parameter.detach())
    optimizer = Optimizer()
    optim.cancel_step_if(paddle.to_tensor(condition), optimizer, parameters)
    for parameter in parameters[:2]:
        np.testing.assert_array_equal(parameter.grad.numpy(), [0, 0, 0] if condition else values)
    assert float(optimizer.rate) == (0 if condition else 0.5)
