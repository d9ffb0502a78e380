"""`bert-paddle glue`: the same as run_glue.py."""

from collections.abc import Sequence

from bert_paddle.distributed.launch import launch
from bert_paddle.glue.args import GlueArgs, parse_args

ARGS = GlueArgs  # for shell completion


def main(argv: Sequence[str]) -> None:
    """Fine-tune, evaluate and predict as the flags say."""
    args = parse_args(argv)
    if args.seeds:
        from bert_paddle.sweep import seeds

        seeds.run(args)
    else:
        launch("bert_paddle.glue.finetune:run", args)
