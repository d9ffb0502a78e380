"""YAML files of flags: reading the file given with `--config`, writing a run's settings.yaml.

Values are read as text and converted like those on the command line, so that both accept the same
values; YAML itself would read 2e-5 as a string.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import limits
from bert_paddle.common.flag_fields import fields_by_name, positional_field
from bert_paddle.common.flag_texts import FlagText, peer_flags
from bert_paddle.common.suggest import did_you_mean

FLAG, SETTINGS_FILE = "--config", "settings.yaml"
_NULL_TAG = "tag:yaml.org,2002:null"


@dataclasses.dataclass
class Settings:
    """A file's flags, as names with their texts, its positional arguments, and messages about its
    mistakes."""

    given: list[tuple[str, FlagText]] = dataclasses.field(default_factory=list)
    positional: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def read(path: str, args_class: type) -> Settings:
    """Read a YAML (or JSON) file that maps names of the flags of `args_class` to values.

    The value of positional arguments may be a list. A null leaves a flag at its default. Does not
    raise: mistakes are in the result's `problems`, to be reported together with those on the
    command line.
    """
    settings = Settings()
    try:
        top = compose(Path(path))
    except ValueError as error:
        settings.problems.append(f"--config {path}: {error}")
        return settings
    by_name: dict[str, Any] = {**peer_flags(args_class), **fields_by_name(args_class)}
    if positional := positional_field(args_class):
        by_name[positional.name] = positional
    line_of: dict[str, int] = {}
    for key, value in top.value:
        location = f"{path}:{key.start_mark.line + 1}"
        name = str(key.value).removeprefix("--").replace("-", "_")
        field = by_name.get(name)
        if field is None:
            settings.problems.append(_unknown_flag(location, str(key.value), by_name))
        elif field.name in line_of:
            settings.problems.append(
                f"{location}: {name} is set a second time (first in line {line_of[field.name]})"
            )
        else:
            line_of[field.name] = key.start_mark.line + 1
            _store(settings, name, getattr(field, "metadata", {}), value, f"{location}: {name}")
    return settings


def _store(
    settings: Settings, name: str, metadata: Mapping[str, Any], value: Any, label: str
) -> None:
    """Put one value of the file, a YAML node, into the settings. metadata: of the flag."""
    if value.id == "mapping":
        settings.problems.append(f"{label} takes one value, not nested settings")
    elif value.id == "sequence":
        if any(item.id != "scalar" for item in value.value):
            settings.problems.append(f"{label} takes a list of values, not a nested list")
        elif "positional" in metadata:
            settings.positional = [item.value for item in value.value]
        elif metadata.get("comma_separated"):
            text = ",".join(item.value for item in value.value)
            settings.given.append((name, FlagText(text, label)))
        else:
            settings.problems.append(f"{label} takes one value, not a list")
    elif value.tag == _NULL_TAG:
        return
    elif "positional" in metadata:
        settings.positional = [value.value]
    else:
        settings.given.append((name, FlagText(value.value, label)))


def compose(path: Path) -> Any:
    """The file's top-level mapping as a YAML node, since nodes have line numbers. Raises ValueError
    if the file cannot be read or has no mapping."""
    import yaml

    try:
        limits.check("YAML_BYTES", path.stat().st_size, "it", ValueError)
        top = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError("it is not a text file (UTF-8)") from None
    except RecursionError:
        raise ValueError("it is nested too deeply for a settings file") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"it is not valid YAML{line}: {problem}") from None
    if top is None:
        raise ValueError("it is empty: write a line such as learning_rate: 2e-5")
    if top.id != "mapping":
        raise ValueError("it must contain lines such as learning_rate: 2e-5")
    return top


def _unknown_flag(location: str, name: str, flag_names: Iterable[str]) -> str:
    ending = did_you_mean(name, flag_names, " of this command (see --help)")
    return f"{location}: {name[:80]} is not a flag{ending}"


def write(path: Path, args: Any, fields: Sequence[dataclasses.Field]) -> None:
    """Write every flag's value and help text, in groups, as a file for `--config`.

    Flags without a value, and those that apply to one run only, are written as comments: reusing a
    settings.yaml must neither overwrite nor resume a run.
    """
    # Imported here: it needs numpy, and reading settings must be fast.
    from bert_paddle.common import atomic_files

    atomic_files.write_text(path, "\n".join(_lines(args, fields)) + "\n")


def _lines(args: Any, fields: Sequence[dataclasses.Field]) -> Iterator[str]:
    yield "# All settings of this run, from the command line and --config."
    yield "# To repeat it, run the program with: --config THIS_FILE --output_dir ANOTHER_FOLDER"
    groups = dict.fromkeys(f.metadata["group"] for f in fields)
    for group in groups:
        yield ""
        yield f"# {group}"
        for field in fields:
            if field.metadata["group"] == group:
                yield _setting_line(field, getattr(args, field.name))


def _setting_line(field: dataclasses.Field, value: Any) -> str:
    if value is None or not field.metadata["repeated"]:
        return f"# {field.name}:  # {field.metadata['help']}"
    return f"{field.name}: {_yaml_scalar(value)}  # {field.metadata['help']}"


def _yaml_scalar(value: Any) -> str:
    """A value as YAML on one line; strings are quoted so that YAML does not reinterpret them."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        import yaml

        text = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=1 << 30)
        return text.strip()
    return repr(value)
