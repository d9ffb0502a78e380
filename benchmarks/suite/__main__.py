"""`python -m benchmarks.suite [name ...]` from the repository's root, as run.sh starts it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.suite import contest, inputs, limit, options, preparing, results, speed, whole
from benchmarks.suite.contest import Job, Run
from benchmarks.suite.options import ROOT, Mistake, Options

RUNS: dict[str, Run] = {
    "training": speed.training,
    "levers": speed.levers,
    "prediction": speed.prediction,
    "pretraining": speed.pretraining,
    "base": speed.base,
    "tokenizing": preparing.tokenizing,
    "start": whole.start,
    "memory": whole.memory,
    "limit": limit.limit,
}


def jobs(asked: Options, scratch: Path) -> Iterator[Job]:
    """Everything that was asked for, one after the other."""
    for name in asked.names:
        yield from RUNS[name](asked, scratch)


def check(asked: Options) -> None:
    """Raise Mistake where something that is needed is not here, before hours have gone by."""
    inputs.weights()
    if set(asked.names) - {"pretraining", "limit"}:
        options.folder("GLUE_DATA_DIR")
    if "pretraining" in asked.names:
        options.folder(options.SHARDS)


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(options.USAGE)
        return
    asked = options.parse(sys.argv[1:], os.environ)
    check(asked)
    subprocess.run(["bash", ROOT / "benchmarks/peers/setup.sh"], check=True, stdout=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all below is cleaned up
    with tempfile.TemporaryDirectory(prefix="bert_paddle_speed_") as scratch:
        for job in jobs(asked, Path(scratch)):
            contest.say(f"wrote {results.keep(job, asked)}")


if __name__ == "__main__":
    try:
        main()
    except Mistake as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
