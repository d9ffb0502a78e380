"""Compares what the ranks of a run have read, before anything is trained."""

from pathlib import Path
from typing import Any

from bert_paddle.clm.args import ClmArgs
from bert_paddle.clm.load import ClmData
from bert_paddle.clm.model_source import ModelSource
from bert_paddle.distributed import collectives, rank_agreement
from bert_paddle.training import fingerprints, rank_contents


def check_same_contents(
    args: ClmArgs, source: ModelSource, data: ClmData, model: Any, resume_from: str | None
) -> None:
    """Raise UserError, on all ranks, if flags, texts, model or checkpoint differ between them. All
    ranks must call this together."""
    if collectives.get_world().size == 1:
        return
    shared = rank_contents.read_by_all({"checkpoint": rank_contents.checkpoint_files(resume_from)})
    facts = rank_contents.describe_output(
        args, Path(args.output_dir), resume_from, "checkpoint" in shared
    )
    digest = fingerprints.of_values(source.tokenizer.digest_values())
    facts["the vocabulary"] = f"{len(source.tokenizer)} tokens with digest {digest[:12]}"
    for name, dataset in (("training", data.train), ("dev", data.dev)):
        if dataset is not None:
            description = rank_contents.describe_rows(len(dataset), dataset.fingerprint())
            facts[f"the encoded {name} texts"] = description
    facts |= rank_contents.describe_model(model)
    rank_agreement.check_contents(args, facts)
