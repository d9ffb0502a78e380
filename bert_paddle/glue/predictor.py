"""Load a fine-tuned model and predict the classes or scores of texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import runtime
from bert_paddle.common.errors import DataError, WeightsError
from bert_paddle.distributed import collectives
from bert_paddle.glue import evaluate, loss, thresholds
from bert_paddle.glue.custom.saved_task import saved_task
from bert_paddle.glue.data.dataset import encode_examples, unknown_share
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.row_outputs import MAX_CLASSES_LISTED, TOP_CLASSES, probabilities
from bert_paddle.models import classifier, hub, load_weights, model_config, tokenizer
from bert_paddle.models.added_tokens import check_embeddings
from bert_paddle.models.kernels import dispatch, encoder
from bert_paddle.models.kernels.products import BFLOAT16, FLOAT32, Products
from bert_paddle.models.load_weights import LoadedWeights
from bert_paddle.training.verify_model_dir import verify_model_dir

_MOST = 0.5  # the share of [UNK] from which a prediction is of little meaning


@dataclass(frozen=True)
class Prediction:
    """The prediction for one text or pair: the most likely class (`label`), and the probability of
    every class by name; for regression only the score, with label None. Of a model for any number
    of labels per text, `labels` are those whose probability reaches their threshold, and label is
    None."""

    label: str | None
    probabilities: dict[str, float]
    score: float | None = None
    labels: tuple[str, ...] | None = None

    def listed(self, top_k: int = -1) -> dict[str, float]:
        """The probabilities to show: those of the `top_k` most likely classes, largest first. -1:
        of all classes, or of the ten most likely if there are more than 100."""
        if top_k < 0 and len(self.probabilities) <= MAX_CLASSES_LISTED:
            return self.probabilities
        count = TOP_CLASSES if top_k < 0 else top_k
        return dict(nlargest(count, self.probabilities.items(), key=itemgetter(1)))


class Predictor:
    """A fine-tuned model, loaded from its folder. Raises WeightsError for a model without a
    classifier, and for a checkpoint that is incomplete or differs from its manifest."""

    def __init__(
        self,
        name_or_path: str,
        max_seq_length: int | None = None,
        do_lower_case: bool | None = None,
        log: Callable[[str], None] = lambda line: None,
        given_thresholds: Sequence[float] = (),
        bf16: bool = False,
    ):
        """max_seq_length: maximum tokens per row; None: the model's max_position_embeddings.
        do_lower_case: whether text is lower-cased; None: as the model's files say. log: called
        with lines about the tokenizer and --bf16, and with warnings. given_thresholds: of a model
        for any number of labels per text, one for all labels or one for each; (): the model's.
        bf16: whether to compute in bfloat16, on a CPU that has the instructions."""
        self._log = log
        folder = _find_folder(name_or_path)
        config = model_config.read_config(folder)
        model_config.check_classifier_kind(config, multi_label=True)
        self.tokenizer = tokenizer.load_tokenizer(folder, None, do_lower_case)
        for message in self.tokenizer.messages:
            log(message)
        positions = config.values["max_position_embeddings"]
        self.max_seq_length = max_seq_length or positions
        weights = load_weights.load_weights(folder)
        self.labels = _class_names(weights, folder)
        task = saved_task(config)
        self.task_name, self.takes_pairs = task.name, task.pairs
        self.multi_label = task.multi_label
        self.thresholds = self._choose_thresholds(given_thresholds, task.thresholds, folder)
        self.type_vocab_size = config.values["type_vocab_size"]
        check_embeddings(self.tokenizer.added_tokens, config.values["vocab_size"], folder)
        classifier.check_sizes(
            config.values, len(self.tokenizer), self.max_seq_length, False, folder
        )
        self.model = classifier.build_classifier(weights, self.labels, seed=0, need_head=True).model
        self.model.eval()
        by_kernels = not encoder.unsupported_reason(self.model.bert)
        products = self._choose_products(by_kernels) if bf16 else FLOAT32
        self._forward = loss.forward_pass(self.model, by_kernels, products)
        self.folder = folder

    def _choose_thresholds(
        self, given: Sequence[float], saved: Sequence[float], folder: Path
    ) -> tuple[float, ...]:
        """The threshold of each label; () of a model for one class per text. Raises DataError for
        given ones that do not suit the model."""
        if not self.multi_label:
            if given:
                gives = "a score" if self.is_regression else "one class"
                raise DataError(
                    f"a threshold is for several labels per text, and {folder} predicts {gives}"
                )
            return ()
        if outside := [value for value in given if not 0 < value < 1]:
            raise DataError(f"a threshold is between 0 and 1, and one is {outside[0]}")
        try:
            # Without saved ones, config.json does not name the labels.
            return thresholds.of_labels(given or saved, self.labels)
        except ValueError as error:
            raise DataError(f"{folder}: {error}") from None

    def _choose_products(self, by_kernels: bool) -> Products:
        reason = dispatch.why_not_bfloat16(by_kernels)
        if collectives.on_gpu():
            reason = "--bf16 is for CPUs"
        if reason:
            self._log(f"warning: --bf16 has no effect: computing in float32 ({reason})")
            return FLOAT32
        self._log(dispatch.IN_BFLOAT16)
        return BFLOAT16

    @property
    def is_regression(self) -> bool:
        """Whether the model predicts a score, not a class."""
        return not self.labels

    def input_problem(self, has_pairs: bool) -> str | None:
        """Why this model cannot take pairs (has_pairs) or single texts; None if it can."""
        if has_pairs and self.type_vocab_size < 2:
            return f"{self.folder} has one segment embedding and takes no pairs: give one text"
        if self.takes_pairs is None or self.takes_pairs == has_pairs:
            return None
        expected = "pairs of texts" if self.takes_pairs else "one text, not pairs"
        return f"{self.folder} was fine-tuned on {self.task_name}, which has {expected}"

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, batch_size: int = 32
    ) -> list[Prediction]:
        """One prediction for each text or pair, in order. pairs: the second text of each pair.

        Raises DataError for an item that is not a string or is empty, for unequal numbers of texts
        and pairs, and for pairs if the model was fine-tuned on single texts or vice versa; RunError
        if the logits are not finite.
        """
        if isinstance(texts, str) or isinstance(pairs, str):
            raise DataError("texts and pairs must be lists of texts: give [text] for one")
        if pairs is not None and len(pairs) != len(texts):
            raise DataError(
                f"{len(texts)} texts and {len(pairs)} pairs: give the same number of each"
            )
        if batch_size < 1:
            raise DataError(f"the batch size must be at least 1, not {batch_size}")
        if problem := self.input_problem(pairs is not None):
            raise DataError(problem)
        _check_texts("texts", texts)
        _check_texts("pairs", () if pairs is None else pairs)
        if not texts:
            return []
        texts_b = None if pairs is None else list(pairs)
        examples = Examples(list(texts), texts_b, None, "texts")
        dataset = encode_examples(examples, self.tokenizer, self.max_seq_length)
        share = unknown_share(dataset, self.tokenizer)
        if share > _MOST:
            self._log(
                f"warning: {share:.0%} of the texts' word pieces are [UNK], which tell the model "
                "nothing: it does not know their language, their script or their case "
                "(--do_lower_case)"
            )
        logits = evaluate.compute_logits(self._forward, dataset, batch_size)
        evaluate.check_finite(np.isfinite(logits).all(axis=1), str(self.folder))
        return self._predictions(logits)

    def _predictions(self, logits: np.ndarray) -> list[Prediction]:
        if self.is_regression:
            return [Prediction(None, {}, float(score)) for score in logits[:, 0]]
        return [self._of_classes(row) for row in probabilities(logits, self.multi_label)]

    def _of_classes(self, row: np.ndarray) -> Prediction:
        shares = {name: float(value) for name, value in zip(self.labels, row, strict=True)}
        if not self.multi_label:
            return Prediction(self.labels[int(np.argmax(row))], shares)
        limits = dict(zip(self.labels, self.thresholds, strict=True))
        labels = tuple(name for name, share in shares.items() if share >= limits[name])
        return Prediction(None, shares, labels=labels)


def _check_texts(name: str, texts: Sequence[Any]) -> None:
    """Raise DataError for an item that is not a string, or is blank."""
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"{name}[{i}] is of type {type(text).__name__}, not a text")
        if not text.strip():
            raise DataError(f"{name}[{i}] is empty or blank")


def _find_folder(name_or_path: str) -> Path:
    """The model's folder, verified. Raises WeightsError if there is none or it is damaged. Nothing
    is downloaded: PaddleNLP's hub has only pre-trained models."""
    if name_or_path in hub.HUB_MODELS and not Path(name_or_path).is_dir():
        raise WeightsError(
            f"{name_or_path} is a pre-trained model without a classifier: give the folder of a "
            "fine-tuned one, such as a run's model_<step>"
        )
    return verify_model_dir(hub.find_model_dir(name_or_path, runtime.bert_paddle_home()))


def _class_names(weights: LoadedWeights, folder: Path) -> tuple[str, ...]:
    """The class names in the order of the logits; () for regression. Raises WeightsError for
    weights without a classifier."""
    bias = weights.tensors.get("classifier.bias")
    if bias is None:
        if weights.head_problem:
            raise WeightsError(f"{weights.head_problem}: correct id2label")
        raise WeightsError(
            f"{folder} has no classifier (it is a pre-trained model): fine-tune it first, and give "
            "the run's model_<step>"
        )
    if bias.shape == (1,):
        return ()
    names: Any = weights.config.get("labels")
    return names or tuple(f"LABEL_{i}" for i in range(len(bias)))
