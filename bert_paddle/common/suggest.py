"""Did you mean ...? The name that was meant by one that does not exist: a typing mistake, never an
unrelated name."""

from collections.abc import Iterable

_MAX_DISTANCE = 3
_CHARACTERS_PER_MISTAKE = 5
# Words of which one is not a mistyped form of another: flags that differ in them mean other things.
_ALTERNATIVES = (
    {"cpu", "gpu", "npu", "xpu"},
    {"min", "max"},
    {"train", "eval", "test", "dev", "predict"},
    {"steps", "iters", "epochs"},
    {"fp16", "bf16"},
)
# The comparison takes time quadratic in the length; longer names are not typed.
_MAX_CHARACTERS = 200


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """The end of a message about an unknown name: ", did you mean seed?", or `otherwise` if none is
    near."""
    near = nearest(name, names)
    return f", did you mean {near[0]}?" if near else otherwise


def nearest(name: str, names: Iterable[str], most: int = 1) -> list[str]:
    """Up to `most` of the names that this one may be a mistyped form of, the nearest first: with
    few typing mistakes, one for five characters, or other case, order or separators of words."""
    if len(name) > _MAX_CHARACTERS:
        return []
    wanted = _words(name)
    limit = min(_MAX_DISTANCE, max(1, len(name.lstrip("-")) // _CHARACTERS_PER_MISTAKE))
    distances = {}
    for other in (other for other in names if len(other) <= _MAX_CHARACTERS):
        words = _words(other)
        if _mean_other_things(wanted, words):
            continue
        same_words = sorted(words) == sorted(wanted)
        distance = 0 if same_words else _distance("_".join(wanted), "_".join(words), limit + 1)
        if distance <= limit:
            distances[other] = distance
    return sorted(distances, key=lambda other: distances[other])[:most]


def _words(name: str) -> list[str]:
    return name.lower().lstrip("-").replace("-", "_").replace(" ", "_").split("_")


def _mean_other_things(words: list[str], others: list[str]) -> bool:
    """Whether two names, word by word, have different words of the same alternatives."""
    pairs = [pair for pair in zip(words, others, strict=False) if pair[0] != pair[1]]
    return any(set(pair) <= group for pair in pairs for group in _ALTERNATIVES)


def _distance(a: str, b: str, limit: int) -> int:
    """How many characters must be inserted, deleted, replaced or swapped with their neighbour to
    make `a` into `b` (optimal string alignment); `limit` if it is that many or more."""
    if abs(len(a) - len(b)) >= limit:
        return limit
    rows = [list(range(len(b) + 1))]
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            above = rows[i - 1]
            value = min(row[j - 1] + 1, above[j] + 1, above[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                value = min(value, rows[i - 2][j - 2] + 1)
            row.append(value)
        rows.append(row)
    return min(rows[-1][-1], limit)
