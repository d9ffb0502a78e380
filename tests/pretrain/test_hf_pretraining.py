"""Hugging Face's BertForPreTraining and ours are one model under two sets of names."""

import json
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.models import classifier as models
from bert_paddle.models import load_weights, weight_names
from bert_paddle.pretrain import model as pretrain_model

FOLDER = Path(__file__).parents[1] / "reference" / "tiny_hf_pretraining"


@pytest.fixture(scope="module")
def loaded():
    checkpoint = load_weights.load_weights(FOLDER)
    config = {key: value for key, value in checkpoint.config.items() if key != "labels"}
    model, notes = pretrain_model.build(config, 1, checkpoint)
    model.eval()
    return model, notes


def test_outputs_are_those_of_transformers(loaded):
    model, notes = loaded
    expected = json.loads((FOLDER / "expected.json").read_text())
    ids = np.array(expected["input_ids"])
    rows, width = ids.shape
    positions = np.array(expected["prediction_positions"])
    words, relation = pretrain_model.forward(
        model,
        {
            "input_ids": ids,
            "segment_ids": np.array(expected["token_type_ids"]),
            "input_mask": np.array(expected["attention_mask"]),
            "masked_positions": (np.arange(rows)[:, None] * width + positions).reshape(-1),
        },
    )
    wanted = np.array(expected["prediction_logits"]).reshape(rows * len(positions), -1)
    np.testing.assert_allclose(words.numpy(), wanted, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(
        relation.numpy(), np.array(expected["seq_relationship_logits"]), atol=1e-5, rtol=1e-4
    )
    assert not any("new head" in note for note in notes)


def test_the_way_back_has_every_parameter_of_transformers_with_its_shape_and_value(loaded):
    from safetensors.numpy import load_file

    back = weight_names.to_hf(models.numpy_state_dict(loaded[0]))
    parameters = json.loads((FOLDER / "expected.json").read_text())["parameters"]
    assert {name: list(back[name].shape) for name in parameters} == parameters
    assert back.keys() == parameters.keys()
    for name, value in load_file(FOLDER / "model.safetensors").items():
        assert np.array_equal(back[name], value), name
