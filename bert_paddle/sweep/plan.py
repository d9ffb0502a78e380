"""The runs of a sweep: every combination of the grid with every seed, checked before the first."""

import dataclasses
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import flags
from bert_paddle.common.config_file import FlagText
from bert_paddle.common.errors import FlagError
from bert_paddle.glue.args import GlueArgs, parse_args, parse_seeds

_MAX_RUNS = 10_000  # more are taken for a mistake
_MAX_NAME_LENGTH = 150  # characters of a folder's name; file systems allow 255 bytes
# Flags that the sweep sets for each run.
_SET_PER_RUN = ("seed", "seeds", "output_dir", "resume_from_checkpoint", "overwrite_output_dir")


@dataclasses.dataclass(frozen=True)
class SweepRun:
    """A run of a sweep. values: of the grid's flags, as printed; settings: all given flags, except
    `_SET_PER_RUN`; args: its parsed command line."""

    values: Mapping[str, str]
    seed: int
    folder: Path
    settings: Mapping[str, str]
    args: GlueArgs

    @property
    def label(self) -> str:
        """The run's name in messages and tables."""
        values = [f"{name} {value}" for name, value in self.values.items()]
        return ", ".join([*values, f"seed {self.seed}"])

    def argv(self, overwrite: bool) -> list[str]:
        """The flags of its command line. It resumes from its newest checkpoint, if it has one."""
        start = "overwrite_output_dir=1" if overwrite else "resume_from_checkpoint=auto"
        per_run = (f"seed={self.seed}", f"output_dir={self.folder}", start)
        return [
            *(f"--{name}={text}" for name, text in self.settings.items()),
            *(f"--{text}" for text in per_run),
        ]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The runs of a sweep. names: the grid's flags; stem: of the tables' file names."""

    folder: Path
    names: tuple[str, ...]
    runs: tuple[SweepRun, ...]
    stem: str
    overwrite: bool
    duplicates: int = 0  # combinations skipped because they repeat another


def plan_seeds(args: GlueArgs) -> Plan:
    """The runs of `run_glue.py --seeds`: one for each seed, in output_dir/seed_N."""
    folder, settings = Path(args.output_dir), _given_flags(args)
    runs = _with_folders(folder, [({}, settings, seed) for seed in parse_seeds(args.seeds or "")])
    return Plan(folder, (), runs, "seeds", args.overwrite_output_dir)


def plan_grid(
    folder: Path, grid: Mapping[str, Sequence[str]], base: Sequence[str], seeds: str | None
) -> Plan:
    """The runs of a sweep: the product of the grid's values, with every seed.

    grid: texts by flag name; its `seed`, if given, has the seeds. base: the flags that all runs
    share; the grid's take precedence. seeds: "1,2,3". Raises FlagError with the problems of all
    combinations, each problem once.
    """
    axes = {name: values for name, values in grid.items() if name != "seed"}
    count = 1
    for tried in axes.values():
        count *= len(tried)
    if count > _MAX_RUNS:
        raise FlagError([f"the grid has {count} combinations; at most {_MAX_RUNS} make sense"])
    combinations = [
        dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
    ]
    parsed = _parse_all(combinations, base, folder, seeds or ",".join(grid.get("seed", [])))
    distinct: dict[tuple, tuple[dict[str, str], GlueArgs]] = {}
    for combination, args in zip(combinations, parsed, strict=True):
        canonical = {name: format_value(getattr(args, name)) for name in combination}
        distinct.setdefault(tuple(canonical.values()), (canonical, args))
    each = [
        (values, _given_flags(args), seed)
        for values, args in distinct.values()
        for seed in (parse_seeds(args.seeds) if args.seeds else [args.seed])
    ]
    overwrite = any(args.overwrite_output_dir for args in parsed)
    runs = _with_folders(folder, each)
    return Plan(folder, tuple(axes), runs, "sweep", overwrite, len(combinations) - len(distinct))


def _parse_all(
    combinations: Sequence[Mapping[str, str]], base: Sequence[str], folder: Path, seeds: str
) -> list[GlueArgs]:
    """The parsed flags of every combination. Raises FlagError."""
    found: dict[str, list[str]] = {}
    parsed = []
    shared = [f"--output_dir={folder}", *([f"--seeds={seeds}"] if seeds else [])]
    for combination in combinations:
        texts = [f"--{name}={text}" for name, text in combination.items()]
        try:
            args = parse_args([*base, *texts, *shared])
            problems = list(_unsupported_flags(args))
        except FlagError as error:
            problems = error.problems
        else:
            parsed.append(args)
        for problem in problems:
            found.setdefault(problem, []).append(" ".join(text[2:] for text in texts))
    if found:
        total = len(combinations)
        raise FlagError([_with_combinations(problem, at, total) for problem, at in found.items()])
    return parsed


def _unsupported_flags(args: GlueArgs) -> Iterable[str]:
    if not args.do_train:
        yield "a sweep trains: give --do_train too"
    if args.resume_from_checkpoint not in (None, "auto"):
        yield "--resume_from_checkpoint: each run of a sweep resumes from its own newest checkpoint"


def _with_combinations(problem: str, combinations: list[str], total: int) -> str:
    """A problem with the combinations that have it, unless all have it."""
    if len(combinations) == total:
        return problem
    others = f" and {len(combinations) - 1} more" if len(combinations) > 1 else ""
    return f"{problem} (with {combinations[0]}{others})"


def _given_flags(args: GlueArgs) -> dict[str, str]:
    """The given flags, as texts."""
    names = [name for name in args.explicit_flags if name not in _SET_PER_RUN]
    return {name: format_value(getattr(args, name)) for name in names}


def _with_folders(
    folder: Path, each: Sequence[tuple[Mapping[str, str], Mapping[str, str], int]]
) -> tuple[SweepRun, ...]:
    """The runs of (values, settings, seed), each with its own folder."""
    named = [
        (_folder_name(values, seed), values, settings, seed) for values, settings, seed in each
    ]
    count = Counter(name for name, *_ in named)
    runs = []
    for name, values, settings, seed in named:
        if count[name] > 1 or len(name) > _MAX_NAME_LENGTH:
            digest = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:8]
            name = f"{name[:_MAX_NAME_LENGTH]}-{digest}-seed_{seed}"
        texts = {**settings, "seed": str(seed), "output_dir": str(folder / name)}
        args = flags.build_args(
            GlueArgs, {key: FlagText(text, f"--{key}") for key, text in texts.items()}
        )
        runs.append(SweepRun(values, seed, folder / name, settings, args))
    return tuple(runs)


def _folder_name(values: Mapping[str, str], seed: int) -> str:
    """E.g. learning_rate_2e-5-batch_size_32-seed_1; of a path, its last part."""
    parts = [f"{name}_{text.rstrip('/').rsplit('/')[-1]}" for name, text in values.items()]
    return "-".join(re.sub(r"[^\w.+-]+", "_", part) for part in [*parts, f"seed_{seed}"])


def format_value(value: Any) -> str:
    """A flag's value as usually written: 2e-5 for 2e-05, 3 for 3.0."""
    if isinstance(value, float):
        return re.sub(r"e([-+])0*", r"e\1", repr(value)).removesuffix(".0")
    return str(int(value)) if isinstance(value, bool) else str(value)
