"""The content of a fine-tuned model's model card."""

from collections.abc import Sequence

from bert_paddle.common.intervals import Interval
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.evaluate import EvalResult
from bert_paddle.glue.tasks import Task
from bert_paddle.training import model_card
from bert_paddle.training.model_card import CardFacts
from bert_paddle.training.train_state import TrainState

_HUB_DATASET, _LANGUAGE = "nyu-mll/glue", "en"


def facts(
    task: Task,
    args: GlueArgs,
    data: EncodedData,
    eval_results: Sequence[EvalResult],
    state: TrainState,
) -> CardFacts:
    """The content of the card of a checkpoint. eval_results: of the checkpoint's weights, one per
    dev set; empty if they were not evaluated."""
    results, intervals = dict[str, float](), dict[str, Interval]()
    for (dev, _), result in zip(data.dev, eval_results, strict=False):
        figures = {"loss": result.loss, **result.metrics}
        results |= {f"{name}{dev.suffix}": value for name, value in figures.items()}
        intervals |= {f"{name}{dev.suffix}": found for name, found in result.intervals.items()}
    rows = {"training": len(data.train)} if data.train is not None else {}
    rows |= {f"dev {dev.name}".strip(): len(dataset) for dev, dataset in data.dev}
    remarks = list(_remarks(task, data))
    return CardFacts(
        task=task.name,
        kind=_kind(task),
        step=state.step,
        base=args.model_name_or_path,
        pairs=task.is_pair,
        language=_LANGUAGE if task.in_glue and not data.custom else None,
        labels=task.labels,
        thresholds=task.thresholds,
        label_f1=eval_results[0].per_label if eval_results else {},
        results=results,
        intervals=intervals,
        hub_dataset=None if data.custom or remarks else _hub_dataset(task),
        rows=rows,
        remarks=remarks,
        settings=model_card.training_settings(args, state)
        | {"max sequence length": args.max_seq_length},
    )


def _kind(task: Task) -> str:
    if task.multi_label:
        return model_card.MULTI_LABEL
    return "regression" if task.is_regression else "classification"


def _remarks(task: Task, data: EncodedData) -> list[str]:
    """Sentences for the card where the data is not the complete official data set."""
    if data.custom:
        return []
    if data.demo:
        return ["The data is a demo set of invented sentences: these are not GLUE results."]
    remarks = []
    if data.train is not None and task.train:
        if len(data.train) not in task.official_rows(task.train.file):
            remarks.append(
                f"Trained on {len(data.train):,} rows; the official training file has "
                f"{task.train.rows:,}."
            )
    for dev, dataset in data.dev:
        if len(dataset) not in task.official_rows(dev.file):
            remarks.append(
                f"Evaluated on {len(dataset):,} rows; the official {dev.file} has {dev.rows:,}: "
                "the metrics are for a subset or a different split."
            )
    return remarks


def _hub_dataset(task: Task) -> dict[str, str] | None:
    """The task's configuration of the GLUE dataset on the Hugging Face hub; None for others."""
    if not task.in_glue:
        return None
    name = task.name.replace("-", "").lower()
    entry = {"type": _HUB_DATASET, "name": f"GLUE {task.name}", "config": name}
    return entry | ({"split": "validation_matched"} if task.name == "MNLI" else {})
