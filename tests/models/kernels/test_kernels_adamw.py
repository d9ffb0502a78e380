"""AdamW by kernels beside Paddle's own."""

import numpy as np
import pytest

from bert_paddle.glue.args import parse_args
from bert_paddle.models import classifier
from bert_paddle.models.kernels import compile_kernels
from bert_paddle.training import optim

# One element, less than a chunk of kernels.c, just one, and some with a rest.
SHAPES = {"first.weight": [1], "norm.weight": [7, 3], "bias": [8192], "last.weight": [5, 4099]}


@pytest.fixture(autouse=True)
def _there():
    if compile_kernels.kernels()[0] is None:
        pytest.skip(f"no kernels: {compile_kernels.kernels()[1]}")


def made(values):
    """A layer of parameters with these values by name, and the names of its parameters."""
    import paddle

    layer = paddle.nn.Layer()
    for name, value in values.items():
        place, _, leaf = name.rpartition(".")
        holder = layer.add_sublayer(place, paddle.nn.Layer()) if place else layer
        holder.add_parameter(leaf, paddle.create_parameter(value.shape, "float32"))
        getattr(holder, leaf).set_value(value)
    return layer, {p.name: name for name, p in layer.named_parameters()}


def trained(by_kernels, clip=1.0, restored_at=None, unused=""):
    """Parameters and the optimizer's state after five updates, and the norms of the gradients."""
    import paddle

    flags = "--task_name sst2 --model_name_or_path m --output_dir o --weight_decay 0.3 "
    flags += f"--cpu_kernels {int(by_kernels)} --adam_epsilon 1e-6"
    draws = np.random.default_rng(5)
    layer, names = made(
        {name: draws.normal(size=s).astype("float32") for name, s in SHAPES.items()}
    )
    optimizer = optim.build(layer, parse_args(flags.split()))
    norms = []
    for step in range(5):
        if step == restored_at:
            saved = state_of(layer, optimizer)
            layer, names = made({name: p.numpy() for name, p in layer.named_parameters()})
            optimizer = optim.build(layer, parse_args(flags.split()))
            classifier.restore_optimizer(layer, optimizer, saved)
        for parameter in layer.parameters():
            gradient = draws.normal(size=parameter.shape).astype("float32") * 10.0 ** (-step)
            if names[parameter.name] != unused:
                (parameter * paddle.to_tensor(gradient)).sum().backward()
        optimizer.set_lr(0.01 / (step + 1))
        norms.append(float(optim.clip(optimizer, layer.parameters(), clip, False)))
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
    found = {name: p.numpy() for name, p in layer.named_parameters()}
    return found | state_of(layer, optimizer), norms


def state_of(layer, optimizer):
    return {k: v.numpy() for k, v in classifier.optimizer_tensors(layer, optimizer).items()}


def check_close(ours, theirs):
    assert ours[1] == pytest.approx(theirs[1], rel=1e-6)
    assert ours[0].keys() == theirs[0].keys()
    for name, value in theirs[0].items():
        np.testing.assert_allclose(ours[0][name], value, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_as_paddles(clip):
    ours = trained(True, clip)
    check_close(ours, trained(False, clip))
    assert ours[1][0] > 1 > ours[1][4]  # clipping had something to do, and nothing


def test_a_parameter_without_a_gradient_stays():
    check_close(*(trained(by_kernels, unused="last.weight") for by_kernels in (True, False)))


def test_going_on_is_the_same_to_the_bit():
    whole, resumed = trained(True)[0], trained(True, restored_at=3)[0]
    for name, value in whole.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)


def test_what_is_not_finite_is_told():
    import paddle

    layer = paddle.nn.Linear(2, 2)
    flags = "--task_name sst2 --model_name_or_path m --output_dir o"
    optimizer = optim.build(layer, parse_args(flags.split()))
    (layer.weight * float("inf")).sum().backward()
    assert optim.clip(optimizer, layer.parameters(), 1.0, False) == float("inf")
    assert optimizer.gradient_scale == 1.0
