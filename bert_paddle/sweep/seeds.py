"""`run_glue.py --seeds 1,2,3`: one run per seed, and the mean and deviation of their results."""

from collections.abc import Sequence

from bert_paddle.common import flags, runtime
from bert_paddle.common.errors import FlagError
from bert_paddle.glue.args import GlueArgs
from bert_paddle.sweep import plan, sweep


def run_seeds(args: GlueArgs, program: Sequence[str] | None = None) -> None:
    """Run each seed that is not finished, each in its own process, and write the result tables.

    program: the command that takes each run's flags; None: run_glue.py. Raises FlagError under
    Paddle's launcher, and the errors of `run_sweep`.
    """
    if runtime.is_launched():
        raise FlagError(
            [
                "--seeds starts a process for each run: call run_glue.py without "
                "paddle.distributed.launch, with --n_gpu N for several cards"
            ]
        )
    seed_plan = plan.plan_seeds(args)
    resume = args.resume_from_checkpoint == "auto"
    sweep.run_sweep(seed_plan, program=program, resume=resume)
    flags.save_settings(args, seed_plan.folder)
