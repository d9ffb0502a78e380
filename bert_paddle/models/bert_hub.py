"""The published BERT models on PaddleNLP's hub (docs/EXTENDING.md: how to add one). Does not import
paddle."""

from dataclasses import dataclass
from typing import Any

HUB = "https://bj.bcebos.com"
_WEIGHTS_URL = f"{HUB}/paddlenlp/models/transformers/"
_VOCAB_URL = f"{HUB}/paddle-hapi/models/bert/"


@dataclass(frozen=True)
class HubModel:
    """A model of the hub: the URLs of its files and its configuration."""

    vocab_size: int
    weights_url: str
    vocab_url: str
    do_lower_case: bool = False
    hidden_size: int = 768
    num_hidden_layers: int = 12


# From PaddleNLP's BERT_PRETRAINED_* tables, with https URLs; a test compares the two.
HUB_MODELS = {
    "bert-base-uncased": HubModel(
        30522,
        _WEIGHTS_URL + "bert-base-uncased.pdparams",
        _VOCAB_URL + "bert-base-uncased-vocab.txt",
        do_lower_case=True,
    ),
    "bert-large-uncased": HubModel(
        30522,
        _WEIGHTS_URL + "bert-large-uncased.pdparams",
        _VOCAB_URL + "bert-large-uncased-vocab.txt",
        do_lower_case=True,
        hidden_size=1024,
        num_hidden_layers=24,
    ),
    "bert-base-cased": HubModel(
        28996,
        _WEIGHTS_URL + "bert/bert-base-cased.pdparams",
        _VOCAB_URL + "bert-base-cased-vocab.txt",
    ),
    "bert-large-cased": HubModel(
        28996,
        _WEIGHTS_URL + "bert/bert-large-cased.pdparams",
        _VOCAB_URL + "bert-large-cased-vocab.txt",
        hidden_size=1024,
        num_hidden_layers=24,
    ),
    "bert-base-chinese": HubModel(
        21128,
        _WEIGHTS_URL + "bert/bert-base-chinese.pdparams",
        _VOCAB_URL + "bert-base-chinese-vocab.txt",
    ),
    "bert-base-multilingual-cased": HubModel(
        119547,
        _WEIGHTS_URL + "bert/bert-base-multilingual-cased.pdparams",
        _VOCAB_URL + "bert-base-multilingual-cased-vocab.txt",
    ),
}


def built_in_config(name: str) -> dict[str, Any] | None:
    """A hub model's BertConfig values, for which no file is read; None if it is not a hub model."""
    model = HUB_MODELS.get(name)
    if model is None:
        return None
    return {
        "vocab_size": model.vocab_size,
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.num_hidden_layers,
        "num_attention_heads": model.hidden_size // 64,  # in all published models
        "intermediate_size": 4 * model.hidden_size,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
