"""`run_glue.py --seeds 1,2,3`: the same run with several seeds, their mean and deviation."""

from collections.abc import Sequence

from bert_paddle.common import flags, runtime
from bert_paddle.common.errors import FlagError
from bert_paddle.glue.args import GlueArgs
from bert_paddle.sweep import plan, sweep


def run(args: GlueArgs, program: Sequence[str] | None = None) -> None:
    """Run each seed that is not finished, in a process of its own, and write the tables.

    Raises FlagError under paddle's launcher, and what `sweep.run` raises.
    """
    if runtime.is_launched():
        raise FlagError(
            [
                "--seeds starts a process for each run itself: call run_glue.py without "
                "paddle.distributed.launch, with --n_gpu N for several cards"
            ]
        )
    seeds = plan.of_seeds(args)
    sweep.run(seeds, program=program, go_on=args.resume_from_checkpoint == "auto")
    flags.save_settings(args, seeds.folder)
