"""`bert-paddle completion SHELL`: the script that completes commands and flags in a shell."""

import argparse
import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from bert_paddle import cli
from bert_paddle.common import flags
from bert_paddle.common.errors import FlagError

SHELLS = ("bash", "zsh")
DESCRIPTION = """Print the script that completes bert-paddle's commands and flags in a shell.

  bert-paddle completion bash > ~/.local/share/bash-completion/completions/bert-paddle
  bert-paddle completion zsh > ~/.zfunc/_bert-paddle

The Bash script works from the next shell on; for zsh, ~/.zfunc must be in $fpath.
"""


@dataclasses.dataclass
class CompletionArgs:
    """Everything `completion` takes."""

    shell: tuple[str, ...] = flags.positional("SHELL", ", ".join(SHELLS), minimum=1)
    debug: bool = flags.flag(False, "show the traceback of every error", group="other")

    def problems(self) -> Iterator[str]:
        """What is wrong with the arguments, one message each."""
        if len(self.shell) > 1:
            yield f"one SHELL at a time, not {' '.join(self.shell)}"
        elif self.shell and self.shell[0] not in SHELLS:
            yield f"unknown shell {self.shell[0]!r}; there are {', '.join(SHELLS)}"


def main(argv: Sequence[str]) -> None:
    """Print the script. Raises FlagError for an unknown shell."""
    args = flags.parse(CompletionArgs, DESCRIPTION, argv)
    print(completion_script(args.shell[0]))


def completion_script(shell: str) -> str:
    """The completion script of all commands and their flags, made by shtab."""
    try:
        import shtab
    except ImportError:
        raise FlagError(["completion needs shtab: pip install shtab"]) from None
    top = argparse.ArgumentParser(prog="bert-paddle")
    subparsers = top.add_subparsers()
    for name, about in cli.COMMANDS.items():
        module = importlib.import_module(cli.module_name(name))
        args_class = _args_class(module)
        parser = flags.parser(args_class, about)
        positional = flags.positional_field(args_class)
        if name == "completion":
            parser.add_argument("shell", choices=SHELLS)
        elif positional:
            argument: Any = parser.add_argument(
                "words", nargs="*", help=positional.metadata["help"]
            )
            argument.complete = shtab.FILE
        for action in parser._actions:
            if action.dest.endswith(("_dir", "_file", "_files", "_path", "output", "config")):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        subparsers.add_parser(name, help=about, parents=[parser], add_help=False)
    return shtab.complete(top, shell=shell)


def _args_class(module: Any) -> type:
    """The dataclass of a command's flags, which its module defines or imports."""
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and dataclasses.is_dataclass(value)
        and flags.declared_flags(value)
    ]
    return max(classes, key=lambda args_class: len(flags.declared_flags(args_class)))
