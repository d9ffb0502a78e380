"""`bert-paddle glue`: the same program as run_glue.py."""

from collections.abc import Sequence

from bert_paddle.distributed.launch import launch
from bert_paddle.glue.args import GlueArgs, parse_args

ARGS = GlueArgs  # for completion.py, which looks for a dataclass in this module


def main(argv: Sequence[str]) -> None:
    """Fine-tune, evaluate and predict; with --seeds, one run for each seed."""
    args = parse_args(argv)
    if args.seeds:
        from bert_paddle.sweep import seeds

        seeds.run_seeds(args)
    else:
        launch("bert_paddle.glue.finetune:run", args)
