"""Did you mean …? The names most like an unknown one."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """The end of a message about an unknown name: the nearest of `names`, or `otherwise` if none is
    near."""
    near = nearest(name, names)
    return f", did you mean {near[0]}?" if near else otherwise


def nearest(name: str, names: Iterable[str], most: int = 1) -> list[str]:
    """Up to `most` of the names that are like this one, the nearest first."""
    return difflib.get_close_matches(name, list(names), n=most)
