"""`bert-paddle pretrain`: the same as run_pretrain.py."""

from collections.abc import Sequence

from bert_paddle.distributed.launch import launch
from bert_paddle.pretrain.args import PretrainArgs, parse_args

ARGS = PretrainArgs  # found by completion.py


def main(argv: Sequence[str]) -> None:
    """Pre-train."""
    launch("bert_paddle.pretrain.pretrain:run", parse_args(argv))
