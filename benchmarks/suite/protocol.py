"""The worker's side: what is built once, then a block of work for each line on stdin.

Standard library only: workers run in several environments. A worker is started with the path of
its specification, a JSON object, and answers JSON lines on stdout; what libraries print goes to
stderr.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Block = Callable[[int], dict[str, Any]]
_PR_SET_PDEATHSIG = 1  # of sys/prctl.h


def serve(build: Callable[[dict[str, Any]], Block]) -> None:
    """Build from the specification, then answer until stdin ends.

    build: returns the function of a round's number that does one block and says how many seconds
    it took, and what else is known of it.
    """
    # The driver keeps idle workers stopped: without it, nobody would wake this one to end it.
    ctypes.CDLL("libc.so.6").prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(words: dict[str, Any]) -> None:
        print(json.dumps(words), file=answers, flush=True)

    block = build(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    answer({"ready": True})
    for line in sys.stdin:
        answer(block(int(line)))
