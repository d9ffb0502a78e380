"""Conversion between Hugging Face's and Paddle's names and layouts, both ways."""

import json
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import weight_names

TINY = Path(__file__).parents[1] / "reference" / "tiny_hf"

# One tensor of every kind, not square, so that a missing transpose shows.
PAIRS = {
    "bert.embeddings.word_embeddings.weight": ("bert.embeddings.word_embeddings.weight", False),
    "bert.embeddings.LayerNorm.weight": ("bert.embeddings.layer_norm.weight", False),
    "bert.encoder.layer.0.attention.self.query.weight": (
        "bert.encoder.layers.0.self_attn.q_proj.weight",
        True,
    ),
    "bert.encoder.layer.11.attention.self.value.bias": (
        "bert.encoder.layers.11.self_attn.v_proj.bias",
        False,
    ),
    "bert.encoder.layer.2.attention.output.dense.weight": (
        "bert.encoder.layers.2.self_attn.out_proj.weight",
        True,
    ),
    "bert.encoder.layer.2.attention.output.LayerNorm.bias": (
        "bert.encoder.layers.2.norm1.bias",
        False,
    ),
    "bert.encoder.layer.2.intermediate.dense.weight": (
        "bert.encoder.layers.2.linear1.weight",
        True,
    ),
    "bert.encoder.layer.2.output.dense.weight": ("bert.encoder.layers.2.linear2.weight", True),
    "bert.encoder.layer.2.output.LayerNorm.weight": ("bert.encoder.layers.2.norm2.weight", False),
    "bert.pooler.dense.weight": ("bert.pooler.dense.weight", True),
    "classifier.weight": ("classifier.weight", True),
    "cls.predictions.bias": ("cls.predictions.decoder_bias", False),
    "cls.predictions.decoder.weight": ("cls.predictions.decoder.weight", False),
    "cls.predictions.decoder.bias": ("cls.predictions.decoder.bias", False),
    "cls.predictions.transform.dense.weight": ("cls.predictions.transform.weight", True),
    "cls.predictions.transform.LayerNorm.weight": ("cls.predictions.layer_norm.weight", False),
    "cls.seq_relationship.weight": ("cls.seq_relationship.weight", True),
    "cls.seq_relationship.bias": ("cls.seq_relationship.bias", False),
}


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    linear = ("dense.weight", "query.weight", "embeddings.weight", "classifier.weight")
    matrices = (*linear, "decoder.weight", "relationship.weight")
    return {
        name: rng.normal(size=(3, 5) if name.endswith(matrices) else 4).astype(np.float32)
        for name in PAIRS
    }


def test_names_and_transposes():
    hugging_face = tensors()
    converted, notes = weight_names.to_paddle(hugging_face)
    assert notes == ["Hugging Face names converted"]
    assert converted.keys() == {name for name, _ in PAIRS.values()}
    for name, (paddle_name, transposed) in PAIRS.items():
        expected = hugging_face[name].T if transposed else hugging_face[name]
        np.testing.assert_array_equal(converted[paddle_name], expected, err_msg=name)
        assert converted[paddle_name].flags.c_contiguous  # as safetensors needs


def test_round_trip_is_the_identity():
    hugging_face = tensors()
    back = weight_names.to_hf(weight_names.to_paddle(hugging_face)[0])
    assert back.keys() == hugging_face.keys()
    for name, value in hugging_face.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].flags.c_contiguous


def test_square_weights_are_transposed_too():
    square = np.arange(4.0).reshape(2, 2)
    converted, _ = weight_names.to_paddle({"encoder.layer.0.attention.self.key.weight": square})
    assert converted["bert.encoder.layers.0.self_attn.k_proj.weight"].tolist() == square.T.tolist()


def test_older_names_and_buffers():
    old = {
        "embeddings.LayerNorm.gamma": np.ones(2),
        "encoder.layer.3.output.LayerNorm.beta": np.zeros(2),
        "embeddings.position_ids": np.arange(2),
        "cls.predictions.transform.LayerNorm.gamma": np.full(2, 7.0),
    }
    converted, notes = weight_names.to_paddle(old)
    assert {name: value[0] for name, value in converted.items()} == {
        "bert.embeddings.layer_norm.weight": 1,
        "bert.encoder.layers.3.norm2.bias": 0,
        "cls.predictions.layer_norm.weight": 7,
    }
    assert notes == [
        "Hugging Face names converted",
        "gamma/beta renamed",
        "prefix bert. added",
        "position_ids skipped",
    ]


def test_normalize_paddle_adds_the_prefix_and_renames_the_old_decoder():
    converted, notes = weight_names.normalize_paddle(
        {"encoder.layers.0.norm1.bias": np.ones(2), "cls.predictions.decoder_weight": np.ones(3)}
    )
    assert list(converted) == ["bert.encoder.layers.0.norm1.bias", "cls.predictions.decoder.weight"]
    assert notes == ["names of PaddleNLP 2.0 renamed", "prefix bert. added"]


def test_same_name_with_and_without_prefix_is_refused():
    both = {"pooler.dense.bias": np.ones(2), "bert.pooler.dense.bias": np.zeros(2)}
    with pytest.raises(WeightsError, match="both pooler.dense.bias and bert.pooler.dense.bias"):
        weight_names.to_paddle(both)


def test_unknown_names_are_unchanged():
    unknown = {
        "qa_outputs.weight": np.ones((2, 3)),
        "bert.encoder.layer.0.adapter.weight": np.ones(1),
    }
    assert weight_names.to_paddle(unknown)[0].keys() == unknown.keys()


def test_tied_decoder_is_filled_only_where_its_head_exists():
    embeddings, bias = np.ones((4, 2)), np.arange(4.0)
    encoder = {"bert.embeddings.word_embeddings.weight": embeddings}
    assert weight_names.fill_tied_weights(encoder) == (encoder, [])
    converted, notes = weight_names.fill_tied_weights(
        encoder | {"cls.predictions.decoder_bias": bias}
    )
    assert converted["cls.predictions.decoder.weight"] is embeddings
    assert converted["cls.predictions.decoder.bias"] is bias
    assert notes == ["tied decoder filled in"]
    only_nsp = encoder | {"cls.seq_relationship.bias": np.ones(2)}
    assert weight_names.fill_tied_weights(only_nsp)[0].keys() == only_nsp.keys()


HF_NAME = "encoder.layer.0.attention.self.query.weight"
PADDLE_NAME = "encoder.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_format_by_names(prefix):
    assert weight_names.detect_format([prefix + HF_NAME, "other"]) == "huggingface"
    assert weight_names.detect_format(["other", prefix + PADDLE_NAME]) == "paddle"
    assert weight_names.detect_format([prefix + HF_NAME, prefix + PADDLE_NAME]) is None
    assert weight_names.detect_format(["classifier.weight"]) is None


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("roberta.encoder.layer.0.attention.self.query.weight", "roberta"),
        ("electra.embeddings.word_embeddings.weight", "electra"),
        ("ernie.encoder.layers.0.self_attn.q_proj.weight", "ernie"),
        ("distilbert.transformer.layer.0.attention.q_lin.weight", "distilbert"),
        ("albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight", "albert"),
        ("encoder.layer.0.attention.attn.q.weight", "mpnet"),
        ("transformer.h.0.attn.c_attn.weight", "gpt2"),
        ("bert." + HF_NAME, None),
        (PADDLE_NAME, None),
        ("cls.predictions.bias", None),
    ],
)
def test_other_architectures_by_name(name, architecture):
    assert weight_names.detect_other_architecture([name]) == architecture


def test_every_parameter_of_paddlenlp_has_a_name(tmp_path):
    """No parameter of PaddleNLP's models lacks a rule or is transposed wrongly."""
    from paddlenlp.transformers.bert.modeling import (
        BertConfig,
        BertForPretraining,
        BertForSequenceClassification,
    )

    config = BertConfig(
        vocab_size=9,
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=6,
        max_position_embeddings=5,
        type_vocab_size=2,
    )
    for model in (BertForPretraining(config), BertForSequenceClassification(config)):
        converted = {name: value.numpy() for name, value in model.state_dict().items()}
        hugging_face = weight_names.to_hf(converted)
        assert weight_names.detect_format(hugging_face) == "huggingface"
        back, _ = weight_names.to_paddle(hugging_face)
        assert back.keys() == converted.keys()
        assert not any("layers." in n or "layer_norm" in n or "_proj" in n for n in hugging_face)
        for name, value in converted.items():
            np.testing.assert_array_equal(back[name], value)


def test_encoder_equals_hugging_face():
    """Converted weights in PaddleNLP's model give the logits of transformers."""
    import paddle
    from paddlenlp.transformers.bert.modeling import BertConfig, BertForSequenceClassification
    from safetensors.numpy import load_file

    from bert_paddle.models import load_weights

    expected = json.loads((TINY / "expected.json").read_text())
    checkpoint = load_weights.load_weights(TINY)
    config = {k: v for k, v in checkpoint.config.items() if k != "labels"}
    model = BertForSequenceClassification(BertConfig(**config, num_labels=3))
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    matched = load_weights.match_weights(checkpoint.tensors, shapes)
    assert matched.tensors.keys() == shapes.keys()
    for name, value in model.state_dict().items():
        value.set_value(matched.tensors[name])
    model.eval()
    mask = paddle.to_tensor(expected["attention_mask"])
    with paddle.no_grad():
        logits = model(
            paddle.to_tensor(expected["input_ids"]),
            paddle.to_tensor(expected["token_type_ids"]),
            attention_mask=mask,
        )
    np.testing.assert_allclose(logits.numpy(), expected["logits"], atol=1e-5)
    stored = load_file(TINY / "model.safetensors")
    back = weight_names.to_hf(checkpoint.tensors)
    assert back.keys() == stored.keys()
    assert all(np.array_equal(back[name], stored[name]) for name in stored)


@pytest.mark.real_weights
def test_packaged_encoder_equals_hugging_face(minilm_dir):
    import paddle
    from paddlenlp.transformers.bert.modeling import BertConfig, BertModel

    from bert_paddle.models import load_weights

    expected = json.loads((TINY.parent / "minilm_encoder.json").read_text())
    checkpoint = load_weights.load_weights(minilm_dir)
    model = BertModel(BertConfig(**{k: v for k, v in checkpoint.config.items() if k != "labels"}))
    for name, value in model.state_dict().items():
        value.set_value(checkpoint.tensors["bert." + name])
    model.eval()
    with paddle.no_grad():
        hidden, pooled = model(
            paddle.to_tensor(expected["input_ids"]),
            paddle.to_tensor(expected["token_type_ids"]),
            attention_mask=paddle.to_tensor(expected["attention_mask"]),
        )[:2]
    np.testing.assert_allclose(pooled.numpy(), expected["pooler_output"], atol=1e-5)
    first = np.asarray(expected["last_hidden_state_first"])
    np.testing.assert_allclose(hidden.numpy()[:, 0], first, atol=1e-5)
