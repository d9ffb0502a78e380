"""AdamW by groups against Paddle's: the same weights and the same state under the same names."""

import numpy as np

from bert_paddle.models.kernels import fused_adamw_gpu
from bert_paddle.training import optim

import paddle  # isort: skip


def network():
    paddle.seed(3)
    return paddle.nn.Sequential(
        paddle.nn.Linear(4, 8),
        paddle.nn.LayerNorm(8),
        paddle.nn.Linear(8, 8),
        paddle.nn.Linear(8, 2),
    )


def train(kind, updates=6, start=None):
    """The weights, and the optimizer's state by parameter, after some updates; the last layer has
    no gradient in every third one."""
    layers = network()
    decays = {p.name for name, p in layers.named_parameters() if optim.decays(name)}
    optimizer = kind(
        learning_rate=1e-2,
        weight_decay=0.1,
        parameters=layers.parameters(),
        apply_decay_param_fun=lambda name: name in decays,
        multi_precision=True,
    )
    from bert_paddle.models import classifier

    if start:
        layers.set_state_dict(start[0])
        classifier.restore_optimizer(layers, optimizer, start[1])
    for update in range(updates):
        optimizer.set_lr(0.01 / (update + 1))
        x = paddle.to_tensor(np.random.default_rng(update).normal(size=(5, 4)).astype("float32"))
        out = layers[:3](x) if update % 3 == 1 else layers(x)
        (out**3).sum().backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
    weights = {name: p.numpy().copy() for name, p in layers.named_parameters()}
    state = classifier.optimizer_tensors(layers, optimizer)
    return weights, {name: value.numpy() for name, value in state.items()}


def check_same(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name, value in other.items():
            np.testing.assert_allclose(mine[name], value, rtol=2e-6, atol=1e-7, err_msg=name)


def test_weights_and_state_are_those_of_paddles_adamw():
    theirs = train(paddle.optimizer.AdamW)
    check_same(train(fused_adamw_gpu.adamw()), theirs)
    powers = {float(v[0]) for name, v in theirs[1].items() if "beta1_pow" in name}
    assert len(powers) == 2  # parameters have different ages, and each its own bias correction


def test_either_goes_on_with_the_state_of_the_other():
    start = train(paddle.optimizer.AdamW)
    check_same(
        train(fused_adamw_gpu.adamw(), start=start), train(paddle.optimizer.AdamW, start=start)
    )


def test_few_launches(monkeypatch):
    """One for the weights that decay, one for the others; without this, it could be Paddle's."""
    calls = []
    real = paddle._C_ops.fused_adam_
    monkeypatch.setattr(
        paddle._C_ops, "fused_adam_", lambda *given: (calls.append(len(given[0])), real(*given))
    )
    train(fused_adamw_gpu.adamw(), updates=1)
    assert sorted(calls) == [4, 4]
