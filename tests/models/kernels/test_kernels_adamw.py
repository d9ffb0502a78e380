"""AdamW by our kernels against Paddle's own."""

import numpy as np
import pytest

from bert_paddle.glue.args import parse_args
from bert_paddle.models import model_state
from bert_paddle.models.kernels import compile_kernels
from bert_paddle.training import optim

# One element, less than a CHUNK of adamw.c, exactly one CHUNK, and several with a remainder.
SHAPES = {"first.weight": [1], "norm.weight": [7, 3], "bias": [8192], "last.weight": [5, 4099]}


@pytest.fixture(autouse=True)
def _needs_kernels():
    if compile_kernels.load_kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.load_kernels()[1]}")


def make_layer(values):
    """A layer with parameters of these values by name, and the names by Paddle's own."""
    import paddle

    layer = paddle.nn.Layer()
    for name, value in values.items():
        prefix, _, leaf = name.rpartition(".")
        owner = layer.add_sublayer(prefix, paddle.nn.Layer()) if prefix else layer
        owner.add_parameter(leaf, paddle.create_parameter(value.shape, "float32"))
        getattr(owner, leaf).set_value(value)
    return layer, {p.name: name for name, p in layer.named_parameters()}


def train(use_kernels, clip=1.0, restored_at=None, unused=""):
    """Parameters and the optimizer's state after five steps, and the norms of the gradients."""
    import paddle

    flags = "--task_name sst2 --model_name_or_path m --output_dir o --weight_decay 0.3 "
    flags += f"--cpu_kernels {int(use_kernels)} --adam_epsilon 1e-6"
    rng = np.random.default_rng(5)
    layer, names = make_layer(
        {name: rng.normal(size=s).astype("float32") for name, s in SHAPES.items()}
    )
    optimizer = optim.build_optimizer(layer, parse_args(flags.split()))
    norms = []
    for step in range(5):
        if step == restored_at:
            saved = optimizer_state(layer, optimizer)
            layer, names = make_layer({name: p.numpy() for name, p in layer.named_parameters()})
            optimizer = optim.build_optimizer(layer, parse_args(flags.split()))
            model_state.restore_optimizer(layer, optimizer, saved)
        for parameter in layer.parameters():
            gradient = rng.normal(size=parameter.shape).astype("float32") * 10.0 ** (-step)
            if names[parameter.name] != unused:
                (parameter * paddle.to_tensor(gradient)).sum().backward()
        optimizer.set_lr(0.01 / (step + 1))
        norms.append(float(optimizer.clip_gradients(layer.parameters(), clip)))
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
    weights = {name: p.numpy() for name, p in layer.named_parameters()}
    return weights | optimizer_state(layer, optimizer), norms


def optimizer_state(layer, optimizer):
    return {k: v.numpy() for k, v in model_state.optimizer_tensors(layer, optimizer).items()}


def check_close(ours, theirs):
    assert ours[1] == pytest.approx(theirs[1], rel=1e-6)
    assert ours[0].keys() == theirs[0].keys()
    for name, value in theirs[0].items():
        np.testing.assert_allclose(ours[0][name], value, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_equals_paddles_adamw(clip):
    ours = train(True, clip)
    check_close(ours, train(False, clip))
    assert ours[1][0] > 1 > ours[1][4]  # the first step is clipped, the last is not


def test_parameter_without_gradient_is_unchanged():
    check_close(*(train(use_kernels, unused="last.weight") for use_kernels in (True, False)))


def test_resuming_is_bitwise_identical():
    uninterrupted, resumed = train(True)[0], train(True, restored_at=3)[0]
    for name, value in uninterrupted.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_non_finite_norm_is_returned_and_nothing_is_scaled():
    import paddle

    layer = paddle.nn.Linear(2, 2)
    flags = "--task_name sst2 --model_name_or_path m --output_dir o"
    optimizer = optim.build_optimizer(layer, parse_args(flags.split()))
    (layer.weight * float("inf")).sum().backward()
    assert optimizer.clip_gradients(layer.parameters(), 1.0) == float("inf")
    assert optimizer._gradient_scale == 1.0
