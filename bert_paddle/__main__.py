"""The command line program: `python -m bert_paddle COMMAND ...`, installed as `bert-paddle`."""

import sys
from collections.abc import Sequence

from bert_paddle import __version__, cli
from bert_paddle.common.error_exit import exit_with_one_line
from bert_paddle.common.errors import FlagError

PROGRAM = "bert-paddle"


def usage() -> str:
    """The usage text, with one line per command."""
    width = max(map(len, cli.COMMANDS))
    lines = [
        f"usage: {PROGRAM} COMMAND [flags]        (or: python -m bert_paddle COMMAND [flags])",
        "",
        "BERT fine-tuning on GLUE and pre-training, on PaddlePaddle.",
        "",
        *(f"  {name:<{width}}  {description}" for name, description in cli.COMMANDS.items()),
        "",
        f"Flags of a command: {PROGRAM} COMMAND --help. Version: {PROGRAM} --version.",
    ]
    return "\n".join(lines)


def run(argv: Sequence[str]) -> None:
    """Run the command `argv[0]` with the flags after it. Raises FlagError if it is unknown."""
    first = argv[0] if argv else "--help"
    if first in ("--help", "-h", "help"):
        print(usage())
    elif first == "--version":
        print(f"{PROGRAM} {__version__}")
    elif first.startswith("-"):
        raise FlagError([f"{first} comes before the command: write {PROGRAM} COMMAND {first} ..."])
    else:
        command_main = cli.find_command(first)
        # argparse shows this as the program's name in the usage line.
        sys.argv[0] = f"{PROGRAM} {first}"
        command_main(list(argv[1:]))


def main() -> None:
    """The program `bert-paddle`: errors are printed as one line."""
    with exit_with_one_line():
        run(sys.argv[1:])


if __name__ == "__main__":
    main()
