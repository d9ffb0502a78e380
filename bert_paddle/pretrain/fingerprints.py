"""The digests by which a resumed pre-training recognizes its shards and model."""

from collections.abc import Sequence
from pathlib import Path

from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.data.epoch_order import RowRange
from bert_paddle.pretrain.data.loader import eval_row_ranges
from bert_paddle.pretrain.model_source import ModelSource
from bert_paddle.pretrain.open_shards import RunShards
from bert_paddle.training import fingerprints
from bert_paddle.training.train_state import TRAINING_DATA


def pretrain_fingerprints(
    args: PretrainArgs, source: ModelSource, data: RunShards, home: Path
) -> dict[str, str]:
    """{name: digest} of the training shards, of the held-out rows that are evaluated, of the
    configuration, the vocabulary and the weights of --init_from; see training.fingerprints."""
    digests = {
        TRAINING_DATA: data.train.fingerprint(),
        fingerprints.TRAINING_SHARDS: fingerprints.of_files(data.train.paths),
        fingerprints.CONFIGURATION: fingerprints.of_values(source.config),
    }
    if data.held_out is not None:
        ranges = eval_row_ranges(data.held_out, args.eval_batch_size, args.max_eval_samples)
        content = fingerprints.of_files(data.held_out.paths)
        # The digest of earlier versions where no masks are drawn.
        drawn = [[sorted(data.masks.held_out), args.seed]] if data.masks.held_out else []
        digests[fingerprints.HELD_OUT_ROWS] = fingerprints.of_values(
            content, _joined(ranges), *drawn
        )
    if source.tokenizer is not None:
        digests[fingerprints.TOKENIZER] = fingerprints.of_tokenizer(source.tokenizer)
    if args.init_from is not None:
        # Not downloaded: a resumed run does not read them.
        for folder in (Path(args.init_from).expanduser(), home / "models" / args.init_from):
            if weights := fingerprints.of_weights(folder):
                digests[fingerprints.INITIAL_WEIGHTS] = weights
                break
    return digests


def _joined(ranges: Sequence[RowRange]) -> list[list[int]]:
    """The ranges in order, those that adjoin as one, so that --eval_batch_size makes no difference
    where all rows are evaluated."""
    joined: list[list[int]] = []
    for shard, start, stop in sorted(ranges):
        if joined and joined[-1][0] == shard and joined[-1][2] == start:
            joined[-1][2] = stop
        else:
            joined.append([shard, start, stop])
    return joined
