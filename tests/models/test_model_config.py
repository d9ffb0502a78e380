"""Configurations of every origin, and one-line errors for mistakes."""

import json
from pathlib import Path

import pytest

from bert_paddle.common.errors import WeightsError
from bert_paddle.models import model_config

SIZES = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
}


def write(folder: Path, content, name: str = "config.json") -> Path:
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_names_defaults_and_labels(tmp_path):
    content = SIZES | {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "layer_norm_eps": 1e-5,
        "type_vocab_size": 3,
        "classifier_dropout": None,
        "id2label": {"1": "yes", "0": "no"},
        "transformers_version": "5.0",
    }
    config = model_config.read_config(write(tmp_path, content))
    assert config.values == SIZES | {
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "type_vocab_size": 3,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 0,
        "labels": ("no", "yes"),
    }
    assert config.architecture == "BertForSequenceClassification"
    assert "type_vocab_size" not in config.defaulted and "hidden_act" in config.defaulted


def test_no_model_type_and_no_labels(tmp_path):
    config = model_config.read_config(write(tmp_path, SIZES))
    assert config.values["labels"] is None
    assert "type_vocab_size" in config.defaulted


@pytest.mark.parametrize(
    "nested",
    [
        {"init_args": [SIZES | {"init_class": "BertModel"}], "num_classes": 3},
        {"init_args": [SIZES | {"init_class": "BertModel"}, 3, 0.1]},
        {"bert": SIZES | {"init_class": "BertModel"}, "num_classes": 3},
        SIZES,
    ],
)
def test_nested_configuration_of_older_paddlenlp(tmp_path, nested):
    content = nested | {"init_class": "BertForSequenceClassification"}
    config = model_config.read_config(write(tmp_path, content, "model_config.json"))
    assert {name: config.values[name] for name in SIZES} == SIZES
    assert config.architecture == "BertForSequenceClassification"
    assert config.path.name == "model_config.json"


def test_config_json_precedes_the_older_file(tmp_path):
    write(tmp_path, SIZES | {"vocab_size": 99, "init_class": "BertModel"}, "model_config.json")
    assert model_config.read_config(write(tmp_path, SIZES)).values["vocab_size"] == 30


def sizes_without(name: str) -> dict:
    return {key: value for key, value in SIZES.items() if key != name}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "contains a list"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (SIZES | {"model_type": "roberta"}, "'roberta', but only bert"),
        (SIZES | {"model_type": "distilbert"}, "'distilbert', but only bert"),
        (SIZES | {"model_type": "albert", "architectures": ["BertModel"]}, "'albert'"),
        (SIZES | {"architectures": ["RobertaModel"]}, "'RobertaModel', but only bert"),
        ({"init_class": "ErnieModel"} | SIZES, "'ErnieModel', but only bert"),
        (sizes_without("hidden_size"), "lacks hidden_size"),
        (SIZES | {"num_attention_heads": 3}, "8 is not divisible by num_attention_heads 3"),
        (SIZES | {"hidden_act": "gelu_10"}, "hidden_act 'gelu_10' is not supported"),
        (SIZES | {"position_embedding_type": "relative_key"}, "'relative_key' is not supported"),
        (SIZES | {"is_decoder": True}, "is_decoder"),
        (SIZES | {"hidden_size": "8"}, "hidden_size is '8'"),
        (SIZES | {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        (SIZES | {"vocab_size": True}, "vocab_size is True"),
        (SIZES | {"hidden_dropout_prob": 10}, "hidden_dropout_prob is 10"),
        (SIZES | {"layer_norm_eps": 0.01}, "layer_norm_eps is 0.01"),
        (SIZES | {"id2label": {"0": "a", "2": "b"}}, "id2label"),
        (SIZES | {"id2label": ["a", "b"]}, "id2label"),
    ],
)
def test_mistakes_are_one_line_errors(tmp_path, content, message):
    with pytest.raises(WeightsError) as caught:
        model_config.read_config(write(tmp_path, content))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "config.json") in str(caught.value)


def test_all_problems_of_a_configuration_together(tmp_path):
    content = SIZES | {"hidden_size": -1, "hidden_act": "maxout"}
    with pytest.raises(WeightsError, match="hidden_size is -1.*; hidden_act 'maxout'"):
        model_config.read_config(write(tmp_path, content))


def test_missing_configuration_suggests_a_folder_inside(tmp_path):
    with pytest.raises(WeightsError, match="has no config.json: is this"):
        model_config.read_config(tmp_path)
    write(tmp_path / "model_500", SIZES)
    with pytest.raises(WeightsError, match="did you mean .*model_500"):
        model_config.read_config(tmp_path)


@pytest.mark.parametrize("inner", [{"vocab_size": 9}, {"init_class": "BertModel"}])
def test_an_inner_object_is_known_by_either_key(inner):
    assert model_config._flatten({"bert": inner, "other": {"x": 1}}).items() >= inner.items()
    assert "x" not in model_config._flatten({"bert": inner, "other": {"x": 1}})
