"""Flags declared once, as dataclass fields: parsing, checking and `--help` follow from them.

argparse does the splitting; values are converted here, so that all mistakes of a command line come
together in one answer. No heavy import: `--help` and a mistaken flag answer at once.
"""

import argparse
import dataclasses
import difflib
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from bert_paddle.errors import FlagError

Args = TypeVar("Args")
REQUIRED: Any = object()
_NO_VALUE = "\0no value"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def flag(
    default: Any,
    help: str,
    *,
    group: str,
    alias: str | None = None,
    choices: Sequence[str] | None = None,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    or_is: float | None = None,
) -> Any:
    """A dataclass field that is a command-line flag.

    default: a value, whose type gives the flag's kind (str, int, float, bool), or None or REQUIRED
    for a str. The range is [least, most], or (above, most]; `or_is` is a sentinel allowed besides,
    e.g. -1 for "not set".
    """
    kind = "str" if default is REQUIRED or default is None else type(default).__name__
    metadata = {
        "help": help,
        "group": group,
        "kind": kind,
        "alias": alias,
        "choices": choices,
        "least": least,
        "above": above,
        "most": most,
        "or_is": or_is,
        "required": default is REQUIRED,
    }
    return dataclasses.field(default=None if default is REQUIRED else default, metadata=metadata)


def declared(args_class: type) -> list[dataclasses.Field]:
    """The fields of `args_class` that are flags, in the order of declaration."""
    return [f for f in dataclasses.fields(args_class) if "kind" in f.metadata]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):  # argparse's own complaint, e.g. of an ambiguous option
        raise FlagError([message])


def parse(args_class: type[Args], description: str, argv: Sequence[str] | None = None) -> Args:
    """The flags in `argv` (default: the program's own) as one `args_class` instance.

    The instance's `given` field, where it has one, gets the names of the flags that were given.
    `problems()`, where the class has it, yields what is wrong between flags; `settle()` then fills
    in what follows from them. Raises `FlagError` with everything that is wrong; `--help` prints
    and exits 0.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    fields = declared(args_class)
    parser = _parser(fields, description)
    known, unknown = parser.parse_known_args(_join_negative_numbers(argv))
    problems = [
        _unknown(word, fields)
        for before, word in zip(["", *unknown], unknown, strict=False)
        if word.startswith("-") or not before.startswith("-")  # else the value of an unknown flag
    ]
    values: dict[str, Any] = {}
    for field in fields:
        text = getattr(known, field.name)
        if text is None:
            if field.metadata["required"]:
                problems.append(f"--{field.name} is required")
            continue
        try:
            values[field.name] = _convert(field, text)
        except ValueError as wrong:
            problems.append(f"--{field.name} {wrong}")
    args = args_class(**values)
    if hasattr(args, "given"):
        args.given = tuple(values)
    if hasattr(args, "problems"):
        problems.extend(args.problems())
    if problems:
        raise FlagError(problems)
    if hasattr(args, "settle"):
        args.settle()
    return args


def _parser(fields: list[dataclasses.Field], description: str) -> argparse.ArgumentParser:
    parser = _Parser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    groups: dict[str, Any] = {}
    for field in fields:
        about = field.metadata
        group = groups.get(about["group"])
        if group is None:
            group = groups[about["group"]] = parser.add_argument_group(about["group"])
        names = [f"--{field.name}"] + ([f"--{about['alias']}"] if about["alias"] else [])
        default = "required" if about["required"] else f"default {_shown(field.default)}"
        group.add_argument(
            *names,
            dest=field.name,
            nargs="?",
            const=_NO_VALUE,
            metavar=_metavar(about),
            help=f"{about['help']} ({default})".replace("%", "%%"),
        )
    return parser


def _metavar(about: Any) -> str:
    if about["choices"]:
        return "|".join(about["choices"])
    return {"bool": "0|1", "str": "TEXT", "float": "X"}.get(about["kind"], "N")


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    return str(int(default)) if isinstance(default, bool) else f"{default}"


def _join_negative_numbers(argv: list[str]) -> list[str]:
    """`--x -1e-5` as `--x=-1e-5`: argparse takes a negative number with an exponent for a flag."""
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and _is_negative(word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _is_negative(word: str) -> bool:
    try:
        return word.startswith("-") and float(word) <= 0
    except ValueError:
        return False


def _unknown(word: str, fields: list[dataclasses.Field]) -> str:
    if not word.startswith("-"):
        return f"unexpected {word!r} (a value without its flag?)"
    name = word.split("=")[0]
    names = [f"--{f.name}" for f in fields] + [
        f"--{f.metadata['alias']}" for f in fields if f.metadata["alias"]
    ]
    near = difflib.get_close_matches(name, names, n=1)
    return f"{name} is not a flag" + (f", did you mean {near[0]}?" if near else " (see --help)")


def _convert(field: dataclasses.Field, text: str) -> Any:
    """The value of one flag; raises ValueError with the end of the sentence `--name ...`."""
    about = field.metadata
    if about["kind"] == "bool":
        if text == _NO_VALUE or text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise ValueError(f"is a switch and takes 1, 0, true or false, not {text!r}")
    if text == _NO_VALUE:
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
