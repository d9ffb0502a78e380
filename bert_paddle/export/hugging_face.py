"""A folder as transformers has them: config.json, model.safetensors, the tokenizer's files."""

import json
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import WeightsError
from bert_paddle.export.source import ExportSource
from bert_paddle.models import classifier, weight_names
from bert_paddle.models.tokenizer import SETTINGS_FILE
from bert_paddle.models.weight_names import BERT

_SIZES = (
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act "
    "hidden_dropout_prob attention_probs_dropout_prob max_position_embeddings type_vocab_size "
    "initializer_range layer_norm_eps pad_token_id classifier_dropout"
).split()
_HEAD = ("finetuning_task", "problem_type", "id2label", "label2id")
_OWN = "own_data"  # what our config.json says of the columns of a user's own data


def write(source: ExportSource, folder: Path) -> None:
    """Write the folder's files. Raises WeightsError for a model that transformers has not."""
    if source.config.pool_act != "tanh":
        raise WeightsError(
            f"{source.folder}: its pooler has the activation {source.config.pool_act!r}, and that "
            "of transformers' BERT is always tanh: export it as onnx or paddle_inference"
        )
    write_about(source, folder)
    tensors = weight_names.to_hf(source.tensors())
    if source.is_pretrained:  # transformers ties these to others when it loads
        tied = {name for name, _ in BERT.tied} & tensors.keys()
        tensors = {name: value for name, value in tensors.items() if name not in tied}
    atomic_files.write_tensors(folder / classifier.WEIGHTS_FILE, tensors, form="pt")


def config(source: ExportSource) -> dict[str, Any]:
    """transformers' BertConfig of the model."""
    name = "BertForPreTraining" if source.is_pretrained else "BertForSequenceClassification"
    made: dict[str, Any] = {"architectures": [name], "model_type": "bert", "dtype": "float32"}
    made |= {size: getattr(source.config, size) for size in _SIZES}
    made |= {"position_embedding_type": "absolute", "tie_word_embeddings": True}
    if source.is_pretrained:
        return made
    task = str(source.about.get("finetuning_task") or "")
    head = classifier.classifier_config(source.labels, task)
    made |= {name: source.about[name] for name in (_OWN,) if name in source.about}
    return made | {name: head[name] for name in _HEAD if head[name]}


def write_about(source: ExportSource, folder: Path) -> None:
    """Write config.json and the tokenizer, which users of the other formats need as well."""
    atomic_files.write_json(folder / classifier.CONFIG_FILE, config(source))
    if source.tokens is not None:
        write_tokenizer(source, folder)


def write_tokenizer(source: ExportSource, folder: Path) -> None:
    """Write vocab.txt, tokenizer.json and tokenizer_config.json, which any AutoTokenizer reads."""
    assert source.tokens is not None
    source.tokens.save(folder)
    source.tokens.save_rust(folder)
    path = folder / SETTINGS_FILE
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["model_max_length"] = source.config.max_position_embeddings
    atomic_files.write_json(path, settings)
