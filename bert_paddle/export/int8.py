"""An ONNX model with 8-bit weights: quantized by ONNX Runtime, and compared with the float32 one on
the dev set that its run predicted."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bert_paddle.common import atomic_files, extras, read_files
from bert_paddle.common.errors import DataError, RunError, WeightsError
from bert_paddle.export import check, onnx_graph
from bert_paddle.export.sample import INPUTS, SampleBatch
from bert_paddle.export.source import ExportSource
from bert_paddle.glue import dev_predictions, metrics, row_outputs, thresholds
from bert_paddle.glue.custom.load import saved_task
from bert_paddle.glue.data.dataset import EncodedDataset, encode_examples
from bert_paddle.glue.data.tsv import Examples
from bert_paddle.glue.dev_predictions import Answer, DevRow
from bert_paddle.models import model_config

_FLOAT32 = "float32.onnx"
_BATCH_SIZE = 32


@dataclass(frozen=True)
class Int8Options:
    """dev_predictions: a file of rows with labels, as runs write it; None: that of the model's run.
    max_drop: by how many points (hundredths) the metric may be lower than in float32."""

    dev_predictions: str | None = None
    max_drop: float = 1.0


@dataclass(frozen=True)
class Measured:
    """A model on the dev set: its metric, rows per second and the size of its file in bytes."""

    metric: float
    rows_per_second: float
    size: int


@dataclass(frozen=True)
class Int8Result:
    """The two models on the same rows. metric: its name."""

    metric: str
    rows: int
    float32: Measured
    int8: Measured

    @property
    def drop(self) -> float:
        """By how many points the metric is lower in 8 bits."""
        return 100 * (self.float32.metric - self.int8.metric)

    def __str__(self) -> str:
        return (
            f"8-bit weights: {self.metric} {_describe(self.int8)}; float32: "
            f"{_describe(self.float32)}; {self.rows} rows"
        )


def _describe(measured: Measured) -> str:
    return (
        f"{measured.metric:.4f}, {measured.rows_per_second:.0f} rows/s, {measured.size / 1e6:.1f} "
        "MB"
    )


@dataclass(frozen=True)
class DevRows:
    """Encoded rows with their labels, and the metrics whose mean is compared. thresholds: of each
    of any number of labels per row."""

    rows: EncodedDataset
    metric_names: tuple[str, ...]
    regression: bool
    thresholds: tuple[float, ...] = ()

    def batches(self) -> Iterator[tuple[np.ndarray, SampleBatch]]:
        """Row numbers and inputs of each batch, of rows of like length."""
        order = np.argsort(self.rows.lengths, kind="stable")
        for first in range(0, len(order), _BATCH_SIZE):
            numbers = order[first : first + _BATCH_SIZE]
            batch = self.rows.batch(numbers)
            arrays = (batch["input_ids"], batch["input_mask"], batch["segment_ids"])
            yield numbers, SampleBatch([], dict(zip(INPUTS, arrays, strict=True)))

    def metric(self, logits: np.ndarray) -> float:
        """The mean of the metrics, as a best step is chosen by."""
        predictions = logits[:, 0] if self.regression else logits.argmax(axis=1)
        if self.thresholds:
            shares = row_outputs.probabilities(logits, multi_label=True)
            predictions = (shares >= np.array(self.thresholds)).astype(np.int64)
        labels = np.asarray(self.rows.labels)
        values = [metrics.METRICS[name].compute(predictions, labels) for name in self.metric_names]
        return float(np.mean(values))


def read_dev_rows(source: ExportSource, dev_file: str | None) -> DevRows:
    """The rows on which the two models are compared.

    Raises DataError for a file that is missing or malformed or has other labels than the model,
    WeightsError for a model without a vocabulary.
    """
    extras.import_extra("onnxruntime", "--int8")
    path = Path(dev_file or source.folder.parent / dev_predictions.FILE).expanduser()
    if not path.is_file():
        raise DataError(
            f"--int8 compares the models on a dev set, and {path} is not there: give "
            f"--dev_predictions FILE, the {dev_predictions.FILE} of a run with --do_eval"
        )
    if source.tokenizer is None:
        raise WeightsError(f"{source.folder} has no vocabulary, which --int8 needs for its dev set")
    rows = dev_predictions.read_rows(path, "give the rows of a run with --do_eval", False)
    texts_a, texts_b = zip(*(row.texts for row in rows), strict=True)
    seconds = [text for text in texts_b if text is not None]
    if seconds and len(seconds) < len(rows):
        raise DataError(f"{path}: some rows have a text_b and some have none")
    labels = _label_array(rows, source, path)
    examples = Examples(list(texts_a), seconds or None, labels, str(path))
    task = saved_task(model_config.read_config(source.folder))
    names: tuple[str, ...] = ("accuracy",) if source.labels else ("pearson",)
    limits: tuple[float, ...] = ()
    if source.is_multi_label:
        names, limits = ("f1_micro",), thresholds.of_labels(task.thresholds, source.labels)
    elif task.glue_task and task.glue_task.primary.higher_is_better:
        names = task.glue_task.primary.names
    encoded = encode_examples(examples, source.tokenizer, _max_seq_length(source))
    return DevRows(encoded, names, not source.labels, limits)


def _label_array(rows: Sequence[DevRow], source: ExportSource, path: Path) -> np.ndarray:
    """Class indices int64 [rows]; scores float32 [rows]; or, of any number of labels per row, 0 and
    1, int64 [rows, labels]. Raises DataError for a label that is none of the model's."""
    for number, row in enumerate(rows, 1):
        if problem := _label_problem(row.label, source):
            raise DataError(f"{path}:{number}: {problem}")
    if not source.labels:
        return np.array([row.label for row in rows], np.float32)
    index = {label: number for number, label in enumerate(source.labels)}
    if not source.is_multi_label:
        return np.array([index[str(row.label)] for row in rows], np.int64)
    array = np.zeros((len(rows), len(index)), np.int64)
    for number, row in enumerate(rows):
        assert isinstance(row.label, tuple)
        array[number, [index[name] for name in row.label]] = 1
    return array


def _label_problem(label: Answer, source: ExportSource) -> str:
    """Why a label is none of the model's; "" if it is."""
    if not source.labels:
        return "" if isinstance(label, float) else "the label is not a number"
    if source.is_multi_label and not isinstance(label, tuple):
        return "the label is no list, and the model predicts any number of labels"
    if isinstance(label, tuple) and not source.is_multi_label:
        return "the label is a list, and the model predicts one"
    for name in label if isinstance(label, tuple) else (label,):
        if name not in source.labels:
            listed = ", ".join(source.labels[:5])
            return f"the label {json.dumps(name)} is none of the model's ({listed})"
    return ""


def _max_seq_length(source: ExportSource) -> int:
    """The length that the model's run cut rows to; else the model's maximum."""
    positions = int(source.config.max_position_embeddings)
    run = read_files.read_json_object(source.folder.parent / "run.json") or {}
    settings = run.get("settings")
    value = settings.get("max_seq_length") if isinstance(settings, dict) else None
    return min(value, positions) if isinstance(value, int) and value > 0 else positions


def quantize(folder: Path, dev: DevRows, max_drop: float, python: str) -> Int8Result:
    """Give the folder's ONNX model 8-bit weights, and compare it with the float32 one.

    Raises RunError if the metric is lower by more than `max_drop` points, or if ONNX Runtime fails.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model, original = folder / onnx_graph.FILE, folder / _FLOAT32
    model.rename(original)
    quantize_dynamic(original, model, weight_type=QuantType.QInt8)
    names = "+".join(dev.metric_names)
    result = Int8Result(
        names,
        len(dev.rows),
        _measure(original, folder, dev, python),
        _measure(model, folder, dev, python),
    )
    atomic_files.delete(original)
    if not result.drop <= max_drop:  # also for nan
        raise RunError(
            f"the 8-bit model loses {result.drop:.2f} points of {names} "
            f"({result.float32.metric:.4f} to {result.int8.metric:.4f} on {result.rows} rows), and "
            f"--max_metric_drop is {max_drop:g}: nothing was written"
        )
    return result


def _measure(model: Path, folder: Path, dev: DevRows, python: str) -> Measured:
    numbers, batches = zip(*dev.batches(), strict=True)
    outputs, seconds = check.run_onnx(model, list(batches), python)
    logits = np.empty((len(dev.rows), outputs[0].shape[1]), np.float32)
    for rows, output in zip(numbers, outputs, strict=True):
        logits[rows] = output
    return Measured(dev.metric(logits), len(dev.rows) / seconds, model.stat().st_size)
