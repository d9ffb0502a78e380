"""A Hugging Face folder: config.json, model.safetensors and the tokenizer files."""

import json
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import WeightsError
from bert_paddle.export.source import ExportSource
from bert_paddle.models import classifier, model_state, weight_names
from bert_paddle.models.tokenizer import TOKENIZER_CONFIG_FILE
from bert_paddle.models.weight_names import BERT

_CONFIG_FIELDS = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act "
    "hidden_dropout_prob attention_probs_dropout_prob max_position_embeddings type_vocab_size "
    "initializer_range layer_norm_eps pad_token_id classifier_dropout"
).split()
_HEAD_FIELDS = ("finetuning_task", "problem_type", "id2label", "label2id")
# Fields of config.json that transformers does not have: the columns of a custom data set, and the
# thresholds of several labels per text.
_OWN_FIELDS = ("own_data", "thresholds")


def write(source: ExportSource, folder: Path) -> None:
    """Write the folder's files. Raises WeightsError if transformers' BERT cannot represent the
    model."""
    if source.config.pool_act != "tanh":
        raise WeightsError(
            f"{source.folder}: the pooler's activation is {source.config.pool_act!r}, but "
            "that of transformers' BERT is always tanh: export it as onnx or paddle_inference"
        )
    write_config_and_tokenizer(source, folder)
    tensors = weight_names.to_hf(source.tensors())
    if source.is_pretraining_model:  # transformers restores tied weights when it loads a model
        tied = {name for name, _ in BERT.tied} & tensors.keys()
        tensors = {name: value for name, value in tensors.items() if name not in tied}
        if not source.predicts_next_sentences:  # transformers' BertForMaskedLM has no pooler
            tensors = {k: v for k, v in tensors.items() if not k.startswith("bert.pooler.")}
    atomic_files.write_tensors(folder / model_state.WEIGHTS_FILE, tensors, framework="pt")


def build_config(source: ExportSource) -> dict[str, Any]:
    """The content of config.json, with the fields of transformers' BertConfig."""
    architecture = "BertForSequenceClassification"
    if source.is_pretraining_model:
        architecture = "BertForPreTraining" if source.predicts_next_sentences else "BertForMaskedLM"
    config: dict[str, Any] = {"architectures": [architecture]}
    config |= {"model_type": "bert", "dtype": "float32"}
    config |= {name: getattr(source.config, name) for name in _CONFIG_FIELDS}
    config |= {"position_embedding_type": "absolute", "tie_word_embeddings": True}
    if source.is_pretraining_model:
        return config
    task = str(source.config_json.get("finetuning_task") or "")
    head = classifier.classifier_config(source.labels, task, source.is_multi_label)
    for name in _OWN_FIELDS:
        if name in source.config_json:
            config[name] = source.config_json[name]
    return config | {name: head[name] for name in _HEAD_FIELDS if head[name]}


def write_config_and_tokenizer(source: ExportSource, folder: Path) -> None:
    """Write config.json and, if the model has a tokenizer, its files. All formats have these."""
    atomic_files.write_json(folder / model_state.CONFIG_FILE, build_config(source))
    if source.tokenizer is not None:
        write_tokenizer(source, folder)


def write_tokenizer(source: ExportSource, folder: Path) -> None:
    """Write vocab.txt, tokenizer.json and tokenizer_config.json, which AutoTokenizer reads."""
    assert source.tokenizer is not None
    source.tokenizer.save(folder)
    source.tokenizer.save_tokenizer_json(folder)
    path = folder / TOKENIZER_CONFIG_FILE
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["model_max_length"] = source.config.max_position_embeddings
    atomic_files.write_json(path, settings)
