"""The steps of the CoLA walk-through (scripts/finetune_cola.sh) before and after training.

    python scripts/walkthrough.py data --model NAME [--data_dir DIR] [--max_seq_length 64]
    python scripts/walkthrough.py check RUN FLAGS_OF_RUN_GLUE...
    python scripts/walkthrough.py end RUN --sentence TEXT [--epochs]

`check` prints "overwrite" if the flags overwrite the run, "finished" if a run with these flags is
finished, else "start"; settings that differ from those of a finished run are an error.
`data` finds or downloads the original release, shows it on stderr, and prints its folder on stdout.
`end` shows the files and results of a finished run, and its model's prediction for a sentence.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bert_paddle.common.error_exit import exit_with_one_line  # noqa: E402


def data(args: argparse.Namespace) -> None:
    """Find the data, show it, and print its folder."""
    from bert_paddle import walkthrough
    from bert_paddle.common import runtime
    from bert_paddle.glue.data import cola_release
    from bert_paddle.models import hub, tokenizer

    def print_note(text: str) -> None:
        print(text, file=sys.stderr)

    home = runtime.bert_paddle_home()
    folder = cola_release.find_release(
        args.data_dir, os.environ, home, lambda text: print_note(f"warning: {text}")
    )
    vocabulary = tokenizer.load_tokenizer(hub.find_model_dir(args.model, home, print_note))
    walkthrough.show_data(folder, vocabulary, args.max_seq_length, print_note)
    print(folder)


def check(args: argparse.Namespace) -> None:
    """Print the state of a run."""
    from bert_paddle import walkthrough

    print(walkthrough.run_state(Path(args.run_and_flags[0]), args.run_and_flags[1:]))


def end(args: argparse.Namespace) -> None:
    """Show the files and results of a run."""
    from bert_paddle import api, walkthrough

    folder = walkthrough.last_checkpoint_dir(args.run)
    if args.epochs:
        walkthrough.show_epochs(args.run, print)
    walkthrough.show_test(args.run, print)
    model = api.load(folder)
    walkthrough.show_model(model, print)
    walkthrough.show_files(folder, print)
    walkthrough.show_sentence(model, args.sentence, print)


def main() -> None:
    """Parse the command line and run one step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    steps = parser.add_subparsers(required=True)
    step = steps.add_parser("data")
    step.add_argument("--data_dir", help="folder of the original release, or its parent folder")
    step.add_argument("--model", required=True, help="model whose vocabulary is used")
    step.add_argument("--max_seq_length", type=int, default=64)
    step.set_defaults(show=data)
    step = steps.add_parser("end")
    step.add_argument("run", type=Path, help="the run's --output_dir")
    step.add_argument("--sentence", required=True)
    step.add_argument("--epochs", action="store_true", help="show the table of the epochs first")
    step.set_defaults(show=end)
    if sys.argv[1:2] == ["check"]:  # its flags are those of run_glue.py, not argparse's
        args = argparse.Namespace(show=check, run_and_flags=sys.argv[2:])
    else:
        args = parser.parse_args()
    with exit_with_one_line(debug=False):
        args.show(args)


if __name__ == "__main__":
    main()
