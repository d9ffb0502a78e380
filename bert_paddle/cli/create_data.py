"""`bert-paddle create-data`: the same program as scripts/create_pretraining_data.py."""

from collections.abc import Sequence

from bert_paddle.pretrain.create import create_data
from bert_paddle.pretrain.create.args import CreateArgs, parse_args

ARGS = CreateArgs  # for completion.py, which looks for a dataclass in this module


def main(argv: Sequence[str]) -> None:
    """Create pre-training shards."""
    create_data.run(parse_args(argv))
