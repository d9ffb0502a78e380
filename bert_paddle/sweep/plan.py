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
from bert_paddle.common.config_file import Given
from bert_paddle.common.errors import FlagError
from bert_paddle.glue.args import GlueArgs, parse_args, seeds_of

_MOST = 10_000  # runs; more are a slip
_LONGEST = 150  # characters of a folder's name; file systems take 255 bytes
# Set for each run by the sweep.
_OF_ONE_RUN = ("seed", "seeds", "output_dir", "resume_from_checkpoint", "overwrite_output_dir")


@dataclasses.dataclass(frozen=True)
class OneRun:
    """A run of a sweep. values: those of the grid's flags, as shown; settings: every flag that is
    given, by name, but for `_OF_ONE_RUN`; args: its parsed command line."""

    values: Mapping[str, str]
    seed: int
    folder: Path
    settings: Mapping[str, str]
    args: GlueArgs

    @property
    def label(self) -> str:
        """What the run is called where people read."""
        words = [f"{name} {value}" for name, value in self.values.items()]
        return ", ".join([*words, f"seed {self.seed}"])

    def argv(self, overwrite: bool) -> list[str]:
        """The flags of its command line. It goes on from its newest checkpoint, if there is one."""
        again = "overwrite_output_dir=1" if overwrite else "resume_from_checkpoint=auto"
        own = (f"seed={self.seed}", f"output_dir={self.folder}", again)
        return [
            *(f"--{name}={text}" for name, text in self.settings.items()),
            *(f"--{w}" for w in own),
        ]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be run. names: the grid's flags; stem: of the tables' file names."""

    folder: Path
    names: tuple[str, ...]
    runs: tuple[OneRun, ...]
    stem: str
    overwrite: bool
    duplicates: int = 0  # combinations left out, since they say the same as another


def of_seeds(args: GlueArgs) -> Plan:
    """The runs of `run_glue.py --seeds`: one for each seed, in output_dir/seed_N."""
    folder, settings = Path(args.output_dir), _given(args)
    runs = _with_folders(folder, [({}, settings, seed) for seed in seeds_of(args.seeds or "")])
    return Plan(folder, (), runs, "seeds", args.overwrite_output_dir)


def of_grid(
    folder: Path, grid: Mapping[str, Sequence[str]], base: Sequence[str], seeds: str | None
) -> Plan:
    """The runs of a sweep: the product of the grid's values, with every seed.

    grid: texts by flag name; its `seed`, if there is one, are the seeds. base: the flags that all
    runs share, where the grid says nothing else. seeds: "1,2,3". Raises FlagError with all that is
    wrong with any of the combinations, each mistake once.
    """
    axes = {name: values for name, values in grid.items() if name != "seed"}
    count = 1
    for tried in axes.values():
        count *= len(tried)
    if count > _MOST:
        raise FlagError([f"the grid has {count} combinations; at most {_MOST} make sense"])
    combinations = [
        dict(zip(axes, chosen, strict=True)) for chosen in itertools.product(*axes.values())
    ]
    parsed = _parse_all(combinations, base, folder, seeds or ",".join(grid.get("seed", [])))
    kept: dict[tuple, tuple[dict[str, str], GlueArgs]] = {}
    for combination, args in zip(combinations, parsed, strict=True):
        canonical = {name: shown(getattr(args, name)) for name in combination}
        kept.setdefault(tuple(canonical.values()), (canonical, args))
    each = [
        (values, _given(args), seed)
        for values, args in kept.values()
        for seed in (seeds_of(args.seeds) if args.seeds else [args.seed])
    ]
    overwrite = any(args.overwrite_output_dir for args in parsed)
    runs = _with_folders(folder, each)
    return Plan(folder, tuple(axes), runs, "sweep", overwrite, len(combinations) - len(kept))


def _parse_all(
    combinations: Sequence[Mapping[str, str]], base: Sequence[str], folder: Path, seeds: str
) -> list[GlueArgs]:
    """The flags of every combination, checked. Raises FlagError."""
    wrong: dict[str, list[str]] = {}
    parsed = []
    more = [f"--output_dir={folder}", *([f"--seeds={seeds}"] if seeds else [])]
    for combination in combinations:
        texts = [f"--{name}={text}" for name, text in combination.items()]
        try:
            args = parse_args([*base, *texts, *more])
            problems = list(_unfit(args))
        except FlagError as error:
            problems = error.problems
        else:
            parsed.append(args)
        for problem in problems:
            wrong.setdefault(problem, []).append(" ".join(text[2:] for text in texts))
    if wrong:
        raise FlagError([_told(problem, at, len(combinations)) for problem, at in wrong.items()])
    return parsed


def _unfit(args: GlueArgs) -> Iterable[str]:
    if not args.do_train:
        yield "a sweep trains: give --do_train too"
    if args.resume_from_checkpoint not in (None, "auto"):
        yield "--resume_from_checkpoint: each run of a sweep goes on from its own newest checkpoint"


def _told(problem: str, combinations: list[str], of: int) -> str:
    """A mistake, and with which combinations it comes, unless with all."""
    if len(combinations) == of:
        return problem
    others = f" and {len(combinations) - 1} more" if len(combinations) > 1 else ""
    return f"{problem} (with {combinations[0]}{others})"


def _given(args: GlueArgs) -> dict[str, str]:
    """The flags that were given, as texts."""
    names = [name for name in args.given if name not in _OF_ONE_RUN]
    return {name: shown(getattr(args, name)) for name in names}


def _with_folders(
    folder: Path, each: Sequence[tuple[Mapping[str, str], Mapping[str, str], int]]
) -> tuple[OneRun, ...]:
    """The runs of (values, settings, seed), each with a folder that no other one has."""
    named = [
        (_folder_name(values, seed), values, settings, seed) for values, settings, seed in each
    ]
    count = Counter(name for name, *_ in named)
    runs = []
    for name, values, settings, seed in named:
        if count[name] > 1 or len(name) > _LONGEST:
            digest = hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:8]
            name = f"{name[:_LONGEST]}-{digest}-seed_{seed}"
        own = {**settings, "seed": str(seed), "output_dir": str(folder / name)}
        args = flags.build_args(
            GlueArgs, {key: Given(text, f"--{key}") for key, text in own.items()}
        )
        runs.append(OneRun(values, seed, folder / name, settings, args))
    return tuple(runs)


def _folder_name(values: Mapping[str, str], seed: int) -> str:
    """E.g. learning_rate_2e-5-batch_size_32-seed_1; of a path, its last part."""
    parts = [f"{name}_{text.rstrip('/').rsplit('/')[-1]}" for name, text in values.items()]
    return "-".join(re.sub(r"[^\w.+-]+", "_", part) for part in [*parts, f"seed_{seed}"])


def shown(value: Any) -> str:
    """A flag's value as people write it: 2e-5 for 2e-05, 3 for 3.0."""
    if isinstance(value, float):
        return re.sub(r"e([-+])0*", r"e\1", repr(value)).removesuffix(".0")
    return str(int(value)) if isinstance(value, bool) else str(value)
