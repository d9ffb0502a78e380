"""Compares what the ranks of a fine-tuning run have read, before anything is trained."""

from pathlib import Path
from typing import Any

from bert_paddle.distributed import collectives, rank_agreement
from bert_paddle.glue.args import GlueArgs
from bert_paddle.glue.data.dataset import EncodedDataset
from bert_paddle.glue.data.load import EncodedData
from bert_paddle.glue.tasks import Task
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.training import rank_contents


def check_same_contents(
    args: GlueArgs,
    task: Task,
    data: EncodedData,
    model: Any,
    tokenizer: Tokenizer,
    resume_from: str | None,
) -> None:
    """Raise UserError, on all ranks, if flags, data, model or checkpoint differ between them. All
    ranks must call this together."""
    if collectives.get_world().size == 1:
        return
    shared = rank_contents.read_by_all({"checkpoint": rank_contents.checkpoint_files(resume_from)})
    facts = rank_contents.describe_output(
        args, Path(args.output_dir), resume_from, "checkpoint" in shared
    )
    facts["the class names"] = ", ".join(task.labels)
    facts |= rank_contents.describe_tokenizer(tokenizer)
    facts |= {name: _describe(dataset) for name, dataset in _datasets(data).items()}
    facts |= rank_contents.describe_model(model)
    rank_agreement.check_contents(args, facts)


def _datasets(data: EncodedData) -> dict[str, EncodedDataset]:
    """The data sets by the name that a message gives them."""
    datasets = {"the tokenized training data": data.train} if data.train is not None else {}
    for dev, dataset in data.dev:
        datasets[f"the tokenized dev data ({dev.file})"] = dataset
    for _, test, dataset in data.test:
        datasets[f"the tokenized test data ({test.submission})"] = dataset
    return datasets


def _describe(dataset: EncodedDataset) -> str:
    return rank_contents.describe_rows(len(dataset), dataset.fingerprint())
