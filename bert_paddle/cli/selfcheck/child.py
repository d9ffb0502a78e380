"""The program of one part's process.

python -m bert_paddle.cli.selfcheck.child TASK ARGUMENT_AS_JSON --result FILE --limit SECONDS
"""

import argparse
import faulthandler
import importlib
import json
from collections.abc import Sequence
from pathlib import Path

from bert_paddle.common.error_exit import exit_with_one_line

# Functions of the task's argument and of the file to which they write their result as JSON.
TASKS = {
    "facts": "bert_paddle.cli.selfcheck.paddle_facts:write_facts",
    "run_check": "bert_paddle.cli.selfcheck.paddle_facts:write_run_check",
    "train": "bert_paddle.cli.selfcheck.train:train_and_write",
    "speed": "bert_paddle.cli.selfcheck.speed:measure_and_write",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one task; after the time limit, print the stack and exit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("argument", type=json.loads)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--limit", type=float, required=True)
    options = parser.parse_args(argv)
    faulthandler.enable()
    faulthandler.dump_traceback_later(options.limit, exit=True)
    module, function = TASKS[options.task].split(":")
    getattr(importlib.import_module(module), function)(options.argument, options.result)


if __name__ == "__main__":
    with exit_with_one_line():
        main()
