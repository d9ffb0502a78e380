"""The learning-rate schedules, the decay groups, clipping, one AdamW and one LAMB step in numpy."""

import numpy as np
import pytest
import tiny

from bert_paddle.glue.args import parse_args
from bert_paddle.models import paddlenlp_bert
from bert_paddle.training import optim

NEEDED = ["--task_name", "sst-2", "--model_name_or_path", "m", "--output_dir", "o"]


def learning_rates(schedule, total=10, warmup=4):
    return [optim.learning_rate(step, total, 1.0, warmup, schedule) for step in range(1, total + 1)]


def test_linear_rises_and_falls():
    expected = [0, 0.25, 0.5, 0.75, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert learning_rates("linear") == pytest.approx(expected)
    assert learning_rates("linear", warmup=0)[0] == 1.0


def test_constant_and_poly():
    assert learning_rates("constant") == [0, 0.25, 0.5, 0.75] + [1.0] * 6
    # NVIDIA's polynomial: the square root of the share of steps left.
    assert learning_rates("poly")[4:] == pytest.approx([np.sqrt(1 - k / 10) for k in range(4, 10)])


def test_warmup_by_steps_and_by_share():
    assert optim.warmup_steps(parse_args([*NEEDED, "--warmup_steps", "7"]), 100) == 7
    assert optim.warmup_steps(parse_args([*NEEDED, "--warmup_ratio", "0.1"]), 95) == 10


def test_decay_groups():
    assert optim.is_decayed("bert.embeddings.word_embeddings.weight")
    assert optim.is_decayed("bert.encoder.layers.0.linear1.weight")
    assert not optim.is_decayed("bert.encoder.layers.0.linear1.bias")
    assert not optim.is_decayed("cls.predictions.decoder_bias")  # so named in PaddleNLP
    assert not optim.is_decayed("bert.encoder.layers.0.norm1.weight")
    assert not optim.is_decayed("bert.embeddings.layer_norm.weight")


@pytest.mark.parametrize("kind", ["BertForSequenceClassification", "BertForPretraining"])
@pytest.mark.parametrize(
    ("optimizer_name", "cpu_kernels"), [("adamw", 1), ("adamw", 0), ("lamb", 0)]
)
def test_matrices_alone_are_decayed_in_every_model(kind, optimizer_name, cpu_kernels):
    """With gradients of zero, a step changes what is decayed and nothing else."""
    import paddle

    bert = paddlenlp_bert.bert_module()
    model = getattr(bert, kind)(bert.BertConfig(**tiny.CONFIG))
    for parameter in model.parameters():
        parameter.set_value(paddle.ones_like(parameter))
    argv = f"--optimizer {optimizer_name} --weight_decay 0.5 --cpu_kernels {cpu_kernels}".split()
    optimizer = optim.build_optimizer(model, parse_args([*NEEDED, *argv]))
    optimizer.set_lr(0.1)
    sum((parameter * 0.0).sum() for parameter in model.parameters()).backward()
    optimizer.step()
    decayed = {name for name, p in model.named_parameters() if not (p.numpy() == 1).all()}
    assert decayed == {name for name, p in model.named_parameters() if p.ndim > 1}


def one_step(optimizer_name, clip):
    """A Linear layer after one step, and the gradients of its weight and bias."""
    import paddle

    argv = f"--optimizer {optimizer_name} --weight_decay 0.1 --max_grad_norm {clip}".split()
    layer = paddle.nn.Linear(2, 2)
    layer.weight.set_value(np.array([[1.0, 2.0], [3.0, 4.0]], "float32"))
    layer.bias.set_value(np.array([1.0, 1.0], "float32"))
    optimizer = optim.build_optimizer(layer, parse_args([*NEEDED, *argv]))
    optimizer.set_lr(0.01)
    weight, bias = np.array([[0.3, -0.4], [0.0, 1.2]]), np.array([0.5, -0.5])
    loss = (layer.weight * paddle.to_tensor(weight.astype("float32"))).sum()
    (loss + (layer.bias * paddle.to_tensor(bias.astype("float32"))).sum()).backward()
    optimizer.step()
    return layer, weight, bias


def adam_direction(gradient, epsilon=1e-8):
    """Adam's first step: both moments divided by their own bias corrections."""
    return gradient / (np.sqrt(gradient**2) + epsilon)


def test_adamw_decays_weights_and_not_biases():
    layer, weight, bias = one_step("adamw", clip=0)
    before = np.array([[1.0, 2.0], [3.0, 4.0]])
    expected = before * (1 - 0.01 * 0.1) - 0.01 * adam_direction(weight)
    np.testing.assert_allclose(layer.weight.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(layer.bias.numpy(), 1 - 0.01 * adam_direction(bias), rtol=1e-5)


def test_lamb_scales_by_the_trust_ratio():
    layer, weight, bias = one_step("lamb", clip=0)
    before = np.array([[1.0, 2.0], [3.0, 4.0]])
    update = adam_direction(weight) + 0.1 * before
    ratio = np.linalg.norm(before) / np.linalg.norm(update)
    np.testing.assert_allclose(layer.weight.numpy(), before - 0.01 * ratio * update, rtol=1e-4)
    update = adam_direction(bias)  # a bias is not decayed
    ratio = np.linalg.norm([1, 1]) / np.linalg.norm(update)
    np.testing.assert_allclose(layer.bias.numpy(), 1 - 0.01 * ratio * update, rtol=1e-4)


@pytest.mark.parametrize("on_gpu", [False, True])  # both code paths run on any device
def test_gradients_are_clipped(on_gpu):
    """With an epsilon as large as the gradients, the size of Adam's step depends on theirs."""
    import paddle

    def step_size(clip):
        layer = paddle.nn.Linear(1, 1, bias_attr=False)
        layer.weight.set_value(np.zeros((1, 1), "float32"))
        argv = f"--max_grad_norm {clip} --adam_epsilon 1".split()
        optimizer = optim.build_optimizer(layer, parse_args([*NEEDED, *argv]), on_gpu)
        optimizer.set_lr(1.0)
        (layer.weight * 100.0).sum().backward()
        norm = optimizer.clip_gradients(layer.parameters(), clip)
        assert float(norm) == pytest.approx(100.0)
        optimizer.step()
        return -float(layer.weight)

    assert step_size(0) == pytest.approx(100 / 101, rel=1e-4)
    assert step_size(2.0) == pytest.approx(2 / 3, rel=1e-4)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_clipping_by_global_norm_equals_paddles(on_gpu):
    import paddle

    def gradients(clip):
        layer = paddle.nn.Linear(3, 2)
        layer.weight.set_value(np.arange(6, dtype="float32").reshape(3, 2))
        (layer.weight**2).sum().backward()
        (layer.bias * 7.0).sum().backward()
        clip(layer)
        return [p.grad.numpy() for p in layer.parameters()]

    def clip_by_paddle(layer):
        pairs = paddle.nn.ClipGradByGlobalNorm(1.5)([(p, p.grad) for p in layer.parameters()])
        for parameter, gradient in pairs:
            parameter.grad = gradient

    ours = gradients(lambda layer: optim.clip_gradients(layer.parameters(), 1.5, on_gpu))
    for our_gradient, their_gradient in zip(ours, gradients(clip_by_paddle), strict=True):
        np.testing.assert_allclose(our_gradient, their_gradient, rtol=1e-6)
    assert sum((g**2).sum() for g in ours) == pytest.approx(1.5**2, rel=1e-5)
