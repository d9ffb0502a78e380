"""Limits on what a file may make the programs do. A small file can claim, repeat or expand to far
more than it holds; work and memory are checked against these limits before they are spent.

docs/SECURITY.md lists them. The variable BERT_PADDLE_MAX_<NAME> raises (or lowers) one.
"""

import os
from dataclasses import dataclass

from bert_paddle.common.errors import DataError, UserError

_PREFIX = "BERT_PADDLE_MAX_"


@dataclass(frozen=True)
class Limit:
    """The largest number allowed by default, and of what."""

    default: int
    unit: str


LIMITS = {
    "PICKLE_OPERATIONS": Limit(1_000_000, "pickle operations"),
    "COLUMNS": Limit(10_000, "columns"),
    "CLASSES": Limit(50_000, "classes"),
    "JSON_BYTES": Limit(1 << 28, "bytes of JSON"),
    "YAML_BYTES": Limit(1 << 18, "bytes of YAML"),
    "VOCABULARY_BYTES": Limit(1 << 28, "bytes of vocabulary"),
    "MANIFEST_FILES": Limit(10_000, "files in its manifest"),
    "EXPANSION": Limit(200, "bytes for each byte of the file"),
}


def limit(name: str) -> int:
    """The limit `name`, from its variable or its default. Raises UserError for a variable that is
    not a positive number."""
    text = os.environ.get(_PREFIX + name, "")
    if not text:
        return LIMITS[name].default
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise UserError(f"{_PREFIX}{name} must be a positive number, not {text[:40]!r}")
    return int(text)


def check(name: str, value: int, place: str, error: type[Exception] = DataError) -> None:
    """Raise `error` if `value` is above the limit `name`. place: the file, for the message."""
    if value > limit(name):
        raise error(exceeded(name, value, place))


def exceeded(name: str, value: int, place: str) -> str:
    """The message for a file that is above a limit; `value` may be the number counted so far."""
    return (
        f"{place} has {value:,} {LIMITS[name].unit} or more, and {limit(name):,} are allowed: if "
        f"you trust the file, set {_PREFIX}{name} to a larger number"
    )
