"""Our outputs and weights equal those of Hugging Face's BertForPreTraining."""

import json
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.models import load_weights, model_state, weight_names
from bert_paddle.models.kernels import encoder
from bert_paddle.pretrain import model as pretrain_model

FOLDER = Path(__file__).parents[1] / "reference" / "tiny_hf_pretraining"


@pytest.fixture(scope="module")
def loaded():
    checkpoint = load_weights.load_weights(FOLDER)
    config = {key: value for key, value in checkpoint.config.items() if key != "labels"}
    model, notes = pretrain_model.build_model(config, 1, checkpoint)
    model.eval()
    return model, notes


@pytest.mark.parametrize("by_kernels", [False, True])
def test_outputs_are_those_of_transformers(loaded, by_kernels):
    model, notes = loaded
    if by_kernels and (reason := encoder.unsupported_reason(model.bert)):
        pytest.skip(f"no kernels: {reason}")
    expected = json.loads((FOLDER / "expected.json").read_text())
    ids = np.array(expected["input_ids"])
    rows, width = ids.shape
    positions = np.array(expected["prediction_positions"])
    mlm_logits, nsp_logits = pretrain_model.forward_pass(model, by_kernels)(
        {
            "input_ids": ids,
            "segment_ids": np.array(expected["token_type_ids"]),
            "input_mask": np.array(expected["attention_mask"]),
            "masked_positions": (np.arange(rows)[:, None] * width + positions).reshape(-1),
        },
    )
    expected_mlm = np.array(expected["prediction_logits"]).reshape(rows * len(positions), -1)
    np.testing.assert_allclose(mlm_logits.numpy(), expected_mlm, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(
        nsp_logits.numpy(), np.array(expected["seq_relationship_logits"]), atol=1e-5, rtol=1e-4
    )
    assert not any("new head" in note for note in notes)


def test_conversion_to_hf_has_every_parameter_of_transformers(loaded):
    from safetensors.numpy import load_file

    converted = weight_names.to_hf(model_state.numpy_state_dict(loaded[0]))
    parameters = json.loads((FOLDER / "expected.json").read_text())["parameters"]
    assert {name: list(converted[name].shape) for name in parameters} == parameters
    assert converted.keys() == parameters.keys()
    for name, value in load_file(FOLDER / "model.safetensors").items():
        assert np.array_equal(converted[name], value), name
