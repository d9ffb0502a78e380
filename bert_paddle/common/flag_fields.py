"""The declaration of a flag: a dataclass field, whose metadata is all that the program knows of it.

Parsing, `--help` and completion read it (common.flags), and so do the checks of a resume
(training.resume_check), of the ranks of a job (distributed.rank_agreement), of output files, the
settings file, sweeps, reports and model cards: none of them has a list of flags. The defaults are
the careful ones: a new flag may not change on a resume, must be the same on all ranks, is shared by
all runs of a sweep and listed where runs are compared.
"""

import dataclasses
from collections.abc import Sequence
from enum import Enum
from typing import Any

REQUIRED: Any = object()


class OnResume(Enum):
    """Whether a run that resumes from a checkpoint may have another value."""

    FIXED = "no"
    FREE = "yes"
    IF_GIVEN = "only if the flag is given explicitly; then a line says so"
    FROM_RUN = "yes, but if the flag is not given, the value of the run to resume is used"
    COMPUTE_MODE = "no; compared as TrainState.compute_mode records it, not as the flag is given"


class OnRanks(Enum):
    """Whether the ranks of a job may have different values."""

    SAME = "no; compared before anything is read"
    SAME_LATER = "no; not needed to read data and model, whose differences are told with it"
    GIVEN = "yes, if all of them give one: what it names is compared by content"
    FREE = "yes: what it names is compared by content, or it does not change results"


class PathUse(Enum):
    """What a run does with the file or folder that a flag names."""

    INPUT = "reads it"
    MODEL = "reads a model from it"
    TOKENIZER = "reads a tokenizer from it"
    OUTPUT = "writes it"
    RESUME = "resumes from it"


# Values of `needs`: what a run must do for a flag to make sense.
TRAINING, EVALUATING = "training (--do_train)", "evaluation (--do_eval)"


class Results(Enum):
    """How a flag changes the results of a finished run, which a sweep otherwise keeps."""

    CHANGED = "other results"
    ADDED = "results besides the present ones, which a resume adds"
    SAME = "the same results"


def flag(
    default: Any,
    help: str,
    *,
    group: str,
    alias: str | tuple[str, ...] | None = None,
    choices: Sequence[str] | None = None,
    minimum: float | None = None,
    exclusive_minimum: float | None = None,
    maximum: float | None = None,
    sentinel: float | None = None,
    comma_separated: bool = False,
    share_below_1: bool = False,
    path: PathUse | None = None,
    utf8: bool = True,
    keywords: tuple[str, ...] = (),
    on_resume: OnResume = OnResume.FIXED,
    recognized_by: tuple[str, ...] = (),
    on_ranks: OnRanks = OnRanks.SAME,
    repeated: bool = True,
    set_by_sweep: bool = False,
    not_in_grid: str | None = None,
    results: Results = Results.CHANGED,
    changes_rows: bool = False,
    in_comparisons: bool = True,
    needs: tuple[str, ...] = (),
    part: str | tuple[str, ...] | None = None,
    card_name: str | None = None,
) -> Any:
    """A dataclass field that is a command-line flag.

    default: a value, whose type is the flag's type (str, int, float, bool), or None or REQUIRED for
    a str. group: the flag's heading in --help. alias: another name, or several; a single letter
    becomes -x. minimum, exclusive_minimum, maximum: the range; sentinel: a value allowed outside
    it, e.g. -1 for "not set". comma_separated: a str of several values; a settings file may have a
    list. share_below_1: an int that may also be a number between 0 and 1.

    path: for the name of a file or folder. utf8: whether its bytes must be UTF-8, as they must for
    settings.yaml and run.json. keywords: values of it that are no path. on_resume,
    on_ranks, results: see the classes. recognized_by: names of the digests (common.digest_names) by
    which a resume recognizes what the flag names under another name.
    repeated: whether settings.yaml repeats it in another run. set_by_sweep: whether it belongs to
    one run of a sweep. not_in_grid: why a sweep's grid cannot vary it. changes_rows: whether runs
    that differ in it may have data sets of different sizes. in_comparisons: whether a report of
    several runs lists it where they differ. needs: TRAINING, EVALUATING or both. part: a set of
    flags, or several, that the same module treats alike. card_name: see `training.model_card`.
    """
    properties = dict(locals())  # the arguments by name
    del properties["default"]
    properties["kind"] = "str" if default is REQUIRED or default is None else type(default).__name__
    properties["required"] = default is REQUIRED
    return dataclasses.field(default=None if default is REQUIRED else default, metadata=properties)


def optional_switch(help: str, *, group: str, **properties: Any) -> Any:
    """A dataclass field for a bool flag that is None unless it is given. properties: as of
    `flag`."""
    metadata = flag(True, help, group=group, **properties).metadata
    return dataclasses.field(default=None, metadata=metadata)


def reworded(args_class: type, name: str, help: str) -> Any:
    """A dataclass field for the flag `name` of `args_class`, for which a subclass has another help
    text."""
    field = next(f for f in dataclasses.fields(args_class) if f.name == name)
    return dataclasses.field(default=field.default, metadata={**field.metadata, "help": help})


def positional(metavar: str, help: str, *, minimum: int = 0, paths: int | None = 0) -> Any:
    """A dataclass field for the positional arguments: tuple[str, ...].

    metavar: their name in the usage line and in messages; minimum: how many are required; paths:
    how many of them, from the first on, name a file or folder, None for all. After a lone `--`
    every argument is positional, even one that starts with a dash.
    """
    metadata = {"positional": metavar, "help": help, "minimum": minimum, "paths": paths}
    return dataclasses.field(default=(), metadata=metadata)


def declared_flags(args_class: type) -> list[dataclasses.Field]:
    """The fields of `args_class` that are flags, in order of declaration."""
    return [f for f in dataclasses.fields(args_class) if "kind" in f.metadata]


def flags_with(args_class: type, **properties: Any) -> list[dataclasses.Field]:
    """The flags of `args_class` with these properties, in order of declaration, such as
    flags_with(GlueArgs, repeated=False). For one of several values of a property, give that."""
    return [
        field
        for field in declared_flags(args_class)
        if all(_has(field.metadata[name], value) for name, value in properties.items())
    ]


def flag_names(args_class: type, **properties: Any) -> tuple[str, ...]:
    """The names of `flags_with` these properties."""
    return tuple(field.name for field in flags_with(args_class, **properties))


def _has(actual: Any, value: Any) -> bool:
    return value in actual if isinstance(actual, tuple) else actual == value


def fields_by_name(args_class: type) -> dict[str, dataclasses.Field]:
    """The flags of `args_class` by name and alias."""
    fields = declared_flags(args_class)
    by_alias = {alias: f for f in fields for alias in aliases(f)}
    return by_alias | {f.name: f for f in fields}


def positional_field(args_class: type) -> dataclasses.Field | None:
    """The field of `args_class` declared with `positional`, if any."""
    return next((f for f in dataclasses.fields(args_class) if "positional" in f.metadata), None)


def aliases(field: dataclasses.Field) -> tuple[str, ...]:
    """The other names of a flag."""
    alias = field.metadata["alias"]
    return (alias,) if isinstance(alias, str) else alias or ()


def spellings(field: dataclasses.Field) -> list[str]:
    """A flag as typed on the command line: --name, and its aliases."""
    return [
        f"--{field.name}",
        *(f"-{name}" if len(name) == 1 else f"--{name}" for name in aliases(field)),
    ]
