"""Flags declared once, as dataclass fields: parsing, checking and `--help` follow from them.

argparse does the splitting; values are converted here, so that all mistakes of a command line come
together in one answer. No heavy import: `--help` and a mistaken flag answer at once.
"""

import argparse
import dataclasses
import difflib
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bert_paddle.common import config_file
from bert_paddle.common.config_file import Given
from bert_paddle.common.errors import FlagError
from bert_paddle.common.flag_values import FALSE, NO_VALUE, TRUE, convert

Args = TypeVar("Args")
REQUIRED: Any = object()
_SWITCH = "0|1"


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
    many: bool = False,
) -> Any:
    """A dataclass field that is a command-line flag.

    default: a value, whose type gives the flag's kind (str, int, float, bool), or None or REQUIRED
    for a str. alias: another name; one letter makes it -x. The range is [least, most], or (above,
    most]; `or_is` is a sentinel allowed besides, e.g. -1 for "not set". many: a str of values
    separated by commas, for which a settings file may have a list.
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
        "many": many,
        "required": default is REQUIRED,
    }
    return dataclasses.field(default=None if default is REQUIRED else default, metadata=metadata)


def positional(metavar: str, help: str, *, least: int = 0) -> Any:
    """A dataclass field for the words of a command line that belong to no flag: tuple[str, ...].

    metavar: how the usage line and messages call them; least: how many there must be. What follows
    a lone `--` are words, also where they begin with a dash.
    """
    return dataclasses.field(default=(), metadata={"words": metavar, "help": help, "least": least})


def declared_flags(args_class: type) -> list[dataclasses.Field]:
    """The fields of `args_class` that are flags, in the order of declaration."""
    return [f for f in dataclasses.fields(args_class) if "kind" in f.metadata]


def positional_field(args_class: type) -> dataclasses.Field | None:
    """The field of `args_class` that `words` made, if any."""
    return next((f for f in dataclasses.fields(args_class) if "words" in f.metadata), None)


def spellings(field: dataclasses.Field) -> list[str]:
    """A flag as it is typed: --name, and its alias."""
    alias = field.metadata["alias"]
    if not alias:
        return [f"--{field.name}"]
    return [f"--{field.name}", f"-{alias}" if len(alias) == 1 else f"--{alias}"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):  # argparse's own complaint, e.g. of an ambiguous option
        raise FlagError([message])


class _Help(argparse.RawDescriptionHelpFormatter):
    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        """Only a switch can do without its value; the parser lets all, to complain itself."""
        shown = super()._format_args(action, default_metavar)
        return shown if action.metavar == _SWITCH else shown.strip("[]")


def parse(args_class: type[Args], description: str, argv: Sequence[str] | None = None) -> Args:
    """The flags in `argv` (default: the program's own) as one `args_class` instance.

    What `--config FILE.yaml` sets is taken where the command line does not set it. The instance's
    `given` field, where it has one, gets the names of the flags that were given in either way.
    `displaced(typed, filed)`, where the class has it, says which flags of the file yield to those
    of the command line beside the ones of the same name.
    `problems()`, where the class has it, yields what is wrong between flags; `settle()` then fills
    in what follows from them. Raises `FlagError` with everything that is wrong; `--help` prints
    and exits 0.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    fields, loose, behind = declared_flags(args_class), positional_field(args_class), list[str]()
    if loose:
        if "--" in argv:
            argv, behind = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
        argv = _switches_apart(argv, fields)
    known, unknown = parser(args_class, description).parse_known_args(_join_negative_numbers(argv))
    problems, found = list[str](), list[str]()
    for before, word in zip(["", *unknown], unknown, strict=False):
        if _is_flag(word) or not (loose or _is_flag(before)):
            problems.append(_unknown(word, fields))
        elif not _is_flag(before):  # else the value of an unknown flag
            found.append(word)
    found += behind
    texts = {f.name: Given(getattr(known, f.name), f"--{f.name}") for f in fields}
    texts = {name: given for name, given in texts.items() if given.text is not None}
    if known.config and len(known.config) > 1:
        problems.append("--config is given more than once: put the settings into one file")
    if known.config and NO_VALUE in known.config:
        problems.append("--config needs a value")
    elif known.config:
        settings = config_file.read(known.config[-1], fields, loose)
        problems += settings.problems
        displaced = getattr(args_class, "displaced", None)
        for name in displaced(set(texts), set(settings.texts)) if displaced else ():
            settings.texts.pop(name, None)
        texts, found = settings.texts | texts, found or settings.words
    return build_args(args_class, texts, problems, found)


def build_args(
    args_class: type[Args],
    texts: Mapping[str, Given],
    known_problems: Sequence[str] = (),
    found: Sequence[str] = (),
) -> Args:
    """An `args_class` instance of the texts given by flag name, checked and settled as `parse`
    says; found: the words that belong to no flag. Raises `FlagError` with everything wrong."""
    problems, values = list(known_problems), dict[str, Any]()
    for field in declared_flags(args_class):
        given = texts.get(field.name)
        if given is None:
            if field.metadata["required"]:
                problems.append(f"--{field.name} is required")
            continue
        try:
            values[field.name] = convert(field.metadata, given.text)
        except ValueError as wrong:
            problems.append(f"{given.called} {wrong}")
    args = args_class(**values)
    loose = positional_field(args_class)
    if loose:
        setattr(args, loose.name, tuple(found))
        if len(found) < loose.metadata["least"]:
            problems.append(f"{loose.metadata['words']} is missing: {loose.metadata['help']}")
    if hasattr(args, "given"):
        args.given = tuple(values)
    if hasattr(args, "problems"):
        problems.extend(args.problems())
    if problems:
        raise FlagError(problems)
    if hasattr(args, "settle"):
        args.settle()
    return args


def save_settings(args: Any, folder: Path) -> None:
    """Write all settings into a folder's settings.yaml, which `--config` takes."""
    config_file.write(folder / config_file.SETTINGS_FILE, args, declared_flags(type(args)))


def parser(args_class: type, description: str) -> argparse.ArgumentParser:
    """An argparse parser of the flags, for its splitting, its `--help` and shell completion."""
    fields, loose = declared_flags(args_class), positional_field(args_class)
    needed = [f"--{f.name} {_metavar(f.metadata)}" for f in fields if f.metadata["required"]]
    usage = ["%(prog)s", *needed, *([loose.metadata["words"]] if loose else []), "[flags]"]
    made = _Parser(
        usage=" ".join(usage),
        description=description,
        formatter_class=_Help,
        allow_abbrev=False,
        epilog=f"{loose.metadata['words']}: {loose.metadata['help']}" if loose else None,
    )
    # What is this program's own comes before what it shares.
    own = [f for f in fields if f.name in vars(args_class).get("__annotations__", {})]
    groups: dict[str, Any] = {}
    for field in (*own, *fields):
        name = field.metadata["group"]
        if name not in groups:
            groups[name] = made.add_argument_group(name)
    for field in fields:
        about = field.metadata
        default = "required" if about["required"] else f"default {_shown(field.default)}"
        groups[about["group"]].add_argument(
            *spellings(field),
            dest=field.name,
            nargs="?",
            const=NO_VALUE,
            metavar=_metavar(about),
            help=f"{about['help']} ({default})".replace("%", "%%"),
        )
    made.add_argument_group("settings from a file").add_argument(
        config_file.FLAG,
        action="append",  # a second one is told, not taken in place of the first
        nargs="?",
        const=NO_VALUE,
        metavar="FILE.yaml",
        help="flags by name, such as a run's settings.yaml; the command line wins (default none)",
    )
    return made


def _metavar(about: Any) -> str:
    if about["choices"]:
        return "|".join(about["choices"])
    return {"bool": _SWITCH, "str": "TEXT", "float": "X"}.get(about["kind"], "N")


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    return str(int(default)) if isinstance(default, bool) else f"{default}"


def _switches_apart(argv: list[str], fields: list[dataclasses.Field]) -> list[str]:
    """`--json some text` as `--json=1 some text`: only 1, 0, true, ... are a switch's value."""
    switches = {name for f in fields if f.metadata["kind"] == "bool" for name in spellings(f)}
    alone = [
        word in switches and following.lower() not in (*TRUE, *FALSE)
        for word, following in itertools.zip_longest(argv, argv[1:], fillvalue="")
    ]
    return [f"{word}=1" if bare else word for word, bare in zip(argv, alone, strict=True)]


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


def _is_flag(word: str) -> bool:
    return word.startswith("-") and word != "-" and " " not in word


def _unknown(word: str, fields: list[dataclasses.Field]) -> str:
    if not word.startswith("-"):
        return f"unexpected {word!r} (a value without its flag?)"
    name = word.split("=")[0]
    names = [config_file.FLAG, *(name for f in fields for name in spellings(f))]
    near = difflib.get_close_matches(name, names, n=1)
    return f"{name} is not a flag" + (f", did you mean {near[0]}?" if near else " (see --help)")
