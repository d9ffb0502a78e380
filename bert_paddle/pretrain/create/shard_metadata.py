"""What is recorded of finished shards, and said of them in a line. Does not import paddle."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import bert_paddle
from bert_paddle.pretrain.create import partition
from bert_paddle.pretrain.create.recipe import ShardCounts


def build_metadata(
    made_from: dict[str, Any],
    counts: dict[str, partition.SplitCounts],
    shards: list[dict[str, Any]],
) -> dict[str, Any]:
    """The content of the metadata file. shards: the statistics of each (ShardCounts as a dict)."""
    names = [f.name for f in fields(ShardCounts) if f.name not in ("name", "unknown_words")]
    # Shards of an earlier version have no count of word pieces.
    total = {name: sum(shard.get(name, 0) for shard in shards) for name in names}
    is_counted = all("pieces" in shard for shard in shards)
    predictions, rows = total["predictions"], total["rows"]
    nsp = made_from["recipe"].get("nsp", True)
    return {
        "bert_paddle": bert_paddle.__version__,
        "made_from": made_from,
        "sets": partition.counts_to_json(counts),
        **total,
        "unknown_share": total["unknown"] / total["pieces"] if is_counted else None,
        # None: rows of single sequences.
        "random_next_share": total["random_next"] / rows if nsp else None,
        # None: rows without masks.
        **{
            f"{name}_share": total[name] / predictions if predictions else None
            for name in ("masked", "random", "kept")
        },
        "tokens_per_row": total["tokens"] / rows,
        "shards": shards,
    }


def summarize(
    metadata: dict[str, Any], shards: int, sentences: int, seconds: float, folder: Path
) -> str:
    """The last line: what was made. sentences: those of this run's shards."""
    unknown, random_next = metadata["unknown_share"], metadata["random_next_share"]
    unknown_text = "" if unknown is None else f", {unknown:.2%} of the word pieces [UNK]"
    if random_next is not None:
        kind = f"{random_next:.1%} with a random next sentence"
    else:
        kind = f"single sequences ({metadata['made_from']['recipe']['sequences']})"
    masks = ", without masks" if metadata["masked_share"] is None else ""
    return (
        f"{metadata['rows']:,} rows in {shards} shards, {kind}{masks}{unknown_text}; "
        f"{sentences:,} sentences in {seconds:.1f} s ({sentences / seconds:,.0f}/s) -> {folder}"
    )
