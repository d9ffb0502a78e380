"""Builds PaddleNLP's BERT with any activation function of a configuration that Paddle has.

PaddleNLP looks up `hidden_act` among paddle.nn.functional, whose functions have other names than
the settings of transformers; the tanh approximation of GELU has none of its own.
"""

from collections.abc import Mapping
from typing import Any

from bert_paddle.models import paddlenlp_bert

_TANH_GELU = "gelu(approximate=True)"
# {hidden_act: the function in paddle.nn.functional}.
ACTIVATIONS = {
    **{name: name for name in ("gelu", "relu", "silu", "swish", "relu6", "tanh", "sigmoid")},
    "mish": "mish",
    "gelu_python": "gelu",
    **dict.fromkeys(("gelu_new", "gelu_pytorch_tanh", "gelu_fast"), _TANH_GELU),
}


def is_tanh_gelu(hidden_act: str) -> bool:
    """Whether an activation is x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    return ACTIVATIONS[hidden_act] == _TANH_GELU


def build_bert(class_name: str, config: Mapping[str, Any]) -> Any:
    """A model of PaddleNLP, such as BertForSequenceClassification, with random weights.

    config: keyword arguments of BertConfig; hidden_act is one of ACTIVATIONS, and the model's
    configuration keeps its name.
    """
    bert = paddlenlp_bert.bert_module()
    name = config.get("hidden_act", "gelu")
    function = "gelu" if is_tanh_gelu(name) else ACTIVATIONS[name]
    model = getattr(bert, class_name)(bert.BertConfig(**{**config, "hidden_act": function}))
    model.config.hidden_act = name
    if is_tanh_gelu(name):
        _approximate_gelu(model)
    return model


def _approximate_gelu(model: Any) -> None:
    import paddle

    layers = [*model.bert.encoder.layers]
    if hasattr(model, "cls"):
        layers.append(model.cls.predictions)
    for layer in layers:
        layer.activation = paddle.nn.GELU(approximate=True)
