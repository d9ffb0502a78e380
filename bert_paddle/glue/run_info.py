"""What a fine-tuning run leaves about itself besides its results: run.json, predictions by row."""

from pathlib import Path
from typing import Any

from bert_paddle.glue import predictions
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.evaluate import Result
from bert_paddle.glue.tasks import Task
from bert_paddle.training import run_info
from bert_paddle.training.run_info import RunInfo

PROGRAM = "run_glue"


def describe(
    task: Task,
    args: GlueArgs,
    data: EncodedData,
    kind: str,
    model: Any,
    steps: dict[str, int] | None,
) -> RunInfo:
    """What run.json says of the run. kind: of the data, as in all_results.json. The lengths are
    those of the training rows; of an evaluation alone, those of its rows."""
    sets = {f"dev{dev.suffix}": rows for dev, rows in data.dev}
    sets |= {Path(test.submission).stem: rows for _, test, rows in data.test}
    if data.train is not None:
        sets = {"train": data.train} | sets
    first = next(iter(sets.values()), None)
    lengths = None
    if first is not None:
        cut = first.encoded.cut
        lengths = run_info.length_counts(first.encoded.lengths, cut, args.max_seq_length)
    return RunInfo(
        program=PROGRAM,
        task=task.name,
        data=kind,
        parameters=sum(parameter.size for parameter in model.parameters()),
        metric=list(task.primary.names),
        higher_is_better=task.primary.higher_is_better,
        labels=list(task.labels),
        rows={name: len(rows) for name, rows in sets.items()},
        lengths=lengths,
        steps=steps,
    )


def write_dev_predictions(
    task: Task, data: EncodedData, evaluated: list[Result], output_dir: Path
) -> None:
    """Write dev_predictions.jsonl, of the last evaluation; `_mm` of the second dev set."""
    for (dev, rows), result in zip(data.dev, evaluated, strict=True):
        if rows.examples is not None and result.scores is not None:
            path = output_dir / f"dev_predictions{dev.suffix}.jsonl"
            predictions.write(task, rows.examples, result.scores, path)
