"""Products of few rows: those of Paddle, the same to the last bit alone and among others."""

import numpy as np
import pytest
import tiny_gpt2

from bert_paddle.clm import sampling
from bert_paddle.models import gpt2, gpt2_weights
from bert_paddle.models.kernels import compile_kernels, few_rows


@pytest.fixture(scope="module")
def kernels():
    found, reason = compile_kernels.load_kernels()
    if found is None:
        pytest.skip(f"no kernels: {reason}")
    return found


@pytest.mark.parametrize("rows", [1, 3, 8])
@pytest.mark.parametrize(("width", "out"), [(6, 5), (64, 33), (257, 1000), (3, 1)])
def test_they_are_the_products(kernels, rows, width, out):
    import paddle

    rng = np.random.default_rng(rows)
    x, w, b = (
        paddle.to_tensor(rng.normal(size=shape).astype(np.float32))
        for shape in ((rows, 1, width), (width, out), (out,))
    )
    expected = x.numpy().astype(np.float64) @ w.numpy() + b.numpy()
    actual = few_rows.linear(x, w, b, kernels)
    assert actual.shape == [rows, 1, out]
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-4)
    words = w.T.contiguous()
    scores = few_rows.output_layer(x, words, kernels)
    assert scores.shape == [rows, 1, out]
    np.testing.assert_allclose(scores.numpy(), expected - b.numpy(), atol=1e-4)
    for row in range(rows):
        alone = few_rows.linear(x[row : row + 1], w, b, kernels)
        assert np.array_equal(alone[0].numpy(), actual[row].numpy())


def test_columns_of_a_tensor_are_made_contiguous(kernels):
    import paddle

    x = paddle.arange(12, dtype="float32").reshape([2, 2, 3])[:, -1]
    weight, bias = paddle.ones([3, 2]), paddle.zeros([2])
    assert few_rows.linear(x, weight, bias, kernels).tolist() == [[12, 12], [30, 30]]


def test_generation_uses_them_for_one_token_and_gives_the_same_texts(kernels, monkeypatch):
    loaded = gpt2_weights.load_gpt2_weights(tiny_gpt2.HF_DIR)
    model = gpt2.build_gpt2(loaded.config, loaded.tensors)
    calls, run = [], type(kernels).run
    monkeypatch.setattr(
        type(kernels), "run", lambda self, name, *rest: calls.append(name) or run(self, name, *rest)
    )

    def texts() -> list:
        rngs = [np.random.default_rng(seed) for seed in (1, 2)]
        settings = sampling.SamplingSettings(12)
        return list(sampling.generate(model, list(range(9)), rngs, settings, None))

    with_kernels = texts()
    layers = loaded.config.num_hidden_layers
    # The prompt has 18 rows: its output layer alone is of few.
    assert calls.count("few_rows_linear") == 11 * 6 * layers
    assert calls.count("few_rows_scores") == 12
    monkeypatch.setattr(few_rows, "load_kernels", lambda: (None, "no C compiler found"))
    assert texts() == with_kernels and len(calls) == 11 * 6 * layers + 12


def test_a_model_in_another_precision_is_left_to_paddle():
    import paddle

    layer = paddle.nn.Linear(2, 2)
    assert few_rows.find_kernels(layer.to(dtype="float64")) is None
