"""Two sides over several seeds: their means, and how far they are apart in standard errors."""

import math
import statistics
from collections.abc import Sequence


def head(ours: str, theirs: str) -> str:
    """What the cells of `compared` are."""
    return f"| {ours} | {theirs} | difference | standard error | in standard errors |"


def compared(ours: Sequence[float], theirs: Sequence[float], digits: int = 4) -> str:
    """Cells of a table row as `head` says, of at least two values on each side."""
    sides = (ours, theirs)
    means = [statistics.mean(values) for values in sides]
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in sides))
    apart = means[0] - means[1]
    ratio = f"{abs(apart) / error:.1f}" if error else "none" if not apart else "infinite"
    shown = [f"{value:.{digits}f}" for value in (*means, error)]
    return f"| {shown[0]} | {shown[1]} | {apart:+.{digits}f} | {shown[2]} | {ratio} |"
