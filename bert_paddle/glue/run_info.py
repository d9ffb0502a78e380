"""The content of a fine-tuning run's run.json, and its dev_predictions.jsonl."""

from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.glue import predictions
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.evaluate import EvalResult
from bert_paddle.glue.tasks import Task
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.training import run_info
from bert_paddle.training.run_info import RunInfo

PROGRAM = "run_glue"
_EXAMPLE_ROWS = 4  # the batch from which run.json's example is taken
_EXAMPLE_TOKENS = 64  # longer examples are cut there


def describe(
    task: Task,
    args: GlueArgs,
    data: EncodedData,
    model: Any,
    tokenizer: Tokenizer,
    steps: dict[str, int] | None,
) -> RunInfo:
    """The run's entries in run.json. The lengths are those of the training rows or, without
    training, of the first data set evaluated or predicted. steps: as in RunInfo."""
    datasets = {f"dev{dev.suffix}": dataset for dev, dataset in data.dev}
    datasets |= {Path(test.submission).stem: dataset for _, test, dataset in data.test}
    if data.train is not None:
        datasets = {"train": data.train} | datasets
    first = next(iter(datasets.values()), None)
    lengths = None
    if first is not None:
        encoded = first.encoded
        lengths = run_info.length_counts(encoded.lengths, encoded.truncated, args.max_seq_length)
    return RunInfo(
        program=PROGRAM,
        task=task.name,
        data=data.origin,
        parameters=sum(parameter.size for parameter in model.parameters()),
        metric=list(task.primary.names),
        higher_is_better=task.primary.higher_is_better,
        labels=list(task.labels),
        rows={name: len(dataset) for name, dataset in datasets.items()},
        lengths=lengths,
        steps=steps,
        class_counts={
            name: np.bincount(dataset.labels, minlength=len(task.labels)).tolist()
            for name, dataset in datasets.items()
            if dataset.labels is not None and task.labels
        },
        example=None if first is None else _example(first, tokenizer, task),
    )


def _example(dataset: EncodedDataset, tokenizer: Tokenizer, task: Task) -> dict[str, Any]:
    """The shortest of the first rows as the model's input, padded as in a batch of these rows."""
    rows = np.arange(min(_EXAMPLE_ROWS, len(dataset)))
    if not len(rows):
        return {}
    batch = dataset.batch(rows)
    row = int(dataset.encoded.lengths[rows].argmin())
    fields = ("input_ids", "input_mask", "segment_ids")
    example = {name: batch[name][row][:_EXAMPLE_TOKENS].tolist() for name in fields}
    example["pieces"] = [tokenizer.vocab[i] for i in example["input_ids"]]
    if dataset.labels is not None:
        label = dataset.labels[row]
        example["label"] = task.labels[int(label)] if task.labels else float(label)
    return example


def write_dev_predictions(
    task: Task, data: EncodedData, results: list[EvalResult], output_dir: Path
) -> None:
    """Write dev_predictions.jsonl from the last evaluation (dev_predictions_mm.jsonl for MNLI's
    mismatched dev set)."""
    for (dev, dataset), result in zip(data.dev, results, strict=True):
        if dataset.examples is not None and result.outputs is not None:
            path = output_dir / f"dev_predictions{dev.suffix}.jsonl"
            predictions.write_jsonl(task, dataset.examples, result.outputs, path)
