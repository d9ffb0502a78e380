"""The commands of `bert-paddle`: their names and one-line descriptions.

Each command is a module of this package with a function `main(argv)`, imported only when the
command runs.
"""

import importlib
from collections.abc import Callable, Sequence

from bert_paddle.common import suggest
from bert_paddle.common.errors import FlagError

COMMANDS: dict[str, str] = {
    "glue": "fine-tune on a GLUE task, evaluate, predict test sets (run_glue.py)",
    "pretrain": "pre-train on HDF5 shards, masked words and next sentences (run_pretrain.py)",
    "clm": "fine-tune GPT-2 on texts of your own (run_clm.py)",
    "create-data": "make pre-training shards from plain text",
    "report": "rebuild a run's report.html, or compare several runs in one page",
    "compare": "test whether two runs differ on the dev rows, or nothing is shown",
    "predict": "classify or score texts, given as arguments or on stdin, with a fine-tuned model",
    "generate": "continue prompts with a GPT-2",
    "submission": "assemble a GLUE submission from runs, or check one",
    "export": "write a model as a Hugging Face folder, ONNX or Paddle Inference",
    "sweep": "train over several seeds or a grid of settings, and rank the runs",
    "glue-benchmark": "fine-tune on all GLUE tasks: table, average, submission",
    "check": "check this installation, and every way of computing on this device",
    "completion": "print a shell's completion script: bash or zsh",
}


def module_name(command: str) -> str:
    """The full name of a command's module: bert_paddle.cli.create_data for `create-data`."""
    return f"{__name__}.{command.replace('-', '_')}"


def find_command(command: str) -> Callable[[Sequence[str]], None]:
    """Import a command's module and return its `main`. For an unknown command, raises a
    FlagError that suggests the most similar one."""
    name = command.replace("_", "-")
    if name not in COMMANDS:
        matches = suggest.nearest(name, COMMANDS)
        hint = (
            f"did you mean {matches[0]}?" if matches else f"the commands are {', '.join(COMMANDS)}"
        )
        raise FlagError([f"{command} is not a command; {hint}"])
    return importlib.import_module(module_name(name)).main
