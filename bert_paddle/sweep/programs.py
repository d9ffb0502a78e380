"""The programs whose runs a sweep starts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bert_paddle.clm import args as clm_args
from bert_paddle.clm.args import ClmArgs
from bert_paddle.glue import args as glue_args
from bert_paddle.glue.args import GlueArgs

RunArgs = GlueArgs | ClmArgs


@dataclass(frozen=True)
class Program:
    """A program. script: its name for messages; parse: reads its command line."""

    script: str
    args_class: type[RunArgs]
    parse: Callable[[Sequence[str]], RunArgs]


GLUE, CLM = "glue", "clm"
PROGRAMS = {  # by the command of bert-paddle
    GLUE: Program("run_glue.py", GlueArgs, glue_args.parse_args),
    CLM: Program("run_clm.py", ClmArgs, clm_args.parse_args),
}
