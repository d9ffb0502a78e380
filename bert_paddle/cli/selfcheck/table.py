"""The report as plain text, at most 100 columns wide, to be pasted where someone asks for it."""

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bert_paddle.cli.selfcheck.facts import OK, Fact

WIDTH = 100
_NAME = 16  # columns of a fact's name
_WAY, _RESULT = 42, 8


def fact_lines(title: str, facts: Iterable[Fact]) -> Iterator[str]:
    """A section of facts, one a line; those that are off or worth knowing are marked."""
    yield title
    for fact in facts:
        mark = "" if fact.status == OK else f"[{fact.status}] "
        indent = " " * (_NAME + 3)
        lines = textwrap.wrap(
            mark + fact.value, WIDTH, initial_indent=indent, subsequent_indent=indent
        )
        text = "\n".join(lines) or indent
        yield f"  {fact.name:<{_NAME}} {text[len(indent) :]}"
    yield ""


def way_lines(results: Iterable[Mapping[str, Any]], steps: int) -> Iterator[str]:
    """The section of the ways of computing. results: as check.check_way returns them."""
    yield f"correctness: {steps} steps of a small BERT; largest difference from float64 (allowed)"
    yield f"  {'':<{_WAY}}{'':<{_RESULT}}{'loss':<17}{'gradient':<17}weights"
    for result in results:
        line = f"  {result['way']:<{_WAY}}{result['status']:<{_RESULT}}"
        if result["found"]:
            pairs = zip(result["found"].values(), result["allowed"].values(), strict=True)
            line += "".join(f"{f'{found:.0e} ({allowed:.0e})':<17}" for found, allowed in pairs)
        if result["reason"]:
            yield from _wrapped(line, result["reason"])
        else:
            yield line.rstrip()
    yield ""


def _wrapped(line: str, reason: str) -> Iterator[str]:
    """A line and a reason behind it, or below it if there are numbers in between."""
    indent = " " * (_WAY + _RESULT + 2)
    if line.strip() and len(line.rstrip()) > len(indent):
        yield line.rstrip()
        line = indent
    yield from textwrap.wrap(
        reason, WIDTH, initial_indent=f"{line:<{len(indent)}}", subsequent_indent=indent
    )


def speed_lines(results: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The section of --speed. results: as check.check_speed returns them."""
    yield "speed: rows x tokens per step; on a GPU float32 is what Paddle makes of it (TF32)"
    titles = (
        f"{'steps/s':>9}{'samples/s':>10}{'tokens/s':>10}{'memory':>9}{'TFLOP/s':>9}{'peak':>6}"
    )
    yield f"  {'':<44}{titles}"
    for result in results:
        line = f"  {result['shape']:<44}"
        speed = result["speed"]
        if not speed:
            yield from _wrapped(
                f"{line[: _WAY + 2]}{result['status']:<{_RESULT}}", result["reason"]
            )
            continue
        share = speed["share_of_peak"]
        line += f"{speed['steps_per_second']:9.3g}{speed['samples_per_second']:10.3g}"
        line += f"{speed['tokens_per_second']:10.0f}{speed['peak_memory'] / 1e9:6.1f} GB"
        line += f"{speed['tflops']:9.3g}" + (f"{share:6.0%}" if share else "")
        yield line
    yield ""


def result_lines(content: Mapping[str, Any]) -> Iterator[str]:
    """The last lines: how many ways agree, and what is wrong."""
    counts = Counter(result["status"] for result in content["ways"])
    ways = ", ".join(f"{count} {status}" for status, count in counts.items())
    problems = content["problems"]
    if not problems:
        yield f"result: nothing is wrong (ways of computing: {ways})"
        return
    yield f"result: {len(problems)} thing(s) are wrong (ways of computing: {ways})"
    for problem in problems:
        yield from textwrap.wrap(problem, WIDTH, initial_indent="  - ", subsequent_indent="    ")
