"""`bert-paddle pretrain`: the same program as run_pretrain.py."""

from collections.abc import Sequence

from bert_paddle.distributed.launch import launch
from bert_paddle.pretrain.args import PretrainArgs, parse_args

ARGS = PretrainArgs  # for completion.py, which looks for a dataclass in this module


def main(argv: Sequence[str]) -> None:
    """Run a pre-training."""
    launch("bert_paddle.pretrain.pretrain:run", parse_args(argv))
