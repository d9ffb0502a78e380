"""The encoder with bfloat16 products, by oneDNN, which has slow code for CPUs without their
instructions: close to float32, with exact dropout masks and the right gradients."""

import functools
import io

import numpy as np
import pytest
from paddlenlp.transformers.bert.modeling import BertForPretraining
from test_kernels_encoder import make_batch, make_model

from bert_paddle.common.run_log import RunLog
from bert_paddle.models.kernels import compile_kernels, dispatch, products
from bert_paddle.models.kernels.products import BFLOAT16, FLOAT32

import paddle  # isort: skip


@pytest.fixture(autouse=True)
def kernels():
    kernels, reason = compile_kernels.load_kernels()
    if kernels is None:
        pytest.skip(f"no kernels: {reason}")
    return kernels


def rounded(values):
    """float32 values rounded to bfloat16, ties to even, by numpy."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def test_factors_are_rounded_to_the_nearest(kernels):
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=shape).astype("float32") for shape in ((9, 1000), (3,), (1, 1))]
    arrays[1][:] = 1 + 2**-8, 1 + 3 * 2**-8, np.inf  # ties, to the even neighbour
    factors = BFLOAT16.factors(kernels, [paddle.to_tensor(array) for array in arrays])
    for array, factor in zip(arrays, factors, strict=True):
        bits = factor.astype(np.uint32) << 16
        np.testing.assert_array_equal(bits.view(np.float32), rounded(array))


@pytest.mark.parametrize("kind", [FLOAT32, BFLOAT16])
@pytest.mark.parametrize(("transpose_a", "transpose_b"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_products(kernels, transpose_a, transpose_b, kind):
    rng = np.random.default_rng(2)
    a, b = (rounded(rng.normal(size=size)) for size in ((5, 7), (7, 3)))
    stored = [a.T if transpose_a else a, b.T if transpose_b else b]
    tensors = [paddle.to_tensor(np.ascontiguousarray(array)) for array in stored]
    factors, turned = kind.factors(kernels, tensors), (bool(transpose_a), bool(transpose_b))
    result = products.empty((5, 3))
    assert kind.multiply(*factors, result, *turned) is result
    np.testing.assert_allclose(result, a @ b, rtol=1e-5, atol=1e-5)
    kind.multiply(*factors, result, *turned, add=True)
    np.testing.assert_allclose(result, 2 * (a @ b), rtol=1e-5, atol=1e-5)


def test_arrays_are_aligned():
    arrays = [products.empty((n, 3)) for n in range(1, 40)]  # kept, so that addresses differ
    assert {array.ctypes.data % 64 for array in arrays} == {0}


def outputs_and_gradients(forward, model, batch, kind):
    paddle.seed(5)
    outputs = forward(model, batch, kind)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = sum((r * paddle.linspace(-1, 2, r.size).reshape(r.shape)).sum() for r in outputs)
    total.backward()
    gradients = {n: p.grad.numpy().copy() for n, p in model.named_parameters()}
    model.clear_gradients(set_to_zero=False)
    return [r.numpy() for r in outputs], gradients


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("pretraining", [False, True])
def test_the_encoder_is_close_to_float32(dropout, pretraining):
    batch, forward = make_batch([7, 33, 16, 1]), dispatch.classification_logits
    sizes = {"dropout": dropout, "initializer_range": 0.15}
    model = make_model(**sizes)
    if pretraining:
        model, forward = make_model(BertForPretraining, **sizes), dispatch.pretraining_logits
        batch["masked_positions"] = np.array([2, 34, 36, 70], np.int64)
    model.train()
    run = functools.partial(outputs_and_gradients, forward, model, batch)
    (theirs, expected), (ours, gradients) = run(FLOAT32), run(BFLOAT16)
    for a, b in zip(theirs, ours, strict=True):
        error = np.linalg.norm(a - b) / np.linalg.norm(a)
        assert 1e-4 < error < 2e-2  # rounded, and no more than that
    scale = max(np.linalg.norm(g) for g in expected.values())
    for name, gradient in expected.items():
        error = np.linalg.norm(gradient - gradients[name])
        assert error < 4e-2 * np.linalg.norm(gradient) + 1e-3 * scale, name


def test_what_is_not_finite_stays_so():
    """The loss and the gradients' norm show it, and the step is not taken."""
    model = make_model()
    weight = model.bert.encoder.layers[0].linear1.weight
    for value in (np.nan, np.inf):
        spoiled = weight.numpy()
        spoiled[3, 4] = value
        weight.set_value(spoiled)
        logits = dispatch.classification_logits(model, make_batch([5, 3]), BFLOAT16)
        assert not np.isfinite(logits.numpy()).all()


@pytest.mark.parametrize(
    ("dtype", "by_kernels", "instructions", "name", "line"),
    [
        ("bfloat16", True, "avx2 avx512_bf16", "bfloat16", "in bfloat16 by oneDNN"),
        ("bfloat16", True, "amx_bf16", "bfloat16", "in bfloat16 by oneDNN"),
        ("bfloat16", True, "avx2", "float32", "(this CPU has no bfloat16 instructions)"),
        ("bfloat16", False, "avx512_bf16", "float32", "only this package's kernels compute in"),
        ("float16", True, "avx512_bf16", "float32", "CPUs do not compute in float16"),
    ],
)
def test_the_choice(monkeypatch, dtype, by_kernels, instructions, name, line):
    monkeypatch.setattr(products.hardware, "instruction_sets", lambda: instructions)
    log = RunLog(active=True, stderr=io.StringIO())
    assert dispatch.choose_products(dtype, by_kernels, log).name == name
    [said] = log.stderr.getvalue().splitlines()
    assert line in said
