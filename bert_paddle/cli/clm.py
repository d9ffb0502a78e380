"""`bert-paddle clm`: the same program as run_clm.py."""

from collections.abc import Sequence

from bert_paddle.clm.args import ClmArgs, parse_args
from bert_paddle.distributed.launch import launch

ARGS = ClmArgs  # for completion.py, which looks for a dataclass in this module


def main(argv: Sequence[str]) -> None:
    """Train and evaluate on texts."""
    launch("bert_paddle.clm.finetune:run", parse_args(argv))
