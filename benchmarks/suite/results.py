"""The dated files: every block as it was measured, and what it comes to."""

import dataclasses
import datetime
import json
import os
import statistics
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.suite import contest, table
from benchmarks.suite.contest import Job
from benchmarks.suite.options import ROOT, Options
from bert_paddle.common import hardware

PEER_PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "onnxruntime", "numpy")


def keep(job: Job, options: Options) -> Path:
    """Put a job into today's JSON file, in place of one of the same name, and write the Markdown
    file of all; returns the latter."""
    date = datetime.date.today().isoformat()
    name = f"{'quick' if options.quick else 'speed'}-{date}"
    options.results.mkdir(parents=True, exist_ok=True)
    path = options.results / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"jobs": {}}
    found = merged(found, job, _about(options))
    _write(path, json.dumps(found, indent=1) + "\n")
    _write(path.with_suffix(".md"), table.page(found))
    return path.with_suffix(".md")


def merged(found: dict[str, Any], job: Job, about: dict[str, Any]) -> dict[str, Any]:
    """The file's content with the job in it. `about` is kept with each job: a later run of others
    may be on another machine."""
    made = dataclasses.asdict(job) | {"medians": medians(job.blocks), **about}
    return found | {"jobs": found["jobs"] | {job.name: made}}


def medians(blocks: dict[str, list[dict[str, Any]]]) -> dict[str, float | None]:
    """Of the blocks' values, by contestant; None where there is no block."""
    return {
        key: statistics.median(block["value"] for block in several) if several else None
        for key, several in blocks.items()
    }


def where() -> dict[str, Any]:
    """When and on what something is measured: date, time, machine, commit, versions of ours."""
    return {
        "date": datetime.date.today().isoformat(),
        "time": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "machine": hardware.machine(),
        "commit": _commit(),
        "versions": {"ours": hardware.versions("tokenizers", "numpy")},
    }


def _about(options: Options) -> dict[str, Any]:
    found = where()
    found["versions"]["peers"] = _peers()
    sizes = {"threads": options.threads, "rounds": options.rounds, "quick": options.quick}
    return found | sizes


def _commit() -> str:
    """What code was measured; with + where files differ from it."""
    git = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _peers() -> dict[str, str]:
    """Versions in the peers' environment."""
    code = (
        "import importlib.metadata as m, json, platform, sys;"
        "print(json.dumps({'Python': platform.python_version()}"
        " | {n: m.version(n) for n in sys.argv[1:]}))"
    )
    done = subprocess.run(
        [contest.PEERS, "-c", code, *PEER_PACKAGES], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
