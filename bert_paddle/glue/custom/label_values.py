"""One reading of a label for all formats: what CSV and TSV write as text, JSON may write as a
number, a truth value or null.

    missing     null, NaN, "nan" in any case, an empty or blank field     ""
    truth       true, "True", "TRUE"                                      "true"
    integers    2, 2.0, "2.0", "+2" (pandas writes integers as floats
                where some are missing)                                   "2"
    other       as spelled, without blanks around, in Unicode's composed form (NFC)

Case otherwise matters, and so do decimals: "1.50" is not "1.5".
"""

import math
import unicodedata
from collections.abc import Iterable

_TRUTH_VALUES = ("true", "false")
# What programs write for a missing value. As labels and texts they are kept, with a warning.
MISSING_WORDS = frozenset(
    ("None", "null", "NULL", "Null", "NA", "N/A", "#N/A", "<NA>", "NaT", "nan", "NaN", "NAN")
)


def normalize_label(text: str) -> str:
    """The label that a text spells; "" for a missing one."""
    text = unicodedata.normalize("NFC", text.strip())
    lower = text.lower()
    if lower in _TRUTH_VALUES:
        return lower
    if lower.lstrip("+-") == "nan":
        return ""
    integer, point, decimals = text.partition(".")
    is_whole = not point or bool(decimals and not decimals.strip("0"))
    if is_whole and integer[1:].isdecimal() and integer[0] in "+-":
        return integer[1:] if integer[0] == "+" or not integer[1:].strip("0") else integer
    return integer if point and is_whole and integer.isdecimal() else text


def label_of(value: str | float | bool | None) -> str:
    """The label that a field of a data file holds."""
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    return normalize_label(str(value))


def differing_in_case(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of names that are equal but for the case of their letters."""
    first: dict[str, str] = {}
    return [
        (first[name.casefold()], name)
        for name in names
        if first.setdefault(name.casefold(), name) != name
    ]
