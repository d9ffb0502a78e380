"""`bert-paddle sweep`: every combination of a grid of settings, with several seeds, ranked."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from bert_paddle.common import flags
from bert_paddle.common.errors import FlagError
from bert_paddle.common.flag_fields import PathUse
from bert_paddle.common.flags import REQUIRED, flag, positional
from bert_paddle.glue.args import parse_seeds

DESCRIPTION = """Fine-tune with every combination of settings; rank them.

  bert-paddle sweep --output_dir out/grid learning_rate=2e-5,3e-5 batch_size=16,32 --seeds 1,2,3 \\
      -- --task_name MRPC --model_name_or_path bert-base-uncased
  bert-paddle sweep --output_dir out/paper --grid bert_paper -- --config settings.yaml
  bert-paddle sweep --program clm --output_dir out/rates learning_rate=1e-4,5e-4 \\
      -- --model_name_or_path gpt2 --train_file bios.csv

The flags after -- are flags of the program, run_glue.py or run_clm.py, that all runs share. Running
the same command again resumes unfinished runs. The result tables are sweep.md and sweep.csv in
--output_dir.
"""
SWEEP = "sweep"


@dataclasses.dataclass
class SweepArgs:
    """Everything `bert-paddle sweep` takes before the lone `--`."""

    # The name is a key of --config files.
    words: tuple[str, ...] = positional(
        "FLAG=A,B,...", "the values to try of a flag of the program"
    )
    program: str = flag(
        "glue",
        "glue: run_glue.py, ranked by the task's metric; clm: run_clm.py, by perplexity",
        group=SWEEP,
        choices=("glue", "clm"),
    )
    output_dir: str = flag(
        REQUIRED, "folder for the runs and the tables", group=SWEEP, path=PathUse.OUTPUT
    )
    grid: str | None = flag(
        None,
        "bert_paper (batch size 16, 32; learning rate 5e-5, 3e-5, 2e-5; epochs 2, 3, 4), or a "
        "YAML file with lines such as learning_rate: [2e-5, 3e-5]",
        group=SWEEP,
        path=PathUse.INPUT,
    )
    seeds: str | None = flag(
        None, "1,2,3: run every combination with each seed", group=SWEEP, comma_separated=True
    )
    parallel: int = flag(
        -1,
        "runs at a time (-1: one per visible GPU; one on the CPU)",
        group=SWEEP,
        minimum=1,
        sentinel=-1,
    )
    debug: bool = flag(False, "show the traceback of every error", group="other")

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        if self.seeds is not None:
            try:
                parse_seeds(self.seeds)
            except ValueError as error:
                yield f"--seeds: {error}"
        if self.output_dir and Path(self.output_dir).is_file():
            yield f"--output_dir {self.output_dir} is a file: give a folder"


def main(argv: Sequence[str]) -> None:
    """Run the sweep. Before the first run, raises FlagError with the problems of all combinations;
    RunError if a run failed."""
    argv = list(argv)
    separator = argv.index("--") if "--" in argv else len(argv)
    args = flags.parse(SweepArgs, DESCRIPTION, argv[:separator])
    shared_flags = argv[separator + 1 :]
    from bert_paddle.sweep import grid, plan, sweep

    values, problems = grid.read_grid(args.grid, args.words, args.program)
    if separator == len(argv):
        problems.append("the flags of the runs are missing: give them after a lone --")
    if any(argument.split("=")[0] == "--output_dir" for argument in shared_flags):
        problems.append("--output_dir belongs before the --: each run gets a folder inside it")
    if args.seeds and "seed" in values:
        problems.append("seed is in the grid and --seeds is given: give one of them")
    if not values and not args.seeds:
        problems.append("there is nothing to vary: give FLAG=A,B,..., --grid or --seeds")
    if problems:
        raise FlagError(problems)
    folder = Path(args.output_dir)
    runs = plan.plan_grid(folder, values, shared_flags, args.seeds, args.program)
    sweep.run_sweep(runs, args.parallel if args.parallel > 0 else None)
