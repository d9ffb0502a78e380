"""The model to export: a folder of any kind, read and checked, with its weights in Paddle."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import runtime
from bert_paddle.common.errors import WeightsError
from bert_paddle.glue.predictor import Predictor
from bert_paddle.models import classifier, hub, load_weights, model_config, tokenizer
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain import model as pretrain_model
from bert_paddle.training import verify_model_dir

_PRETRAINED = ("BertForPretraining", "BertForPreTraining")


@dataclass(frozen=True)
class ExportSource:
    """A model in evaluation mode. about: what its config.json says. labels: class names in the
    order of the logits, empty for a regression and for a pre-training model. tokens: None where the
    folder has no vocabulary."""

    folder: Path
    model: Any
    about: Mapping[str, Any]
    labels: tuple[str, ...]
    tokens: Tokenizer | None
    is_pretrained: bool

    def tensors(self) -> dict[str, np.ndarray]:
        """float32 weights under Paddle's names, Linear as [in, out]."""
        return classifier.numpy_state_dict(self.model)

    @property
    def config(self) -> Any:
        """PaddleNLP's BertConfig of the model."""
        return self.model.config


def load(name_or_path: str) -> ExportSource:
    """The model of a folder (or of a name under $BERT_PADDLE_HOME/models).

    Raises WeightsError for a folder without a whole BERT with the head of a classifier or those of
    pre-training, and for a checkpoint that is not as its manifest says.
    """
    folder = find(name_or_path)
    config = model_config.read_config(folder)
    about = model_config.read_object(config.path)
    if config.architecture in _PRETRAINED:
        return _pretrained(folder, about)
    loaded = Predictor(str(folder))
    return ExportSource(folder, loaded.model, about, tuple(loaded.labels), loaded.tokens, False)


def find(name_or_path: str) -> Path:
    """The model's folder, whole as far as its manifest can tell. Raises WeightsError."""
    if (
        name_or_path in hub.PUBLISHED
        and not (runtime.home_dir() / "models" / name_or_path).is_dir()
    ):
        if not Path(name_or_path).is_dir():
            raise WeightsError(
                f"{name_or_path} is no folder here: exported are models that lie on the disk"
            )
    return verify_model_dir.verify_model_dir(hub.find_model_dir(name_or_path, runtime.home_dir()))


def _pretrained(folder: Path, about: Mapping[str, Any]) -> ExportSource:
    saved = load_weights.load_weights(folder)
    for head in pretrain_model.HEADS:
        if not any(name.startswith(head) for name in saved.tensors):
            raise WeightsError(
                f"{folder} is a pre-trained model without {head}*, which its config.json promises: "
                "give the whole model"
            )
    config = {name: value for name, value in saved.config.items() if name != "labels"}
    built, _ = pretrain_model.build(config, 0, saved)
    built.eval()
    tokens = tokenizer.load(folder) if tokenizer.holds_vocabulary(folder) else None
    return ExportSource(folder, built, about, (), tokens, True)
