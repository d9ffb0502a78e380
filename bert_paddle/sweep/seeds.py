"""`run_glue.py --seeds 1,2,3`: one run per seed, their mean and deviation."""

from collections.abc import Sequence

from bert_paddle.common import flags, runtime
from bert_paddle.common.errors import FlagError
from bert_paddle.glue.args import GlueArgs
from bert_paddle.sweep import plan, sweep


def run_seeds(args: GlueArgs, program: Sequence[str] | None = None) -> None:
    """Run each seed that is not finished, in a process of its own, and write the tables.

    Raises FlagError under Paddle's launcher, and whatever `run_sweep` raises.
    """
    if runtime.is_launched():
        raise FlagError(
            [
                "--seeds starts a process for each run itself: call run_glue.py without "
                "paddle.distributed.launch, with --n_gpu N for several cards"
            ]
        )
    seeds = plan.plan_seeds(args)
    resume = args.resume_from_checkpoint == "auto"
    sweep.run_sweep(seeds, program=program, resume=resume)
    flags.save_settings(args, seeds.folder)
