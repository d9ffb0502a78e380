"""The runs of a sweep, one for each combination of the grid's values with each seed. All flags are
checked before the first run starts."""

import dataclasses
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import flags
from bert_paddle.common.errors import FlagError
from bert_paddle.common.flag_fields import flag_names
from bert_paddle.common.flag_texts import FlagText
from bert_paddle.glue.args import GlueArgs, parse_seeds
from bert_paddle.sweep.programs import GLUE, PROGRAMS, RunArgs

_MAX_COMBINATIONS = 10_000  # more are considered a mistake
_MAX_NAME_LENGTH = 150  # characters of a folder's name; file systems allow 255 bytes


@dataclasses.dataclass(frozen=True)
class SweepRun:
    """A run of a sweep. values: the run's values of the grid's flags, as texts; settings: all flags
    given for the run, those of the grid included, without those that the sweep sets; args: all its
    flags; title: the description where it is not that of the grid's values."""

    values: Mapping[str, str]
    seed: int
    folder: Path
    settings: Mapping[str, str]
    args: RunArgs
    title: str = ""

    @property
    def label(self) -> str:
        """The run's description in messages and tables, such as "batch_size 16, seed 1"."""
        if self.title:
            return self.title
        values = [f"{name} {value}" for name, value in self.values.items()]
        return ", ".join([*values, f"seed {self.seed}"])

    @property
    def grid_text(self) -> str:
        """The grid's values as they are given, such as "batch_size=16 learning_rate=2e-5"."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())

    def argv(self, overwrite: bool) -> list[str]:
        """The run's command line. With `overwrite` the run starts over; otherwise it resumes from
        its newest checkpoint, if it has one. A run without training has none of both."""
        start_flag = "overwrite_output_dir=1" if overwrite else "resume_from_checkpoint=auto"
        per_run = [f"seed={self.seed}", f"output_dir={self.folder}"]
        per_run += [start_flag] if self.args.do_train else []
        return [
            *(f"--{name}={text}" for name, text in self.settings.items()),
            *(f"--{text}" for text in per_run),
        ]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The runs of a sweep. program: a key of PROGRAMS; grid_flags: without seed; is_seed_sweep:
    planned by `run_glue.py --seeds`, without a grid; overwrite: start all runs over."""

    folder: Path
    grid_flags: tuple[str, ...]
    runs: tuple[SweepRun, ...]
    is_seed_sweep: bool
    overwrite: bool
    program: str = GLUE
    duplicates: int = 0  # number of combinations skipped because they are equal to an earlier one

    @property
    def table_stem(self) -> str:
        """The file name of the result tables without the extension."""
        return "seeds" if self.is_seed_sweep else "sweep"


def plan_seeds(args: GlueArgs) -> Plan:
    """The runs of `run_glue.py --seeds`: one for each seed, in output_dir/seed_N."""
    folder, settings = Path(args.output_dir), given_flags(args)
    run_settings = [(dict[str, str](), settings, seed) for seed in parse_seeds(args.seeds or "")]
    runs = _build_runs(folder, run_settings, GLUE)
    return Plan(folder, (), runs, is_seed_sweep=True, overwrite=args.overwrite_output_dir)


def plan_grid(
    folder: Path,
    grid: Mapping[str, Sequence[str]],
    base: Sequence[str],
    seeds: str | None,
    program: str = GLUE,
) -> Plan:
    """The runs of a sweep: the product of the grid's values, with every seed.

    grid: values by flag name, as texts; it may contain `seed`, unless `seeds` is given. base: the
    command line that all runs share; values in the grid take precedence. seeds: such as "1,2,3".
    program: a key of PROGRAMS. Raises FlagError with the problems of all combinations, each problem
    once.
    """
    axes = {name: values for name, values in grid.items() if name != "seed"}
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > _MAX_COMBINATIONS:
        message = f"the grid has {count} combinations; the maximum is {_MAX_COMBINATIONS}"
        raise FlagError([message])
    combinations = [
        dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
    ]
    seeds = seeds or ",".join(grid.get("seed", []))
    parsed = _parse_all(combinations, base, folder, seeds, program)
    # Combinations may be equal though their texts differ, such as 2e-5 and 0.00002.
    distinct: dict[tuple, tuple[dict[str, str], RunArgs]] = {}
    for combination, args in zip(combinations, parsed, strict=True):
        canonical = {name: format_value(getattr(args, name)) for name in combination}
        distinct.setdefault(tuple(canonical.values()), (canonical, args))
    run_settings = [
        (values, given_flags(args), seed)
        for values, args in distinct.values()
        for seed in _seeds_of(args, seeds)
    ]
    overwrite = any(args.overwrite_output_dir for args in parsed)
    return Plan(
        folder,
        tuple(axes),
        _build_runs(folder, run_settings, program),
        is_seed_sweep=False,
        overwrite=overwrite,
        program=program,
        duplicates=len(combinations) - len(distinct),
    )


def _seeds_of(args: RunArgs, seeds: str) -> list[int]:
    """The seeds of a combination: run_glue.py's own --seeds, or those of the sweep."""
    text = args.seeds if isinstance(args, GlueArgs) else seeds
    return parse_seeds(text) if text else [args.seed]


def _parse_all(
    combinations: Sequence[Mapping[str, str]],
    base: Sequence[str],
    folder: Path,
    seeds: str,
    program: str,
) -> list[RunArgs]:
    """The parsed flags of every combination. Raises FlagError with the problems of all of them."""
    combinations_by_problem: dict[str, list[str]] = {}
    parsed = []
    shared = [f"--output_dir={folder}"]
    seed_problems = list[str]()
    if seeds and program == GLUE:
        shared.append(f"--seeds={seeds}")
    elif seeds:
        try:
            parse_seeds(seeds)
        except ValueError as error:
            seed_problems.append(f"--seeds: {error}")
    for combination in combinations:
        texts = [f"--{name}={text}" for name, text in combination.items()]
        try:
            args = PROGRAMS[program].parse([*base, *texts, *shared])
            problems = [*seed_problems, *_unsupported_flags(args)]
        except FlagError as error:
            problems = [*seed_problems, *error.problems]
        else:
            parsed.append(args)
        for problem in problems:
            combination_text = " ".join(text.removeprefix("--") for text in texts)
            combinations_by_problem.setdefault(problem, []).append(combination_text)
    if combinations_by_problem:
        total = len(combinations)
        items = combinations_by_problem.items()
        raise FlagError([with_combinations(problem, texts, total) for problem, texts in items])
    return parsed


def _unsupported_flags(args: RunArgs) -> Iterable[str]:
    """Problems with flags that the program takes but a sweep does not, one message each."""
    if not args.do_train:
        yield "--do_train is required in a sweep"
    if args.resume_from_checkpoint not in (None, "auto"):
        yield "--resume_from_checkpoint: each run of a sweep resumes from its own newest checkpoint"


def with_combinations(problem: str, combinations: list[str], total: int) -> str:
    """The message of a problem, with the first combination that has it and the number of others;
    unchanged if all `total` combinations have it."""
    if len(combinations) == total:
        return problem
    others = f" and {len(combinations) - 1} more" if len(combinations) > 1 else ""
    return f"{problem} (with {combinations[0]}{others})"


def given_flags(args: RunArgs) -> dict[str, str]:
    """The values of the flags that the user gave, as texts, except those that the sweep sets."""
    set_here = flag_names(type(args), set_by_sweep=True)
    names = [name for name in args.explicit_flags if name not in set_here]
    return {name: format_value(getattr(args, name)) for name in names}


def _build_runs(
    folder: Path,
    run_settings: Sequence[tuple[Mapping[str, str], Mapping[str, str], int]],
    program: str,
) -> tuple[SweepRun, ...]:
    """The runs, each with its own folder in `folder`. run_settings: (values, settings, seed) of
    each run, as in SweepRun."""
    named = [
        (_folder_name(values, seed), values, settings, seed)
        for values, settings, seed in run_settings
    ]
    name_counts = Counter(name for name, *_ in named)
    runs = []
    for name, values, settings, seed in named:
        if name_counts[name] > 1 or len(name) > _MAX_NAME_LENGTH:  # a digest makes it unique
            digest = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:8]
            name = f"{name[:_MAX_NAME_LENGTH]}-{digest}-seed_{seed}"
        texts = {**settings, "seed": str(seed), "output_dir": str(folder / name)}
        flag_texts = {key: FlagText(text, f"--{key}") for key, text in texts.items()}
        args = flags.build_args(PROGRAMS[program].args_class, flag_texts)
        runs.append(SweepRun(values, seed, folder / name, settings, args))
    return tuple(runs)


def _folder_name(values: Mapping[str, str], seed: int) -> str:
    """A name such as learning_rate_2e-5-batch_size_32-seed_1. Of a value that is a path, only the
    last part is used."""
    parts = [f"{name}_{text.rstrip('/').rsplit('/')[-1]}" for name, text in values.items()]
    return "-".join(re.sub(r"[^\w.+-]+", "_", part) for part in [*parts, f"seed_{seed}"])


def format_value(value: Any) -> str:
    """A flag's value as usually written: 2e-5 for 2e-05, 3 for 3.0."""
    if isinstance(value, float):
        return re.sub(r"e([-+])0*", r"e\1", repr(value)).removesuffix(".0")
    return str(int(value)) if isinstance(value, bool) else str(value)
