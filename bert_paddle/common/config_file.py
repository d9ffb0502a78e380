"""Flags in a YAML file: reading one for `--config`, and writing a run's settings.yaml.

Values are taken as they are written and converted as those of a command line are, so that 2e-5 is
a number, and a file says the same as the flags would.
"""

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

FLAG, SETTINGS_FILE = "--config", "settings.yaml"
# What one start of a run was told to do with an earlier one: not to be done again unasked.
_ONCE = ("overwrite_output_dir", "resume_from_checkpoint", "debug")
_NULL = "tag:yaml.org,2002:null"
_MOST = 1 << 20  # bytes; a settings file has a few thousand


@dataclasses.dataclass(frozen=True)
class Given:
    """A flag's value as text, and what a message calls the flag: "--seed", "a.yaml:3: seed"."""

    text: str
    called: str


@dataclasses.dataclass
class Settings:
    """What a file sets: texts by flag name, words that belong to no flag, and what is wrong."""

    texts: dict[str, Given] = dataclasses.field(default_factory=dict)
    words: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def read(
    path: str, fields: Sequence[dataclasses.Field], loose: dataclasses.Field | None = None
) -> Settings:
    """The settings in a YAML (or JSON) file: flag names or their aliases, each with one value.

    loose: the field of words that belong to no flag, which takes a list. A null leaves a flag at
    its default. Nothing is raised: the problems are told with those of the command line.
    """
    settings = Settings()
    try:
        top = compose(Path(path))
    except ValueError as wrong:
        settings.problems.append(f"--config {path}: {wrong}")
        return settings
    known = {f.metadata["alias"]: f for f in fields if f.metadata["alias"]}
    known |= {f.name: f for f in fields} | ({loose.name: loose} if loose else {})
    seen: dict[str, int] = {}
    for key, value in top.value:
        place = f"{path}:{key.start_mark.line + 1}"
        name = str(key.value).removeprefix("--").replace("-", "_")
        field = known.get(name)
        if field is None:
            settings.problems.append(_unknown(place, str(key.value), known))
        elif field.name in seen:
            settings.problems.append(
                f"{place}: {name} is set a second time (first in line {seen[field.name]})"
            )
        else:
            seen[field.name] = key.start_mark.line + 1
            _take(settings, field, value, f"{place}: {name}")
    return settings


def _take(settings: Settings, field: dataclasses.Field, value: Any, called: str) -> None:
    """Put one value of the file into the settings."""
    if value.id == "mapping":
        settings.problems.append(f"{called} takes one value, not further settings inside it")
    elif value.id == "sequence":
        if any(one.id != "scalar" for one in value.value):
            settings.problems.append(f"{called} has lists or settings inside its list")
        elif "words" in field.metadata:
            settings.words = [one.value for one in value.value]
        elif field.metadata["many"]:
            text = ",".join(one.value for one in value.value)
            settings.texts[field.name] = Given(text, called)
        else:
            settings.problems.append(f"{called} takes one value, not a list")
    elif value.tag == _NULL:
        return
    elif "words" in field.metadata:
        settings.words = [value.value]
    else:
        settings.texts[field.name] = Given(value.value, called)


def compose(path: Path) -> Any:
    """The file's top mapping as YAML nodes, which know their lines. Raises ValueError."""
    import yaml

    try:
        if path.stat().st_size > _MOST:
            raise ValueError("it is far too large for a file of settings")
        top = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError("it is not a text file (UTF-8)") from None
    except RecursionError:
        raise ValueError("it is nested too deeply for a file of settings") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1}" if mark else ""
        words = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"it is no YAML{line}: {words}") from None
    if top is None:
        raise ValueError("it is empty: write a line such as learning_rate: 2e-5")
    if top.id != "mapping":
        raise ValueError("it must have lines such as learning_rate: 2e-5")
    return top


def _unknown(place: str, name: str, known: Sequence[str] | dict) -> str:
    near = difflib.get_close_matches(name.removeprefix("--").replace("-", "_"), known, n=1)
    guess = f", did you mean {near[0]}?" if near else " of this command (see --help)"
    return f"{place}: {name[:80]} is not a flag{guess}"


def write(path: Path, args: Any, fields: Sequence[dataclasses.Field]) -> None:
    """Write every flag's value with its help, in groups, in the form that `--config` takes.

    A flag without a value and what was asked of this start alone (resuming, overwriting) are
    comments.
    """
    from bert_paddle.common import (
        atomic_files,  # it imports numpy, and reading settings must be quick
    )

    atomic_files.write_text(path, "\n".join(_lines(args, fields)) + "\n")


def _lines(args: Any, fields: Sequence[dataclasses.Field]) -> Iterator[str]:
    yield "# The settings of this run: the command line's and --config's together."
    yield "# The same program repeats it with: --config THIS_FILE --output_dir ANOTHER_FOLDER"
    groups = dict.fromkeys(f.metadata["group"] for f in fields)
    for group in groups:
        yield ""
        yield f"# {group}"
        for field in fields:
            if field.metadata["group"] == group:
                yield _line(field, getattr(args, field.name))


def _line(field: dataclasses.Field, value: Any) -> str:
    if value is None or field.name in _ONCE:
        return f"# {field.name}:  # {field.metadata['help']}"
    return f"{field.name}: {_scalar(value)}  # {field.metadata['help']}"


def _scalar(value: Any) -> str:
    """A value as YAML on one line; a text is quoted, so that it stays as it is."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        import yaml

        text = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=1 << 30)
        return text.strip()
    return repr(value)
