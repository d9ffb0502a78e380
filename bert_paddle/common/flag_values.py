"""The value of a flag from its text: number, switch, choice; what is wrong with it as words."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

NO_VALUE = "\0no value"  # the text of a flag that stands alone
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def convert(about: Any, text: str) -> Any:
    """The value of one flag, `about` being its field's metadata.

    Raises ValueError with the end of the sentence that begins with the flag's name.
    """
    if about["kind"] == "bool":
        if text == NO_VALUE or text.lower() in TRUE:
            return True
        if text.lower() in FALSE:
            return False
        raise ValueError(f"is a switch and takes 1, 0, true or false, not {text!r}")
    if text == NO_VALUE:
        raise ValueError("needs a value")
    if about["kind"] == "str":
        if not text.strip():
            raise ValueError("must not be empty")
        return _choice(about["choices"], text) if about["choices"] else text
    value = _number(about["kind"], text)
    for wrong in _out_of_range(about, value):
        raise ValueError(f"must be {wrong}, not {text}")
    return value


def _choice(choices: Sequence[str], text: str) -> str:
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise ValueError(f"must be one of {', '.join(choices)}, not {text!r}")


def _number(kind: str, text: str) -> float | int:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"must be a number, not {text!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {text!r}")
    if kind == "float":
        return value
    if value != int(value):
        raise ValueError(f"must be a whole number, not {text!r}")
    return int(value)


def _out_of_range(about: Any, value: float) -> Iterator[str]:
    besides = "" if about["or_is"] is None else f" (or {about['or_is']})"
    if value == about["or_is"]:
        return
    if about["least"] is not None and value < about["least"]:
        yield f"at least {about['least']}{besides}"
    if about["above"] is not None and value <= about["above"]:
        yield f"greater than {about['above']}{besides}"
    if about["most"] is not None and value > about["most"]:
        yield f"at most {about['most']}{besides}"
