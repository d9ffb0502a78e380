"""Tokenizing: SST-2's training file from the disk to word pieces, in one process."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks.suite import contest, inputs
from benchmarks.suite.contest import OURS, Contestant, Job
from benchmarks.suite.options import Options, folder

_OURS, _HF = "benchmarks/suite/our_tokenizing.py", "benchmarks/peers/hf_tokenizing.py"

_TRIAL_ROWS = 6000  # of so many, the encoded rows are kept for the next start


def tokenizing(options: Options, scratch: Path) -> Iterator[Job]:
    path = folder("GLUE_DATA_DIR") / "SST-2" / "train.tsv"
    if options.quick:
        path = _first_rows(path, scratch)
    spec = {
        "model": str(inputs.weights()),
        "file": str(path),
        "max_length": inputs.MAX_LENGTH,
        "cache": str(scratch / "tokenizing-cache"),
    }
    found = [
        Contestant("ours", "ours, first start", _OURS, spec | {"fresh": True}, OURS),
        # The turn after that one: what a first start keeps is there.
        Contestant("ours_again", "ours, kept word pieces", _OURS, spec | {"fresh": False}, OURS),
        Contestant(
            "hf_1000",
            "HF fast tokenizer, calls of 1000",
            _HF,
            spec | {"calls": 1000},
        ),
        Contestant("hf_all", "HF fast tokenizer, one call", _HF, spec | {"calls": 0}),
    ]
    job = Job("tokenizing SST-2", "rows/s", True, {"max_seq_length": inputs.MAX_LENGTH}, {}, {})
    contest.rounds(job, contest.chosen(found, options), options, scratch)
    counts = {key: blocks[0]["tokens"] for key, blocks in job.blocks.items()}
    if len(set(counts.values())) > 1:
        job.notes.append(f"word pieces: {counts}")
    yield job


def _first_rows(path: Path, scratch: Path) -> Path:
    """The file's beginning, for a trial."""
    cut = scratch / "SST-2" / path.name
    cut.parent.mkdir()
    with path.open(encoding="utf-8", newline="") as lines:
        cut.write_text("".join(islice(lines, _TRIAL_ROWS)), encoding="utf-8", newline="")
    return cut
