"""Matching a checkpoint's tensors with a model's parameters."""

import re

import numpy as np
import pytest
from test_load_weights import paddle_tensors

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import load_weights


def shapes_of(tensors: dict) -> dict:
    return {name: value.shape for name, value in tensors.items()}


def test_match_loads_what_fits_and_names_unused_heads():
    tensors = paddle_tensors()
    extra = {"cls.predictions.decoder_bias": np.ones(11), "cls.seq_relationship.bias": np.ones(2)}
    matched = load_weights.match_weights(tensors | extra, shapes_of(tensors))
    assert matched.tensors.keys() == tensors.keys()
    assert matched.new_head_reason is None
    assert matched.notes == ["unused head cls.*"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: [t.pop("classifier.weight"), t.pop("classifier.bias")], "have no classifier"),
        (
            lambda t: t.update(
                {"classifier.weight": np.ones((4, 2)), "classifier.bias": np.ones(2)}
            ),
            r"classifier.weight is \[4, 2\], not \[4, 3\]",
        ),
    ],
)
def test_match_leaves_out_a_head_that_does_not_fit(change, reason):
    shapes = shapes_of(paddle_tensors())
    tensors = paddle_tensors()
    change(tensors)
    matched = load_weights.match_weights(tensors, shapes)
    assert re.search(reason, matched.new_head_reason)
    assert not any(name.startswith("classifier.") for name in matched.tensors)
    assert len(matched.tensors) == len(shapes) - 2


@pytest.mark.parametrize("name", ["classifier.weight", "classifier.bias"])
def test_incomplete_head_is_an_error(name):
    shapes, tensors = shapes_of(paddle_tensors()), paddle_tensors()
    del tensors[name]
    with pytest.raises(WeightsError, match=f"lack {name}"):
        load_weights.match_weights(tensors, shapes)


def test_match_pretraining_heads():
    encoder = {k: v for k, v in paddle_tensors().items() if not k.startswith("classifier.")}
    head = {"cls.predictions.decoder_bias": np.ones(11), "cls.seq_relationship.bias": np.ones(2)}
    shapes = shapes_of(encoder | head)
    matched = load_weights.match_weights(paddle_tensors(), shapes, head_prefixes=("cls.",))
    assert matched.new_head_reason == "the weights have no cls"
    assert matched.notes == ["unused head classifier.*"]
    assert (
        load_weights.match_weights(encoder | head, shapes, head_prefixes=("cls.",)).new_head_reason
        is None
    )


def test_all_kinds_of_mismatch_are_listed():
    shapes = shapes_of(paddle_tensors())
    tensors = paddle_tensors()
    for name in [n for n in tensors if "pooler.dense.bias" in n or "layers.1.self_attn" in n]:
        del tensors[name]
    tensors["bert.encoder.layers.0.adapter.weight"] = np.ones(2)
    tensors["bert.encoder.layers.0.norm1.bias"] = np.ones(3)
    with pytest.raises(WeightsError) as caught:
        load_weights.match_weights(tensors, shapes)
    text = str(caught.value)
    assert "9 missing (bert.pooler.dense.bias, " in text and text.count("self_attn") == 4
    assert "1 unexpected (bert.encoder.layers.0.adapter.weight)" in text
    assert "1 misshapen (bert.encoder.layers.0.norm1.bias [3] for [4])" in text
