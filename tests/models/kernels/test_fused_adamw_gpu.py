"""Fused AdamW against Paddle's: the same weights and the same state under the same names."""

import numpy as np

from bert_paddle.models.kernels import fused_adamw_gpu
from bert_paddle.training import optim

import paddle  # isort: skip


def make_network():
    paddle.seed(3)
    return paddle.nn.Sequential(
        paddle.nn.Linear(4, 8),
        paddle.nn.LayerNorm(8),
        paddle.nn.Linear(8, 8),
        paddle.nn.Linear(8, 2),
    )


def train(optimizer_class, steps=6, start=None):
    """The weights, and the optimizer's state by parameter, after some steps; the last layer has no
    gradient in every third one."""
    layers = make_network()
    decayed = {p.name for name, p in layers.named_parameters() if optim.is_decayed(name)}
    optimizer = optimizer_class(
        learning_rate=1e-2,
        weight_decay=0.1,
        parameters=layers.parameters(),
        apply_decay_param_fun=lambda name: name in decayed,
        multi_precision=True,
    )
    from bert_paddle.models import model_state

    if start:
        layers.set_state_dict(start[0])
        model_state.restore_optimizer(layers, optimizer, start[1])
    for step in range(steps):
        optimizer.set_lr(0.01 / (step + 1))
        x = paddle.to_tensor(np.random.default_rng(step).normal(size=(5, 4)).astype("float32"))
        out = layers[:3](x) if step % 3 == 1 else layers(x)
        (out**3).sum().backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
    weights = {name: p.numpy().copy() for name, p in layers.named_parameters()}
    state = model_state.optimizer_tensors(layers, optimizer)
    return weights, {name: value.numpy() for name, value in state.items()}


def check_same(ours, theirs):
    for our_values, their_values in zip(ours, theirs, strict=True):
        assert our_values.keys() == their_values.keys()
        for name, value in their_values.items():
            np.testing.assert_allclose(our_values[name], value, rtol=2e-6, atol=1e-7, err_msg=name)


def test_weights_and_state_equal_paddles_adamw():
    theirs = train(paddle.optimizer.AdamW)
    check_same(train(fused_adamw_gpu.fused_adamw_class()), theirs)
    powers = {float(v[0]) for name, v in theirs[1].items() if "beta1_pow" in name}
    assert len(powers) == 2  # parameters with different step counts have their own bias correction


def test_resumes_from_paddles_state():
    start = train(paddle.optimizer.AdamW)
    check_same(
        train(fused_adamw_gpu.fused_adamw_class(), start=start),
        train(paddle.optimizer.AdamW, start=start),
    )


def test_number_of_launches(monkeypatch):
    """One for decayed weights, one for the others: shows that the fused kernel runs at all."""
    calls = []
    real = paddle._C_ops.fused_adam_
    monkeypatch.setattr(
        paddle._C_ops, "fused_adam_", lambda *args: (calls.append(len(args[0])), real(*args))
    )
    train(fused_adamw_gpu.fused_adamw_class(), steps=1)
    assert sorted(calls) == [4, 4]
