"""The encoder by our kernels against PaddleNLP's layers: the same outputs and gradients."""

import numpy as np
import pytest
from paddlenlp.transformers.bert.modeling import (
    BertConfig,
    BertForPretraining,
    BertForSequenceClassification,
)

from bert_paddle.glue import loss
from bert_paddle.models.kernels import compile_kernels, dispatch, encoder, encoder_layer
from bert_paddle.pretrain import model as pretraining

import paddle  # isort: skip

VOCAB = 50


@pytest.fixture(autouse=True)
def kernels():
    kernels, reason = compile_kernels.load_kernels()
    if kernels is None:
        pytest.skip(f"no kernels: {reason}")
    return kernels


def make_model(model_class=BertForSequenceClassification, dropout=0.0, **sizes):
    paddle.seed(3)
    values = {
        "vocab_size": VOCAB,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "initializer_range": 0.3,  # large: softmax and GELU leave their linear range
    }
    model = model_class(BertConfig(**values | sizes))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:  # biases and norms other than zeros and ones
            rng = np.random.default_rng(len(name))
            noise = rng.normal(scale=0.3, size=parameter.shape).astype("float32")
            parameter.set_value(parameter + paddle.to_tensor(noise))
    return model


def make_batch(lengths, width=None, seed=0):
    rng = np.random.default_rng(seed)
    rows, width = len(lengths), width or max(lengths)
    mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int64)
    ids = rng.integers(1, VOCAB, (rows, width)) * mask
    segments = (np.arange(width) >= np.array(lengths)[:, None] // 2) * mask
    return {
        "input_ids": ids,
        "input_mask": mask,
        "segment_ids": segments,
        "labels": np.arange(rows) % 2,
    }


def run_both(model, batch, forward_pass=loss.forward_pass):
    """Outputs and gradients by PaddleNLP's layers and by the kernels."""
    runs = []
    for use_kernels in (False, True):
        outputs = forward_pass(model, use_kernels)(batch)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        # A loss that weighs every output differently.
        total = sum((r * paddle.linspace(-1, 2, r.size).reshape(r.shape)).sum() for r in outputs)
        total.backward()
        named = model.named_parameters()
        gradients = {n: p.grad.numpy().copy() for n, p in named if p.grad is not None}
        model.clear_gradients(set_to_zero=False)
        runs.append(([r.numpy() for r in outputs], gradients))
    return runs


def check_same(theirs, ours):
    for a, b in zip(theirs[0], ours[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert theirs[1].keys() == ours[1].keys()
    scale = max(np.abs(g).max() for g in theirs[1].values())
    for name, gradient in theirs[1].items():
        if "k_proj.bias" in name:  # shifts all scores of a query equally: its gradient is zero
            assert np.abs(ours[1][name]).max() < 1e-5 * scale
            continue
        error = np.linalg.norm(gradient - ours[1][name]) / np.linalg.norm(gradient)
        assert error < 2e-5, name


# Head sizes 32, 8 and 5 (several vectors, less than one, odd), rows of one token, of more and fewer
# tokens than a vector, of exactly 16, and a batch with columns of padding only.
@pytest.mark.parametrize(
    ("sizes", "lengths", "width"),
    [
        ({}, [7, 3, 16, 1], None),
        ({}, [33, 40, 17], 45),
        ({"hidden_size": 16, "intermediate_size": 24}, [9, 2], None),
        ({"hidden_size": 20, "num_attention_heads": 4, "intermediate_size": 7}, [64, 5], None),
        ({"hidden_size": 128, "num_hidden_layers": 1}, [31] * 5, None),
    ],
)
def test_classifier(sizes, lengths, width):
    model = make_model(**sizes)
    model.train()
    batch = make_batch(lengths, width)
    check_same(*run_both(model, batch))


@pytest.mark.parametrize("predictions", [[2, 4, 9, 14, 19], []])
def test_pretraining_model(predictions):
    model = make_model(BertForPretraining)
    model.train()
    batch = make_batch([7, 5, 6]) | {"masked_positions": np.array(predictions, np.int64)}
    mlm_logits, nsp_logits = dispatch.pretraining_logits(model, batch)
    assert mlm_logits.shape == [len(predictions), VOCAB] and nsp_logits.shape == [3, 2]
    if predictions:
        check_same(*run_both(model, batch, pretraining.forward_pass))


def test_masks_with_holes():
    """A masked position in the middle gets no attention and does not shift the others."""
    model, batch = make_model(), make_batch([8, 8])
    batch["input_mask"][0, 3] = batch["input_mask"][1, 6] = 0
    check_same(*run_both(model, batch))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": VOCAB}, f"token id {VOCAB} is outside the model's range, 0 to {VOCAB - 1}"),
        ({"input_ids": -1}, "token id -1"),
        ({"segment_ids": 40}, "segment id 40"),
    ],
)
def test_ids_out_of_range(change, message):
    model, batch = make_model(), make_batch([4, 2])
    for name, value in change.items():
        batch[name][1, 1] = value
    with pytest.raises(ValueError, match=message):
        dispatch.classification_logits(model, batch)


def test_rows_longer_than_the_positions():
    with pytest.raises(ValueError, match="rows of 65 tokens"):
        dispatch.classification_logits(make_model(), make_batch([65]))


def test_dropout_of_one():
    """Paddle's layers accept it, too."""
    model = make_model(dropout=1.0)
    model.train()
    theirs, ours = run_both(model, make_batch([5, 3]))
    np.testing.assert_allclose(theirs[0][0], ours[0][0], rtol=1e-5)
    assert theirs[1].keys() == ours[1].keys()
    for name, gradient in theirs[1].items():  # zero but for the classifier's bias
        np.testing.assert_allclose(gradient, ours[1][name], rtol=1e-5, atol=1e-7)


def test_rows_of_a_batch_are_independent():
    model = make_model()
    model.eval()
    together = dispatch.classification_logits(model, make_batch([9, 4, 30])).numpy()
    alone = [
        dispatch.classification_logits(
            model, {k: v[i : i + 1] for k, v in make_batch([9, 4, 30]).items()}
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(together, np.concatenate([a.numpy() for a in alone]), 1e-5, 1e-5)


def test_dropout_depends_on_the_seed_and_has_the_right_gradient():
    """The backward pass regenerates the masks of the forward pass: the gradient matches a
    difference quotient under the same seed."""
    model, batch = make_model(dropout=0.3), make_batch([9, 17, 5])
    model.train()

    def random_loss():
        paddle.seed(5)
        logits = dispatch.classification_logits(model, batch)
        return (logits * paddle.linspace(-1, 2, logits.size).reshape(logits.shape)).sum()

    first = random_loss()
    assert float(first) == float(random_loss())
    paddle.seed(6)
    assert float(dispatch.classification_logits(model, batch).sum()) != float(
        dispatch.classification_logits(model, batch).sum()
    )
    first.backward()
    names = ("q_proj.weight", "v_proj.weight", "linear1.weight", "norm1.weight", "word_embeddings")
    for name in names:
        parameter = next(p for n, p in model.named_parameters() if name in n)
        slope = float(np.linalg.norm(parameter.grad.numpy()))  # along the gradient
        step, original = 2e-3, parameter.numpy().copy()
        losses = []
        for sign in (1, -1):
            parameter.set_value(original + sign * step * parameter.grad.numpy() / slope)
            losses.append(float(random_loss()))
        parameter.set_value(original)
        assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(slope, rel=0.01), name


def test_dropout_rate(kernels):
    """The share of zeros is the rate, the rest is scaled up; masks are uncorrelated between seeds
    and between adjacent elements."""
    n, h, rate = 400, 64, 0.1
    x, zeros, ones = paddle.ones([n, h]), paddle.zeros([h]), paddle.ones([h])
    masks = []
    for seed in (1, 2):
        z, y, stats = x.clone(), paddle.empty([n, h]), paddle.empty([n, 2])
        arguments = encoder_layer.Dropout(rate, seed).arguments(1)
        kernels.run(
            "dropout_add_norm",
            z,
            zeros,
            paddle.zeros([n, h]),
            ones,
            zeros,
            y,
            y,
            stats,
            n,
            h,
            *arguments,
            1e-5,
        )
        values = z.numpy()
        assert set(np.unique(values)) == {np.float32(0), np.float32(1 / (1 - rate))}
        masks.append(values > 0)
        share = 1 - masks[-1].mean()
        assert abs(share - rate) < 4 * (rate * (1 - rate) / (n * h)) ** 0.5
        correlation = np.corrcoef(masks[-1][:, 1:].ravel(), masks[-1][:, :-1].ravel())[0, 1]
        assert abs(correlation) < 4 / (n * h) ** 0.5
    assert abs(np.corrcoef(masks[0].ravel(), masks[1].ravel())[0, 1]) < 4 / (n * h) ** 0.5


def test_unsupported_models():
    assert encoder.unsupported_reason(make_model().bert) == ""
    assert "relu" in encoder.unsupported_reason(make_model(hidden_act="relu").bert)
    fused = make_model()
    fused.bert.fuse = True
    assert "one layer" in encoder.unsupported_reason(fused.bert)
    frozen = make_model()
    frozen.bert.embeddings.word_embeddings.weight.stop_gradient = True
    assert "frozen" in encoder.unsupported_reason(frozen.bert)
