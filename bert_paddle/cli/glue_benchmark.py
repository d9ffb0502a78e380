"""`bert-paddle glue-benchmark`: all GLUE tasks with one command."""

from collections.abc import Sequence

from bert_paddle.common import flags
from bert_paddle.common.printed_lines import print_line
from bert_paddle.sweep.benchmark.args import BenchmarkArgs

DESCRIPTION = """Fine-tune on all GLUE tasks, one after another, with the settings of a recipe.

  bert-paddle glue-benchmark --model_name_or_path bert-base-uncased --output_dir runs/glue
  bert-paddle glue-benchmark --model_name_or_path ./my_bert --output_dir runs/glue --seeds 1,2,3 \\
      --tasks CoLA,MNLI,RTE --from_mnli --num_train_epochs 2

The flags of run_glue.py override the recipe's in all runs. Running the same command again resumes
unfinished runs. The table, with the GLUE average and published figures, is benchmark.html, .md and
.csv in --output_dir; the predictions (--do_predict 0: none) make submission.zip.
"""


def main(argv: Sequence[str]) -> None:
    """Run the benchmark. Raises UserError for mistakes before the first run, RunError if a run
    failed."""
    args = flags.parse(BenchmarkArgs, DESCRIPTION, argv)
    for note in args.notes:
        print_line(note)
    from bert_paddle.sweep.benchmark import benchmark

    benchmark.run_benchmark(args)
