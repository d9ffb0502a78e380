"""The model to export: a Paddle or Hugging Face folder, verified and loaded into Paddle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import runtime
from bert_paddle.common.errors import WeightsError
from bert_paddle.glue.predictor import Predictor
from bert_paddle.models import classifier, hub, load_weights, model_config, model_state, tokenizer
from bert_paddle.models.added_tokens import check_embeddings
from bert_paddle.models.model_config import MULTI_LABEL
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain import model as pretrain_model
from bert_paddle.training.verify_model_dir import verify_model_dir

_MASKED_LM = "BertForMaskedLM"  # a pre-training model without an NSP head
_PRETRAINING_ARCHITECTURES = ("BertForPretraining", "BertForPreTraining", _MASKED_LM)


@dataclass(frozen=True)
class ExportSource:
    """A model in evaluation mode.

    config_json: the content of config.json. labels: class names in the order of the logits; empty
    for a regression model and for a pre-training model. tokenizer: None if the folder has no
    vocabulary.
    """

    folder: Path
    model: Any
    config_json: Mapping[str, Any]
    labels: tuple[str, ...]
    tokenizer: Tokenizer | None
    is_pretraining_model: bool

    @property
    def is_multi_label(self) -> bool:
        """Whether a text has any number of the labels."""
        return self.config_json.get("problem_type") == MULTI_LABEL

    @property
    def predicts_next_sentences(self) -> bool:
        """Whether it is a pre-training model with an NSP head."""
        return self.is_pretraining_model and type(self.model).__name__ != _MASKED_LM

    @property
    def family(self) -> str:
        return hub.BERT

    @property
    def pipeline(self) -> str:
        """The kind of models on Hugging Face's hub."""
        return "fill-mask" if self.is_pretraining_model else "text-classification"

    @property
    def auto_class(self) -> str:
        """transformers' class that loads the model."""
        if not self.is_pretraining_model:
            return "AutoModelForSequenceClassification"
        return "AutoModelForPreTraining" if self.predicts_next_sentences else "AutoModelForMaskedLM"

    def outputs(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The logits of a batch: one array for a classifier; for a pre-training model, those of the
        masked-LM head and of the next-sentence head."""
        import paddle

        tensors = {name: paddle.to_tensor(value) for name, value in inputs.items()}
        with paddle.no_grad():
            outputs = self.model(**tensors)
        return [t.numpy() for t in (outputs if isinstance(outputs, tuple) else (outputs,))]

    def tensors(self) -> dict[str, np.ndarray]:
        """The float32 weights by Paddle's names; Linear weights are [in, out]."""
        return model_state.numpy_state_dict(self.model)

    @property
    def config(self) -> Any:
        """PaddleNLP's BertConfig of the model."""
        return self.model.config


def load_source(
    name_or_path: str,
    do_lower_case: bool | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> ExportSource:
    """Load the model in a folder, given by its path or by its name in $BERT_PADDLE_HOME/models.

    do_lower_case, log: as in `Predictor`.
    Raises WeightsError unless the folder has a complete BERT with a classifier or with the heads of
    a pre-training model (a BertForMaskedLM has no next-sentence head), and for a checkpoint that
    does not match its manifest.
    """
    folder = find_model_dir(name_or_path)
    config = model_config.read_config(folder)
    config_json = model_config.read_json_object(config.path)
    if config.architecture in _PRETRAINING_ARCHITECTURES:
        loaded = None
        if tokenizer.has_vocabulary(folder):
            loaded = tokenizer.load_tokenizer(folder, None, do_lower_case)
            for message in loaded.messages:
                log(message)
        return _load_pretraining_model(folder, config_json, loaded)
    predictor = Predictor(str(folder), None, do_lower_case, log)
    return ExportSource(
        folder,
        predictor.model,
        config_json,
        tuple(predictor.labels),
        predictor.tokenizer,
        is_pretraining_model=False,
    )


def find_model_dir(name_or_path: str) -> Path:
    """The model's folder. Raises WeightsError if there is none, or if it does not match its
    manifest; a hub model that is not in the cache is not downloaded."""
    published = (*hub.HUB_MODELS, *hub.GPT2_MODELS)
    if (
        name_or_path in published
        and not (runtime.bert_paddle_home() / "models" / name_or_path).is_dir()
    ):
        if not Path(name_or_path).is_dir():
            raise WeightsError(
                f"{name_or_path}: no such folder: download the model first and give its folder"
            )
    return verify_model_dir(hub.find_model_dir(name_or_path, runtime.bert_paddle_home()))


def _load_pretraining_model(
    folder: Path, config_json: Mapping[str, Any], loaded_tokenizer: Tokenizer | None
) -> ExportSource:
    weights = load_weights.load_weights(folder)
    nsp = config_json.get("architectures") != [_MASKED_LM]
    heads = pretrain_model.needed_heads(nsp)
    for head in (*heads, "bert.pooler.") if nsp else heads:
        if not any(name.startswith(head) for name in weights.tensors):
            raise WeightsError(
                f"{folder} is a pre-training model according to its config.json, but its "
                f"weights have no {head}*: give the complete model"
            )
    config = {name: value for name, value in weights.config.items() if name != "labels"}
    model, _ = pretrain_model.build_model(config, 0, weights, nsp)
    model.eval()
    if loaded_tokenizer is not None:
        check_embeddings(loaded_tokenizer.added_tokens, config["vocab_size"], folder)
        classifier.check_vocab_size(config, len(loaded_tokenizer), folder)
    return ExportSource(folder, model, config_json, (), loaded_tokenizer, is_pretraining_model=True)
