"""What the model card of a fine-tuned model says."""

from collections.abc import Sequence

from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.evaluate import Result
from bert_paddle.glue.tasks import Task
from bert_paddle.training import model_card
from bert_paddle.training.model_card import CardFacts
from bert_paddle.training.train_state import TrainState

_HUB, _LANGUAGE = "nyu-mll/glue", "en"


def facts(
    task: Task, args: GlueArgs, data: EncodedData, evaluated: Sequence[Result], state: TrainState
) -> CardFacts:
    """The card's facts at a step. evaluated: of these very weights by dev set; none where they were
    not evaluated."""
    results: dict[str, float] = {}
    for (dev, _), result in zip(data.dev, evaluated, strict=False):
        named = {"loss": result.loss, **result.metrics}
        results |= {f"{name}{dev.suffix}": value for name, value in named.items()}
    rows = {"training": len(data.train)} if data.train is not None else {}
    rows |= {f"dev {dev.name}".strip(): len(found) for dev, found in data.dev}
    remarks = list(_remarks(task, data))
    return CardFacts(
        task=task.name,
        kind="regression" if task.is_regression else "classification",
        step=state.step,
        base=args.model_name_or_path,
        pairs=task.is_pair,
        language=None if data.own else _LANGUAGE,
        labels=task.labels,
        results=results,
        hub=None if data.own or remarks else _hub(task),
        rows=rows,
        remarks=remarks,
        settings=model_card.settings(args, state) | {"word pieces per row": args.max_seq_length},
    )


def _remarks(task: Task, data: EncodedData) -> list[str]:
    if data.own:
        return []
    if data.demo:
        return ["The data is a demo set of invented sentences: these are no GLUE results."]
    said = []
    if data.train is not None and task.train and len(data.train) not in _official(task, None):
        said.append(
            f"Trained on {len(data.train):,} rows; the official training file has "
            f"{task.train.rows:,}."
        )
    for dev, rows in data.dev:
        if len(rows) not in _official(task, dev.file):
            said.append(
                f"Evaluated on {len(rows):,} rows; the official {dev.file} has {dev.rows:,}: the "
                "figures are those of a subset or another split."
            )
    return said


def _official(task: Task, file: str | None) -> tuple[int, ...]:
    return task.official_rows(file or task.train_file or "")


def _hub(task: Task) -> dict[str, str]:
    """The task's place in the hub's GLUE data set."""
    name = task.name.replace("-", "").lower()
    where = {"type": _HUB, "name": f"GLUE {task.name}", "config": name}
    return where | ({"split": "validation_matched"} if task.name == "MNLI" else {})
