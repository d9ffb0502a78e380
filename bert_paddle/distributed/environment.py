"""Numbers in variables of the environment, which launchers and users set."""

import math
import os

from bert_paddle.common.errors import UserError


def whole_number(name: str, default: int) -> int:
    """The number in a variable, from 0. Raises UserError for any other text."""
    text = os.environ.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise UserError(f"{name}={text[:40]} must be a whole number: unset or correct it")
    return int(text)


def seconds(name: str, default: float) -> float:
    """The seconds in a variable; the default if it is not set or empty. Raises UserError for any
    other text than a number."""
    text = os.environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise UserError(f"{name}={text[:40]} must be a number of seconds: unset or correct it")
    return value
