"""Parsing a command line by the flags that a class declares (common.flag_fields).

argparse splits the command line; values are converted here, so that all mistakes are reported
together. No heavy imports: `--help` and messages about mistakes must appear immediately.
"""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bert_paddle.common import config_file
from bert_paddle.common.errors import FlagError
from bert_paddle.common.flag_fields import (
    REQUIRED,
    declared_flags,
    fields_by_name,
    flag,
    flag_names,
    optional_switch,
    positional,
    positional_field,
    spellings,
)
from bert_paddle.common.flag_texts import FlagText, peer_flags, resolve
from bert_paddle.common.flag_values import FALSE, NO_VALUE, TRUE, check_text, convert
from bert_paddle.common.suggest import did_you_mean

__all__ = [  # with the declaration, so that most modules import only this one
    "REQUIRED",
    "build_args",
    "declared_flags",
    "fields_by_name",
    "flag",
    "flag_names",
    "optional_switch",
    "parse",
    "parser",
    "positional",
    "positional_field",
    "save_settings",
    "spellings",
]

Args = TypeVar("Args")
_PEERS = "flags of PaddleNLP's and Hugging Face's programs (docs/FLAGS.md)"
_GIVEN = "given flags"  # in argparse's namespace; no flag has a blank in its name
_SWITCH = "0|1"  # how --help shows the value of a bool flag


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):  # argparse's own errors, e.g. an ambiguous option
        raise FlagError([message])


class _Record(argparse.Action):
    """Collects (name, FlagText) in the order of the command line, under _GIVEN."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        given = vars(namespace).setdefault(_GIVEN, [])
        name = (option or "").lstrip("-")
        given.append((name, FlagText(values, f"--{self.dest if len(name) == 1 else name}")))


class _Help(argparse.RawDescriptionHelpFormatter):
    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        """Show the value as optional for switches only; the parser accepts any flag without one, so
        that a missing value is reported with the other mistakes."""
        text = super()._format_args(action, default_metavar)
        return text if action.metavar == _SWITCH else text.strip("[]")


def parse(args_class: type[Args], description: str, argv: Sequence[str] | None = None) -> Args:
    """The flags in `argv` (default: sys.argv) as an `args_class` instance.

    The command line overrides what `--config FILE.yaml` sets. The instance's `explicit_flags`
    field, if it has one, receives the names of the flags set in either place, and `config_path` the
    file's path. The class may have:
    `overridden_flags(on_command_line, in_config)`, a static method that takes the names of the
    flags set in each place and returns flags of the file to ignore, because flags on the command
    line contradict them;
    `problems()`, which yields messages about contradictory flags; and `finalize()`, which then sets
    values derived from other flags. Raises `FlagError` with all problems; `--help` prints and
    exits 0.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    fields, positional_args = declared_flags(args_class), positional_field(args_class)
    after_dashes: list[str] = []
    if positional_args:
        if "--" in argv:
            argv, after_dashes = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
        argv = _separate_switches(argv, fields)
    parsed, unparsed = parser(args_class, description).parse_known_args(
        _join_negative_numbers(argv)
    )
    problems, positional_values = list[str](), list[str]()
    for previous, argument in zip(["", *unparsed], unparsed, strict=False):
        if _is_flag(argument) or not (positional_args or _is_flag(previous)):
            problems.append(_unknown_flag(argument, args_class))
        elif not _is_flag(previous):  # else the value of an unknown flag
            positional_values.append(argument)
    positional_values += after_dashes
    given = resolve(args_class, vars(parsed).get(_GIVEN, ()), problems)
    texts, notes = given.texts, given.notes
    if parsed.config and len(parsed.config) > 1:
        problems.append("--config is given more than once: put the settings into one file")
    if parsed.config and NO_VALUE in parsed.config:
        problems.append("--config needs a value")
    elif parsed.config:
        settings = config_file.read(parsed.config[-1], args_class)
        problems += settings.problems
        in_file = resolve(args_class, settings.given, problems)
        overridden_flags = getattr(args_class, "overridden_flags", None)
        for name in overridden_flags(set(texts), set(in_file.texts)) if overridden_flags else ():
            in_file.texts.pop(name, None)
        texts, notes = in_file.texts | texts, [*in_file.notes, *notes]
        positional_values = positional_values or settings.positional
    args = build_args(args_class, texts, problems, positional_values)
    if hasattr(args, "notes"):
        vars(args)["notes"] = tuple(notes)
    if parsed.config and hasattr(args, "config_path"):
        vars(args)["config_path"] = parsed.config[-1]
    return args


def build_args(
    args_class: type[Args],
    texts: Mapping[str, FlagText],
    earlier_problems: Sequence[str] = (),
    positional_values: Sequence[str] = (),
) -> Args:
    """An `args_class` instance from unconverted values by flag name, checked and finalized as in
    `parse`. Raises `FlagError` with the earlier problems and those found here."""
    problems, values = list(earlier_problems), dict[str, Any]()
    for field in declared_flags(args_class):
        flag_text = texts.get(field.name)
        if flag_text is None:
            if field.metadata["required"]:
                problems.append(f"--{field.name} is required")
            continue
        try:
            values[field.name] = convert(field.metadata, flag_text.text)
        except ValueError as error:
            problems.append(f"{flag_text.label} {error}")
    args = args_class(**values)
    if positional_args := positional_field(args_class):
        setattr(args, positional_args.name, tuple(positional_values))
        metadata = positional_args.metadata
        if len(positional_values) < metadata["minimum"]:
            problems.append(f"{metadata['positional']} is missing: {metadata['help']}")
        problems += _wrong_paths(metadata, positional_values)
    if hasattr(args, "explicit_flags"):
        args.explicit_flags = tuple(values)
    if hasattr(args, "command_line_flags"):
        on_it = [name for name in values if texts[name].label == f"--{name}"]
        args.command_line_flags = tuple(on_it)
    if hasattr(args, "problems"):
        problems.extend(args.problems())
    if problems:
        raise FlagError(problems)
    if hasattr(args, "finalize"):
        args.finalize()
    return args


def _wrong_paths(metadata: Mapping[str, Any], values: Sequence[str]) -> Iterator[str]:
    """Problems with the positional arguments that name files or folders, one message each."""
    for value in values[: metadata["paths"]]:
        try:
            check_text(value, is_path=True, utf8=False)
        except ValueError as error:
            yield f"{metadata['positional'].split()[0].rstrip('.')} {error}"


def save_settings(args: Any, folder: Path) -> None:
    """Write all flags into the folder's settings.yaml, which `--config` reads. If that is the file
    which --config has read, it stays as it is."""
    path = folder / config_file.SETTINGS_FILE
    if args.config_path is None or not path.exists() or not path.samefile(args.config_path):
        config_file.write(path, args, declared_flags(type(args)))


def parser(args_class: type, description: str) -> argparse.ArgumentParser:
    """An argparse parser for splitting the command line, for `--help` and for shell completion."""
    fields, positional_args = declared_flags(args_class), positional_field(args_class)
    metadata = positional_args.metadata if positional_args else None
    required = [f"--{f.name} {_metavar(f.metadata)}" for f in fields if f.metadata["required"]]
    usage = ["%(prog)s", *required, *([metadata["positional"]] if metadata else []), "[flags]"]
    result = _Parser(
        usage=" ".join(usage),
        description=description,
        formatter_class=_Help,
        allow_abbrev=False,
        epilog=f"{metadata['positional']}: {metadata['help']}" if metadata else None,
    )
    # Groups with the program's own flags come before those with only inherited flags.
    own = [f for f in fields if f.name in vars(args_class).get("__annotations__", {})]
    groups: dict[str, Any] = {}
    for field in (*own, *fields):
        name = field.metadata["group"]
        if name not in groups:
            groups[name] = result.add_argument_group(name)
    for field in fields:
        default = (
            "required" if field.metadata["required"] else f"default {_default_text(field.default)}"
        )
        groups[field.metadata["group"]].add_argument(
            *spellings(field),
            dest=field.name,
            action=_Record,
            nargs="?",
            const=NO_VALUE,
            metavar=_metavar(field.metadata),
            help=f"{field.metadata['help']} ({default})".replace("%", "%%"),
        )
    peer_group = result.add_argument_group(_PEERS)  # not shown if it is empty
    for peer in peer_flags(args_class).values():
        peer_group.add_argument(
            f"--{peer.name}",
            action=_Record,
            nargs="?",
            const=NO_VALUE,
            metavar="TEXT",
            help=peer.help.replace("%", "%%") if peer.has_effect else argparse.SUPPRESS,
        )
    result.add_argument_group("settings from a file").add_argument(
        config_file.FLAG,
        action="append",  # so that a second --config can be reported as an error
        nargs="?",
        const=NO_VALUE,
        metavar="FILE.yaml",
        help="flags by name, such as a run's settings.yaml; the command line overrides the file "
        "(default none)",
    )
    return result


def _metavar(metadata: Any) -> str:
    if metadata["choices"]:
        return "|".join(metadata["choices"])
    return {"bool": _SWITCH, "str": "TEXT", "float": "X"}.get(metadata["kind"], "N")


def _default_text(default: Any) -> str:
    if default is None:
        return "none"
    return str(int(default)) if isinstance(default, bool) else f"{default}"


def _separate_switches(argv: list[str], fields: list[dataclasses.Field]) -> list[str]:
    """Turn `--json some text` into `--json=1 some text`, since argparse would take `some` for the
    switch's value. Only 1, 0, true, ... are values of a switch."""
    switches = {name for f in fields if f.metadata["kind"] == "bool" for name in spellings(f)}
    lacks_value = [
        argument in switches and following.lower() not in (*TRUE, *FALSE)
        for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue="")
    ]
    return [f"{a}=1" if lacks else a for a, lacks in zip(argv, lacks_value, strict=True)]


def _join_negative_numbers(argv: list[str]) -> list[str]:
    """Turn `--x -1e-5` into `--x=-1e-5`: argparse takes negative numbers with exponents
    for flags."""
    joined: list[str] = []
    for argument in argv:
        after_flag = joined and joined[-1].startswith("--") and "=" not in joined[-1]
        if after_flag and _is_negative(argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _is_negative(argument: str) -> bool:
    try:
        return argument.startswith("-") and float(argument) <= 0
    except ValueError:
        return False


def _is_flag(argument: str) -> bool:
    return argument.startswith("-") and argument != "-" and " " not in argument


def _unknown_flag(argument: str, args_class: type) -> str:
    if not argument.startswith("-"):
        return f"unexpected {argument!r} (a value without its flag?)"
    name = argument.split("=")[0]
    names = [name for f in declared_flags(args_class) for name in spellings(f)]
    names += [config_file.FLAG, *(f"--{peer}" for peer in peer_flags(args_class))]
    return f"{name} is not a flag" + did_you_mean(name, names, " (see --help)")
