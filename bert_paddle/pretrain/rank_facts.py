"""Compares what the ranks of a pre-training run have read, before anything is trained."""

from pathlib import Path
from typing import Any

from bert_paddle.distributed import collectives, rank_agreement
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.model_source import ModelSource
from bert_paddle.pretrain.open_shards import RunShards
from bert_paddle.training import rank_contents


def check_same_contents(
    args: PretrainArgs,
    source: ModelSource,
    data: RunShards,
    model: Any,
    resume_from: str | None,
) -> None:
    """Raise UserError, on all ranks, if flags, shards, model or checkpoint differ between them. All
    ranks must call this together."""
    if collectives.get_world().size == 1:
        return
    shards = {"the training shards": data.train}
    if data.held_out is not None:
        shards["the held-out shards"] = data.held_out
    files = {name: list(shard_set.paths) for name, shard_set in shards.items()}
    files["checkpoint"] = rank_contents.checkpoint_files(resume_from)
    shared = rank_contents.read_by_all(files)
    facts = rank_contents.describe_output(
        args, Path(args.output_dir), resume_from, "checkpoint" in shared
    )
    facts |= rank_contents.describe_tokenizer(source.tokenizer)
    for name, shard_set in shards.items():
        content = "" if name in shared else rank_contents.describe_files(shard_set.paths)
        facts[name] = rank_contents.describe_rows(shard_set.total, shard_set.fingerprint(), content)
    facts |= rank_contents.describe_model(model)
    rank_agreement.check_contents(args, facts)
