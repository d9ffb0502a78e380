"""The parts of the CoLA walk-through (scripts/finetune_cola.sh) that are not the training.

    python scripts/walkthrough.py data --model NAME [--data_dir DIR] [--max_seq_length 64]
    python scripts/walkthrough.py check RUN FLAGS_OF_RUN_GLUE...
    python scripts/walkthrough.py end RUN --sentence TEXT [--epochs]

`check` prints "finished" where the run of these flags is, "anew" where they overwrite it, else
"begin"; other settings than those of the finished run are an error.
`data` finds the original release, or downloads it, and shows it on stderr; its folder is printed
on stdout. `end` shows what a finished run left, and what its model says of a sentence.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bert_paddle.common.error_exit import exit_with_one_line  # noqa: E402


def data(args: argparse.Namespace) -> None:
    """Find the data and show it."""
    from bert_paddle import walkthrough
    from bert_paddle.common import runtime
    from bert_paddle.glue.data import cola_release
    from bert_paddle.models import hub, tokenizer

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    home = runtime.home_dir()
    folder = cola_release.locate(
        args.data_dir, os.environ, home, lambda text: say(f"warning: {text}")
    )
    tokens = tokenizer.load(hub.find_model_dir(args.model, home, say))
    walkthrough.show_data(folder, tokens, args.max_seq_length, say)
    print(folder)


def check(args: argparse.Namespace) -> None:
    """Say how far a run is."""
    from bert_paddle import walkthrough

    print(walkthrough.check(Path(args.run_and_flags[0]), args.run_and_flags[1:]))


def end(args: argparse.Namespace) -> None:
    """Show what a run left."""
    from bert_paddle import api, walkthrough

    folder = walkthrough.last_model(args.run)
    if args.epochs:
        walkthrough.show_epochs(args.run, print)
    walkthrough.show_test(args.run, print)
    model = api.load(folder)
    walkthrough.show_model(model, print)
    walkthrough.show_files(folder, print)
    walkthrough.show_sentence(model, args.sentence, print)


def main() -> None:
    """Parse the command line and show one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("data")
    part.add_argument("--data_dir", help="folder of the original release, or one above it")
    part.add_argument("--model", required=True, help="model whose vocabulary is used")
    part.add_argument("--max_seq_length", type=int, default=64)
    part.set_defaults(show=data)
    part = parts.add_parser("end")
    part.add_argument("run", type=Path, help="the run's --output_dir")
    part.add_argument("--sentence", required=True)
    part.add_argument("--epochs", action="store_true", help="show the table of the epochs first")
    part.set_defaults(show=end)
    if sys.argv[1:2] == ["check"]:  # its flags are run_glue.py's, and not argparse's to read
        args = argparse.Namespace(show=check, run_and_flags=sys.argv[2:])
    else:
        args = parser.parse_args()
    with exit_with_one_line(debug=False):
        args.show(args)


if __name__ == "__main__":
    main()
