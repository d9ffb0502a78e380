"""The measurements as a Markdown page: targets and what was reached, then every block."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.suite import limit
from benchmarks.suite.load import NOTED
from benchmarks.suite.options import NAMES

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """Ours against a peer in a job. times: how many times better ours is to be (rates and times
    alike, whichever way is better), or, with `at_most`, what share of the peer's it may have.
    Without a peer: the value itself is to be at most `times`."""

    job: str
    peer: str
    times: float
    at_most: bool = False
    ours: str = "ours"


TARGETS = (
    Target("training SST-2", "hf_documented", 9.0),
    Target("training SST-2", "paddlenlp", 6.0),
    Target("training SST-2", "hf_best", 1.9),
    Target("training MRPC", "hf_best", 1.7),
    Target("training QNLI", "hf_best", 1.7),
    *(
        Target(f"training {task}", peer, times, ours="ours_bf16")
        for task in ("SST-2", "MRPC", "QNLI")
        for peer, times in (("hf_bf16", 2.2), ("hf_best", 2.8))
    ),
    Target("pretraining 6x384", "torch", 1.1),
    Target("pretraining 4x256", "torch", 1.1),
    Target("pretraining 6x384", "torch_bf16", 2.0, ours="ours_bf16"),
    Target("pretraining 4x256", "torch_bf16", 2.0, ours="ours_bf16"),
    Target("base 12x768", "hf_bf16", 1.4, ours="ours_bf16"),
    Target("prediction SST-2", "hf_best", 1.5),
    Target("prediction SST-2", "onnx", 1.0),
    Target("prediction MRPC", "hf_best", 1.5),
    Target("prediction MRPC", "onnx", 1.0),
    Target("prediction QNLI", "hf_best", 1.5),
    Target("prediction QNLI", "onnx", 1.0),
    *(
        Target(f"prediction {task}", peer, times, ours="ours_bf16")
        for task in ("MRPC", "QNLI")
        for peer, times in (("hf_bf16", 1.3), ("onnx", 2.0))
    ),
    Target("tokenizing SST-2", "hf_1000", 1.5),
    Target("tokenizing SST-2", "hf_all", 1.5),
    Target("tokenizing SST-2", "", 1.0, ours="ours_again"),
    Target("start cached", "hf_documented", 1.5, ours="ours_new"),
    Target("start cold", "hf_documented", 1.5),
    Target("help", "", 0.5, ours="run_glue.py"),
    Target("help", "", 0.5, ours="run_pretrain.py"),
    Target("memory SST-2", "hf_best", 0.65, at_most=True),
)
SHARE = 0.7  # of the limit, that a training step is to reach


def page(found: Found) -> str:
    """The whole Markdown page of a results file's content."""
    jobs = dict(sorted(found["jobs"].items(), key=lambda item: _place(item[0])))
    lines = ["# Speed beside the peers", "", *_about(jobs), ""]
    lines += [
        "By `bash benchmarks/run.sh`; [README.md](../README.md) says what each name measures. In "
        "brackets the least and the largest ratio of the rounds. Ratios are of medians, and above "
        "1 where ours is better, but for memory: there the share that ours takes of the peer's.",
        "",
        "| job | ours | against | target | reached | |",
        "|---|---|---|---|---|---|",
        *(line for target in TARGETS if (line := _target_line(target, jobs))),
        *(line for name, job in jobs.items() if name.startswith("limit ") for line in _limit(job)),
    ]
    lines += _marked(jobs)
    for job in jobs.values():
        lines += ["", *_job(job)]
    return "\n".join(lines) + "\n"


def _place(name: str) -> int:
    """Where a job stands on the page, whenever it was measured; --help belongs to the start."""
    first = name.split()[0]
    return NAMES.index(first if first in NAMES else "start")


def ratios(target: Target, job: Found) -> tuple[float, float, float] | None:
    """Reached by the medians, least and largest of the rounds; None where either is missing."""
    ours, theirs = (_values(job, key) for key in (target.ours, target.peer))
    if not ours or not theirs:
        return None
    # More is better for a rate; a share of memory is ours by theirs as well.
    upright = job["higher_is_better"] or target.at_most

    def of(a: float, b: float) -> float:
        return a / b if upright else b / a

    each = [of(a, b) for a, b in zip(ours, theirs, strict=False)]
    return of(statistics.median(ours), statistics.median(theirs)), min(each), max(each)


def _values(job: Found, key: str) -> list[float]:
    return [block["value"] for block in job["blocks"].get(key, ())]


def _target_line(target: Target, jobs: Found) -> str:
    """A line of the table; "" for a job that was not measured."""
    if target.job not in jobs:
        return ""
    job = jobs[target.job]
    values = _values(job, target.ours)
    if not values:
        return ""
    own = f"{statistics.median(values):.4g} {job['unit']}"
    name = job["labels"][target.ours]
    first = f"| {target.job} ({name}) | {own} |"
    if not target.peer:
        seconds = [block["seconds"] for block in job["blocks"][target.ours]]
        median = statistics.median(seconds)
        good = median <= target.times
        return f"{first} itself | ≤ {target.times:g} s | {median:.2f} s | {_mark(good)} |"
    reached = ratios(target, job)
    if reached is None:
        return ""
    ratio, least, largest = reached
    good = ratio <= target.times if target.at_most else ratio >= target.times
    sign = "≤" if target.at_most else "≥"
    return (
        f"{first} {job['labels'][target.peer]} | {sign} {target.times:g} × | "
        f"**{ratio:.2f} ×** ({least:.2f} to {largest:.2f}) | {_mark(good)} |"
    )


def _limit(job: Found) -> list[str]:
    """Lines on the share of the machine's limit."""
    blocks = job["blocks"]
    libraries = {k: blocks[k] for k in ("ours_products", "torch_products") if blocks.get(k)}
    if not libraries:
        return []
    batch, _, length = job["name"].removeprefix("limit ").partition("x")
    made = limit.products(int(batch), int(length))
    seconds, lines = limit.best_seconds(libraries), []
    for key in ("ours", "torch"):
        if not blocks.get(key):
            continue
        step = statistics.median(b["seconds"] / b["steps"] for b in blocks[key])
        found = limit.shares(step, made, seconds)
        wanted, good = "", ""
        if key == "ours":
            wanted, good = f"≥ {SHARE:.0%}", _mark(found.of_rate >= SHARE)
        lines.append(
            f"| {job['name']} ({job['labels'][key]}) | {1000 * step:.0f} ms | matrix products: "
            f"{found.rate:.0f} GFLOP/s the fastest shape, {found.own:.0f} the step's own | "
            f"{wanted} | **{found.of_rate:.0%}** of the fastest, "
            f"{found.of_own:.0%} of its own | {good} |"
        )
    return lines


def _mark(good: bool) -> str:
    return "reached" if good else "missed"


def _about(jobs: Found) -> list[str]:
    """Date, machine and versions, once for all jobs that share them."""
    lines: list[str] = []
    for job in jobs.values():
        versions = "; ".join(
            f"{side}: {', '.join(f'{name} {v}' for name, v in packages.items())}"
            for side, packages in job["versions"].items()
        )
        quick = " **A trial of a few steps: no measurement.**" if job["quick"] else ""
        code = f"commit {job.get('commit', 'unknown')}"
        about = f"{job['date']}, {job['machine']}, {job['threads']} threads each, {code}"
        line = f"{about}. {versions}.{quick}"
        if line not in lines:
            lines.append(line)
    return lines


def _marked(jobs: Found) -> list[str]:
    """How many blocks others disturbed."""
    blocks = [b for job in jobs.values() for several in job["blocks"].values() for b in several]
    loud = sum(block["others"] > NOTED for block in blocks)
    if not loud:
        return ["", f"No block was disturbed: others used at most {NOTED} cores in each."]
    return [
        "",
        f"**In {loud} of {len(blocks)} blocks others used more than {NOTED} cores** (marked * "
        "below): what they say of speed is rough.",
    ]


def _job(job: Found) -> list[str]:
    """A job's own section: every block's value."""
    settings = ", ".join(f"{name} {value}" for name, value in job["settings"].items())
    count = max((len(several) for several in job["blocks"].values()), default=0)
    columns = "".join(f" round {i + 1} |" for i in range(count))
    lines = [f"## {job['name']}, {job['unit']}", ""]
    if settings or count:
        lines += [f"{settings or 'Whole commands'}; {job['time']}.", ""]
    lines += [
        f"| contestant | median |{columns} CPU, s | others, cores | loss |",
        "|---|---|" + "---|" * (count + 3),
    ]
    for key, several in job["blocks"].items():
        if not several:
            continue
        values = "".join(
            f" {block['value']:.4g}{'*' if block['others'] > NOTED else ''} |" for block in several
        )
        values += " |" * (count - len(several))
        cpu = statistics.median(block["cpu_seconds"] for block in several)
        others = max(block["others"] for block in several)
        losses = ", ".join(f"{block['loss']:.4f}" for block in several if "loss" in block)
        lines.append(
            f"| {job['labels'][key]} | {job['medians'][key]:.4g} |{values} {cpu:.1f} | "
            f"{others:.2f} | {losses} |"
        )
    return lines + [line for note in job["notes"] for line in ("", note)]
