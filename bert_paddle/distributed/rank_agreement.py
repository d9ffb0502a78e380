"""Checks that all ranks of a job do the same: flags, data, model, versions.

Ranks started by hand or on several hosts may have been given different ones. Gradients would still
be summed, so that nothing fails, but the weights of the ranks would drift apart. Ranks are compared
twice: as soon as they have joined, since flags such as --do_train decide which collective
operations follow, and once all content is read, before anything is trained.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import bert_paddle
from bert_paddle.common import hardware
from bert_paddle.common.args import CommonArgs
from bert_paddle.common.errors import UserError
from bert_paddle.common.flag_fields import OnRanks, declared_flags, flag_names
from bert_paddle.distributed import collectives

# Variables of Paddle and of Nvidia's libraries that choose other kernels or precisions.
_VARIABLE = re.compile(
    r"FLAGS_\w*(deterministic|cudnn|cublas|gemm|stride|dnn|cinn|prim|autotune|precision|tf32|nan)"
    r"\w*|NVIDIA_TF32_OVERRIDE"
)
_MAX_VALUE_LENGTH = 120


def check_flags(program: str, args: CommonArgs) -> None:
    """Compare program, flags, environment variables and versions of all ranks, which must call this
    together, before any other collective operation. Flags that are used only after reading data and
    model are left to `check_contents`, unless there is another difference.

    Raises UserError, on all ranks, with all differences.
    """
    if collectives.get_world().size == 1:
        return
    name = "the program"
    facts = {name: program.split(":")[0]} | _variables() | _versions()
    differences = _differences(facts | _flags(args))
    if name in differences:  # its flags are others anyway
        _refuse({name: differences[name]})
    later = flag_names(type(args), on_ranks=OnRanks.SAME_LATER)
    if not differences.keys() <= {f"--{name}" for name in later}:
        _refuse(differences)


def check_contents(args: CommonArgs, contents: Mapping[str, str]) -> None:
    """Compare the flags again, and what data and model contain, on all ranks, which must call this
    together. contents: short descriptions, with digests, by the name of what they describe.

    Raises UserError, on all ranks, with all differences.
    """
    differences = _differences(_flags(args) | dict(contents))
    if differences:
        _refuse(differences)


def _refuse(differences: Mapping[str, str]) -> None:
    listed = "; ".join(f"{name}: {values}" for name, values in differences.items())
    raise UserError(
        f"the ranks of this job differ in {listed}; start all of them with the same flags, data, "
        "model and versions (paths may differ)"
    )


def _differences(facts: Mapping[str, str]) -> dict[str, str]:
    """The facts that differ between the ranks, by name: every value with its ranks."""
    all_facts: list[Mapping[str, str]] = collectives.all_gather(dict(facts))
    differences = {}
    for name in dict.fromkeys(name for rank_facts in all_facts for name in rank_facts):
        ranks_of: dict[str, list[int]] = {}
        for rank, rank_facts in enumerate(all_facts):
            ranks_of.setdefault(rank_facts.get(name, "none"), []).append(rank)
        if len(ranks_of) > 1:
            differences[name] = ", ".join(
                f"{_shorten(value)} on {_rank_names(ranks)}" for value, ranks in ranks_of.items()
            )
    return differences


def _rank_names(ranks: Sequence[int]) -> str:
    names = ", ".join(map(str, ranks[:4])) + (f" and {len(ranks) - 4} more" if ranks[4:] else "")
    return f"rank {names}" if len(ranks) == 1 else f"ranks {names}"


def _shorten(value: str) -> str:
    return value if len(value) <= _MAX_VALUE_LENGTH else f"{value[:_MAX_VALUE_LENGTH]}..."


def _flags(args: CommonArgs) -> dict[str, str]:
    """The flags to compare, as text by name."""
    facts = {}
    for field in declared_flags(type(args)):
        on_ranks, value = field.metadata["on_ranks"], getattr(args, field.name)
        if on_ranks is OnRanks.FREE:
            continue
        if on_ranks is OnRanks.GIVEN and value not in field.metadata["keywords"]:
            value = value and "given"
        if isinstance(value, bool):
            value = int(value)
        facts[f"--{field.name}"] = "not given" if value is None else str(value)
    return facts


def _variables() -> dict[str, str]:
    """The environment variables that change results, by name."""
    return {name: value for name, value in os.environ.items() if _VARIABLE.fullmatch(name)}


def _versions() -> dict[str, str]:
    """The versions of the packages that compute results, by name. That of Python is left out: it
    does not change them."""
    versions = hardware.versions("numpy")
    del versions["Python"]
    versions["bert_paddle"] = f"{bert_paddle.__version__} (source {_source_digest()})"
    return {f"the version of {name}": version for name, version in versions.items()}


def _source_digest() -> str:
    """A digest of this package's source: hosts may have different commits of one version."""
    digest = hashlib.blake2b(digest_size=6)
    folder = Path(bert_paddle.__file__).parent
    for path in sorted((*folder.rglob("*.py"), *folder.rglob("*.c"))):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
