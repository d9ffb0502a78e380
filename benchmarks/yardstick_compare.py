"""Two records of benchmarks/yardstick.py beside each other: what differs, and what it costs."""

from collections.abc import Iterator
from typing import Any

SHOWN = 3  # differences of one kind that are spelled out


def differences(before: Any, after: Any) -> list[str]:
    """A line for every value that is not the same in both, named by its place. Of many of a kind,
    such as the losses of a run, the first few and the number of the others."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    kinds: dict[tuple[str, ...], list[str]] = {}
    for place in [*old, *(place for place in new if place not in old)]:
        a, b = (repr(side[place]) if place in side else "missing" for side in (old, new))
        if a != b:
            kinds.setdefault(place[:3], []).append(f"{' > '.join(place)}: {a} -> {b}")
    found = []
    for kind, lines in kinds.items():
        found += lines[:SHOWN]
        if len(lines) > SHOWN:
            found.append(f"{' > '.join(kind)}: {len(lines) - SHOWN} more")
    return found


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no table, with the names that lead to it. An empty table is a value."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*place, name))
    else:
        yield place, value


def page(before: dict[str, Any], after: dict[str, Any], found: list[str]) -> str:
    """The comparison in Markdown; found: the differences."""
    sides = {"before": before["about"], "after": after["about"]}
    lines = ["# Before and after", "", "`python -m benchmarks.yardstick compare`", ""]
    lines += [
        f"- {side}: commit {about['commit']}, {about['time']}, {about['machine']}, "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        for side, about in sides.items()
    ]
    if any(sides["before"][name] != sides["after"][name] for name in ("machine", "versions")):
        lines += ["", "Machine or versions differ: that alone may change the last bits."]
    count = sum(1 for _ in _leaves(before["equal"]))
    verdict = f"{count} values: {'all equal' if not found else 'these differ'}."
    lines += ["", "## What must be equal", "", verdict, ""]
    lines += [f"- {name}: {_held(before['equal'][name])}" for name in before["equal"]]
    if found:
        lines += ["", *(f"- DIFFERS: {line}" for line in found)]
    return "\n".join([*lines, "", "## Memory and time", "", *_costs(before, after)]) + "\n"


def _held(part: dict[str, Any]) -> str:
    """What a part of a record holds, in a few words."""
    return f"{sum(1 for _ in _leaves(part))} values of {', '.join(part)}"


def _costs(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The table of what is only shown: peak memory and median step time of each run."""
    lines = [
        "Not judged: other programs on the machine disturb the times.",
        "",
        "| run | MB before | after | ratio | ms a step before | after | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, old in before["measured"].items():
        new = after["measured"].get(name)
        cells = [name]
        for key in ("peak_mb", "step_ms"):
            ratio = [str(new[key]), f"{new[key] / old[key]:.3f}"] if new else ["missing", ""]
            cells += [str(old[key]), *ratio]
        lines.append(f"| {' | '.join(cells)} |")
    return lines
