"""A checkpoint's tensors against the parameters of a model."""

import re

import numpy as np
import pytest
from test_load_weights import paddle_tensors

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import load_weights


def shapes_of(tensors: dict) -> dict:
    return {name: value.shape for name, value in tensors.items()}


def test_check_loads_what_fits_and_names_unused_heads():
    tensors = paddle_tensors()
    extra = {"cls.predictions.decoder_bias": np.ones(11), "cls.seq_relationship.bias": np.ones(2)}
    report = load_weights.match_weights(tensors | extra, shapes_of(tensors))
    assert report.tensors.keys() == tensors.keys()
    assert report.fresh_head is None
    assert report.notes == ["unused head cls.*"]


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
def test_check_leaves_out_a_head_that_does_not_fit(change, reason):
    wanted = shapes_of(paddle_tensors())
    tensors = paddle_tensors()
    change(tensors)
    report = load_weights.match_weights(tensors, wanted)
    assert re.search(reason, report.fresh_head)
    assert not any(name.startswith("classifier.") for name in report.tensors)
    assert len(report.tensors) == len(wanted) - 2


@pytest.mark.parametrize("name", ["classifier.weight", "classifier.bias"])
def test_half_a_head_is_an_error(name):
    wanted, tensors = shapes_of(paddle_tensors()), paddle_tensors()
    del tensors[name]
    with pytest.raises(WeightsError, match=f"lack {name}"):
        load_weights.match_weights(tensors, wanted)


def test_check_for_pretraining_heads():
    encoder = {k: v for k, v in paddle_tensors().items() if not k.startswith("classifier.")}
    head = {"cls.predictions.decoder_bias": np.ones(11), "cls.seq_relationship.bias": np.ones(2)}
    wanted = shapes_of(encoder | head)
    report = load_weights.match_weights(paddle_tensors(), wanted, head_prefixes=("cls.",))
    assert report.fresh_head == "the weights have no cls"
    assert report.notes == ["unused head classifier.*"]
    assert (
        load_weights.match_weights(encoder | head, wanted, head_prefixes=("cls.",)).fresh_head
        is None
    )


def test_check_lists_every_kind_of_misfit():
    wanted = shapes_of(paddle_tensors())
    tensors = paddle_tensors()
    for name in [n for n in tensors if "pooler" in n or "layers.1.self_attn" in n]:
        del tensors[name]
    tensors["bert.encoder.layers.0.adapter.weight"] = np.ones(2)
    tensors["bert.encoder.layers.0.norm1.bias"] = np.ones(3)
    with pytest.raises(WeightsError) as caught:
        load_weights.match_weights(tensors, wanted)
    text = str(caught.value)
    assert "10 missing (bert.pooler.dense.weight, " in text and text.count("self_attn") == 3
    assert "1 unexpected (bert.encoder.layers.0.adapter.weight)" in text
    assert "1 misshapen (bert.encoder.layers.0.norm1.bias [3] for [4])" in text
