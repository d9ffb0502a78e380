"""Converting the text of a flag into its value: number, switch or choice."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# The text of a flag given without a value; no argument of a process can contain "\0".
NO_VALUE = "\0no value"
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

# Of a file or folder, on all usual file systems, and of a path.
_MAX_NAME_BYTES, _MAX_PATH_BYTES = 255, 4095


def convert(metadata: Any, text: str) -> Any:
    """Convert the text of a flag to its value. metadata: of the flag's field, see `flags.flag`.

    Raises ValueError with a message that continues a sentence starting with the flag's name.
    """
    if metadata["kind"] == "bool":
        if text == NO_VALUE or text.lower() in TRUE:
            return True
        if text.lower() in FALSE:
            return False
        raise ValueError(f"is a switch and takes 1, 0, true or false, not {text!r}")
    if text == NO_VALUE:
        raise ValueError("needs a value")
    if metadata["kind"] == "str":
        is_path = metadata["path"] is not None and text not in metadata["keywords"]
        check_text(text, is_path, metadata["utf8"])
        return _choice(metadata["choices"], text) if metadata["choices"] else text
    value = _number(metadata["kind"], text, metadata["share_below_1"])
    if expected := _range_violation(metadata, value):
        raise ValueError(f"must be {expected}, not {text}")
    return value


def check_text(text: str, is_path: bool, utf8: bool) -> None:
    """Raise ValueError for what can be written into no settings file, or be no file's name."""
    if not text.strip():
        raise ValueError("must not be empty")
    if "\0" in text:
        raise ValueError(f"must not contain a NUL character: {text!r}")
    try:
        encoded = text.encode("utf-8", "strict" if utf8 else "surrogateescape")
    except UnicodeEncodeError:
        way_out = ": rename it, or give a link to it" if is_path else ""
        raise ValueError(f"is not UTF-8 ({text!r}){way_out}") from None
    if is_path:
        _check_path(text, encoded)


def _check_path(text: str, encoded: bytes) -> None:
    for kind, separators, limit in (
        ("name", b"[/,]", _MAX_NAME_BYTES),
        ("path", b",", _MAX_PATH_BYTES),
    ):
        longest = max(map(len, re.split(separators, encoded)))
        if longest > limit:
            raise ValueError(
                f"has a {kind} of {longest:,} bytes, and file systems allow {limit:,}: give a "
                "shorter one"
            )
    try:
        Path(text).expanduser()
    except RuntimeError:
        user = text.partition("/")[0]
        raise ValueError(f"begins with {user}, whose home directory is not known") from None


def _choice(choices: Sequence[str], text: str) -> str:
    """The choice that `text` names, in any case."""
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise ValueError(f"must be one of {', '.join(choices)}, not {text!r}")


def _number(kind: str, text: str, share_below_1: bool) -> float | int:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"must be a number, not {text!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {text!r}")
    if kind == "float" or share_below_1 and 0 < value < 1:
        return value
    if value != int(value):
        raise ValueError(f"must be a whole number, not {text!r}")
    return int(value)


def _range_violation(metadata: Any, value: float) -> str | None:
    """What a value should be, such as "at least 1 (or -1)"; None if it is in range."""
    alternative = "" if metadata["sentinel"] is None else f" (or {metadata['sentinel']})"
    if value == metadata["sentinel"]:
        return None
    if metadata["minimum"] is not None and value < metadata["minimum"]:
        return f"at least {metadata['minimum']}{alternative}"
    if metadata["exclusive_minimum"] is not None and value <= metadata["exclusive_minimum"]:
        return f"greater than {metadata['exclusive_minimum']}{alternative}"
    if metadata["maximum"] is not None and value > metadata["maximum"]:
        return f"at most {metadata['maximum']}{alternative}"
    return None
