"""The machine's own limit: how fast it makes the matrix products of a training step, and how near a
step comes to it.

A step's products of the encoder, of `batch` rows of `length` tokens: for each Linear layer the
output, the gradient of the input and that of the weight. In the last layer only [CLS] needs a
query, its attention, the output projection and the feed-forward: what is counted is what has to be
computed, so that a step that computes less does not count as a faster one.
"""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.suite import contest, inputs
from benchmarks.suite.contest import OURS, Contestant, Job
from benchmarks.suite.options import Options

LENGTHS = (32, 128)
LAYERS, HIDDEN, HEADS = 6, 384, 12  # of the packaged weights


@dataclass(frozen=True)
class Product:
    """`count` products [m, k] x [k, n] of a step, each of `batch` matrices at once; kind: "nn", or
    "nt" and "tn" with one side lying transposed in memory."""

    kind: str
    batch: int
    m: int
    k: int
    n: int
    count: int

    @property
    def name(self) -> str:
        return f"{self.kind} {self.batch}x[{self.m},{self.k}]x[{self.k},{self.n}]"

    @property
    def flops(self) -> int:
        """Of all `count` of them."""
        return 2 * self.batch * self.m * self.k * self.n * self.count


def products(batch: int, length: int) -> list[Product]:
    """The products of a training step of the encoder."""
    tokens, full, wide = batch * length, LAYERS - 1, 4 * HIDDEN
    linear = [  # rows, in, out, how many
        (tokens, HIDDEN, HIDDEN, 4 * full + 2),
        (tokens, HIDDEN, wide, full),
        (tokens, wide, HIDDEN, full),
        (batch, HIDDEN, HIDDEN, 2),
        (batch, HIDDEN, wide, 1),
        (batch, wide, HIDDEN, 1),
    ]
    found = []
    for rows, before, after, count in linear:
        found += [
            Product("nn", 1, rows, before, after, count),
            Product("nt", 1, rows, after, before, count),
            Product("tn", 1, before, rows, after, count),
        ]
    many, size = batch * HEADS, HIDDEN // HEADS
    for queries, count in ((length, full), (1, 1)):
        # Scores and the gradient of the probabilities; the mixed values and the gradient of the
        # queries; the gradients of keys and values.
        found += [
            Product("nt", many, queries, size, length, 2 * count),
            Product("nn", many, queries, length, size, 2 * count),
            Product("tn", many, length, queries, size, 2 * count),
        ]
    return found


def limit(options: Options, scratch: Path) -> Iterator[Job]:
    folder = inputs.write_model("classifier", scratch, ["0", "1"], {})
    for length in LENGTHS:
        made = products(options.batch, length)
        spec: dict[str, Any] = {
            "job": "limit",
            "batch": options.batch,
            "length": length,
            "steps": options.steps,
            "learning_rate": 2e-5,
            "warmup": options.warmup,
            "least": 0.02 if options.quick else 0.5,
            "products": [vars(one) for one in made],
        }
        theirs = spec | {"model": str(folder / "hf")}
        script = "benchmarks/suite/products.py"
        found = [
            Contestant(
                "ours",
                "ours, a training step",
                "benchmarks/suite/ours.py",
                spec | {"model": str(folder / "paddle")},
                OURS,
            ),
            Contestant(
                "torch", "PyTorch, a training step", "benchmarks/peers/torch_step.py", theirs
            ),
            Contestant(
                "ours_products", "Paddle's products", script, spec | {"with": "paddle"}, OURS
            ),
            Contestant("torch_products", "PyTorch's products", script, spec | {"with": "torch"}),
        ]
        job = Job(f"limit {options.batch}x{length}", "samples/s", True, {}, {}, {})
        job.settings = {"steps": options.steps, "gflop_per_step": gflop(made)}
        contest.rounds(job, contest.chosen(found, options), options, scratch)
        yield job


def gflop(made: list[Product]) -> float:
    """Of a step, in billions."""
    return sum(one.flops for one in made) / 1e9


def best_seconds(blocks: Mapping[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Of each product's name, the seconds that one of it takes: the median over the rounds, of the
    library that is faster at it."""
    found: dict[str, float] = {}
    for several in blocks.values():
        for name in several[0]["products"]:
            median = statistics.median(block["products"][name] for block in several)
            found[name] = min(median, found.get(name, median))
    return found


@dataclass(frozen=True)
class Shares:
    """rate, own: GFLOP/s of the fastest product, and of a step's products one after the other;
    of_rate, of_own: what share of these a step reaches."""

    rate: float
    own: float
    of_rate: float
    of_own: float


def shares(step_seconds: float, made: list[Product], seconds: Mapping[str, float]) -> Shares:
    """What a step of `step_seconds` reaches; seconds: as `best_seconds` gives them."""
    rate = max(one.flops / one.count / seconds[one.name] for one in made) / 1e9
    own = gflop(made) / sum(one.count * seconds[one.name] for one in made)
    reached = gflop(made) / step_seconds
    return Shares(rate, own, reached / rate, reached / own)
