"""A fine-tuned model in memory, to classify or score texts with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import runtime
from bert_paddle.common.errors import DataError, WeightsError
from bert_paddle.glue import evaluate
from bert_paddle.glue.custom import load
from bert_paddle.glue.data.dataset import encode
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.predictions import probabilities
from bert_paddle.models import classifier, hub, load_weights, model_config, tokenizer
from bert_paddle.models.load_weights import LoadedWeights
from bert_paddle.training import verify_model_dir


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text or pair: the likeliest class and the probability of every
    class by name; or, of a regression, the score, and no class."""

    label: str | None
    probabilities: dict[str, float]
    score: float | None = None


class Predictor:
    """A model folder, loaded. Raises WeightsError for a folder without a classifier, and for a
    checkpoint that is half written or not as its manifest says."""

    def __init__(self, name_or_path: str, max_seq_length: int | None = None):
        """max_seq_length: word pieces per row; None for as many as the model has positions."""
        folder = _folder(name_or_path)
        config = model_config.read_config(folder)
        self.tokens = tokenizer.load(folder, None)
        positions = config.values["max_position_embeddings"]
        self.max_seq_length = max_seq_length or positions
        saved = load_weights.load_weights(folder)
        self.labels = _labels(saved, folder)
        known = load.known_of(config)
        self.task, self.pairs = known.name, known.pairs
        self.type_vocab_size = config.values["type_vocab_size"]
        classifier.check_sizes(config.values, len(self.tokens), self.max_seq_length, False, folder)
        self.model = classifier.build_classifier(saved, self.labels, seed=0, need_head=True).model
        self.model.eval()
        self.folder = folder

    @property
    def is_regression(self) -> bool:
        """Whether the model gives a score, not a class."""
        return not self.labels

    def problem(self, has_pairs: bool) -> str | None:
        """Why one text (or a pair) is not what this model was fine-tuned for; None if it may be."""
        if has_pairs and self.type_vocab_size < 2:
            return f"{self.folder} has one segment embedding and takes no pairs: give one text"
        if self.pairs is None or self.pairs == has_pairs:
            return None
        wants = "pairs of texts" if self.pairs else "one text, not pairs"
        return f"{self.folder} was fine-tuned on {self.task}, which has {wants}"

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, batch_size: int = 32
    ) -> list[Prediction]:
        """One prediction for each text (or text and its pair), in their order.

        Raises DataError for what is no text or an empty one, for another number of pairs than
        texts, and for pairs that the model was not made for, or single texts where it was made for
        pairs; RunError where the model gives no finite scores.
        """
        if isinstance(texts, str) or isinstance(pairs, str):
            raise DataError("texts and pairs are lists of texts: give [text] for one")
        if pairs is not None and len(pairs) != len(texts):
            raise DataError(f"{len(texts)} texts and {len(pairs)} pairs: give as many of each")
        if batch_size < 1:
            raise DataError(f"the batch size must be at least 1, not {batch_size}")
        if problem := self.problem(pairs is not None):
            raise DataError(problem)
        _check_texts("texts", texts)
        _check_texts("pairs", () if pairs is None else pairs)
        if not texts:
            return []
        seconds = None if pairs is None else list(pairs)
        rows = encode(
            Examples(list(texts), seconds, None, "texts"), self.tokens, self.max_seq_length
        )
        scores = evaluate.logits(self.model, rows, batch_size)
        evaluate.check_finite(scores, str(self.folder))
        return self._said(scores)

    def _said(self, scores: np.ndarray) -> list[Prediction]:
        if self.is_regression:
            return [Prediction(None, {}, float(score)) for score in scores[:, 0]]
        return [
            Prediction(
                self.labels[int(np.argmax(shares))],
                {name: float(share) for name, share in zip(self.labels, shares, strict=True)},
            )
            for shares in probabilities(scores)
        ]


def _check_texts(name: str, texts: Sequence[Any]) -> None:
    """Raise DataError for an item that is no text, or has nothing in it."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{name}[{i}] is of type {type(text).__name__}, not a text")
        if not text.strip():
            raise DataError(f"{name}[{i}] is empty: there is no text")


def _folder(name_or_path: str) -> Path:
    """The model's folder. Nothing is downloaded: what the hub has is not fine-tuned."""
    if name_or_path in hub.PUBLISHED and not Path(name_or_path).is_dir():
        raise WeightsError(
            f"{name_or_path} is a pre-trained model without a classifier: give the folder of a "
            "fine-tuned one, such as a run's model_<step>"
        )
    return verify_model_dir.verify_model_dir(hub.find_model_dir(name_or_path, runtime.home_dir()))


def _labels(saved: LoadedWeights, folder: Path) -> tuple[str, ...]:
    """The names of the classes by logit; none for a regression. Raises WeightsError."""
    bias = saved.tensors.get("classifier.bias")
    if bias is None:
        raise WeightsError(
            f"{folder} has no classifier (it is a pre-trained model): fine-tune it first, and give "
            "the run's model_<step>"
        )
    if bias.shape == (1,):
        return ()
    named: Any = saved.config.get("labels")
    return named or tuple(f"LABEL_{i}" for i in range(len(bias)))
