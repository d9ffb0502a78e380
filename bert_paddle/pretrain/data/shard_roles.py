"""Which files of a folder are training shards, which are held out, and which are not read.

The default rule looks at the words of a file's name, in any case and without the numbers at its
end. The last word decides if it is one of TRAINING_WORDS or HELD_OUT_WORDS, otherwise the first
one; a shard without such a word is trained on:

    wiki_training_0  my_test_corpus_training_0  wiki_0  my_test_corpus_0     training
    wiki_test_0      test  valid_0  dev_wiki_0  test-00000-of-00010          held out

--eval_pattern replaces the rule. Does not import paddle.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data import schema

TRAINING_WORDS = frozenset(("train", "training"))
HELD_OUT_WORDS = frozenset(
    ("test", "testing", "dev", "devel", "development", "valid", "validation", "val")
    + ("eval", "evaluation", "heldout", "holdout")
)
NO_PATTERN = "none"  # the value of --eval_pattern with which nothing is held out
# The rule of the versions without --eval_pattern, whose runs are resumed with it.
PATTERN_BEFORE_THE_FLAG = f"*_{schema.TEST}_*"
_HELD_OUT_SPELLINGS = re.compile(r"(held|hold)[^a-z0-9]*out")
_WORD = re.compile("[a-z]+|[0-9]+")
_NUMBERING = frozenset(("of", "part", "shard"))  # as in test_part_3_of_10
_HDF5_SUFFIXES = (".h5", ".he5", ".hdf", ".hdf5")
# What create-data writes beside the shards.
_COMPANIONS = ("vocab.txt", "tokenizer_config.json")
_MAX_LISTED = 3
_MAX_SERIES = 8


@dataclass(frozen=True)
class ShardFiles:
    """The files of a folder by role, each in the order of their numbers. ambiguous: training shards
    with a held-out word inside their names. ignored: names of entries that are not read."""

    training: list[Path]
    held_out: list[Path]
    ambiguous: list[Path]
    ignored: list[str]

    def describe(self) -> list[str]:
        """One line for each role that has files, for the log."""
        lines = [f"training shards: {_describe_series(self.training)}"]
        if self.held_out:
            lines.append(f"held-out shards: {_describe_series(self.held_out)}")
        if self.ignored:
            lines.append(f"not read: {_list_names(self.ignored)}")
        return lines


def find_shards(
    folder: Path, eval_pattern: str | None = None, needs_training: bool = True
) -> ShardFiles:
    """The shards directly in `folder` by role.

    eval_pattern: comma-separated patterns of file names, such as "*_test_*,dev.hdf5", in any case;
    NO_PATTERN holds nothing out; None is the default rule. Hidden files are ignored (such as
    macOS's ._ files and files still being written). Raises DataError when there is no folder, no
    shard, or no training shard where `needs_training`, and for a pattern that no shard matches.
    """
    if not folder.exists():
        raise DataError(f"{folder}: no such folder; give the folder of the *.hdf5 shards")
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file; give the folder of the *.hdf5 shards")
    try:
        entries = sorted(folder.iterdir())
        # A broken link is kept: check_shards() reports it, so that no data is silently missing.
        shards = sorted((p for p in entries if _is_shard(p)), key=_natural_sort_key)
        subfolders = sorted({p.parent for p in folder.glob(f"*/*{schema.SUFFIX}") if _is_shard(p)})
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from None
    held_out = [path for path in shards if is_held_out(path.name, eval_pattern)]
    training = [path for path in shards if not is_held_out(path.name, eval_pattern)]
    if training and not held_out and eval_pattern not in (None, NO_PATTERN):
        raise DataError(
            f"--eval_pattern {eval_pattern}: no shard in {folder} matches; there are "
            f"{_describe_series(training)}"
        )
    if training or held_out and not needs_training:
        ambiguous = [] if eval_pattern else [p for p in training if _is_ambiguous(p.name)]
        ignored = _ignored_names(set(entries) - set(shards), subfolders)
        return ShardFiles(training, held_out, ambiguous, ignored)
    raise _no_training_error(folder, held_out, entries, subfolders)


def is_held_out(name: str, eval_pattern: str | None = None) -> bool:
    """Whether a shard is held out, by its file name. eval_pattern: as for `find_shards`."""
    if eval_pattern is None:
        words = _words(name)
        last = words[-1] if words else ""
        decisive = last if last in TRAINING_WORDS | HELD_OUT_WORDS else (words or [""])[0]
        return decisive in HELD_OUT_WORDS
    patterns = [part.strip().lower() for part in eval_pattern.split(",")]
    return patterns != [NO_PATTERN] and any(fnmatchcase(name.lower(), part) for part in patterns)


def _words(name: str) -> list[str]:
    """The words and numbers of a shard's name in lower case, without the numbers at its end."""
    stem = name.lower().removesuffix(schema.SUFFIX)
    words = _WORD.findall(_HELD_OUT_SPELLINGS.sub(" heldout ", stem))
    while words and (words[-1].isdigit() or words[-1] in _NUMBERING):
        words.pop()
    return words


def _is_ambiguous(name: str) -> bool:
    """Whether a training shard's name has a held-out word and does not end with `training`."""
    words = _words(name)
    return bool(HELD_OUT_WORDS & set(words)) and words[-1] not in TRAINING_WORDS


def _no_training_error(
    folder: Path, held_out: Sequence[Path], entries: Sequence[Path], subfolders: Sequence[Path]
) -> DataError:
    visible = [path for path in entries if not path.name.startswith(".")]
    remedy = "scripts/create_pretraining_data.py creates training shards"
    if held_out:
        names = _list_names([path.name for path in held_out])
        problem = f"only held-out shards ({names}), which are never trained on"
        remedy = f"--eval_pattern says which are held out ({NO_PATTERN}: none)"
    else:
        problem = f"no *{schema.SUFFIX} shard"
        if visible:
            problem += f" (there is: {_list_names([path.name for path in visible])})"
            others = [p for p in visible if p.suffix.lower() in _HDF5_SUFFIXES and p.is_file()]
            remedy = f"rename them to *{schema.SUFFIX}" if others else remedy
        else:
            problem += " (it is empty)"
    if subfolders:
        remedy = f"there are shards in a subfolder: give {subfolders[0]}"
    return DataError(f"{folder}: {problem}; {remedy}")


def _ignored_names(others: Iterable[Path], subfolders: Sequence[Path]) -> list[str]:
    """Entries that might be taken for data, HDF5 files first: hidden files and what create-data
    writes beside the shards are left out, except for hidden shards and folders with shards."""
    names: list[str] = []
    for path in sorted(others):
        if path in subfolders:
            names.append(f"{path.name}/ (a folder with shards)")
        elif path.name.startswith("."):
            names += [f"{path.name} (hidden)"] if path.suffix == schema.SUFFIX else []
        elif path.suffix.lower() in _HDF5_SUFFIXES:
            reason = "a folder" if path.is_dir() else f"not named *{schema.SUFFIX}"
            names.append(f"{path.name} ({reason})")
        elif path.is_file() and not _is_companion(path.name):
            names.append(path.name)
    return sorted(names, key=lambda name: not name.endswith(")"))


def _is_companion(name: str) -> bool:
    return name in _COMPANIONS or name.endswith(schema.METADATA_SUFFIX)


def _is_shard(path: Path) -> bool:
    return path.suffix == schema.SUFFIX and path.name[0] != "." and not path.is_dir()


def _natural_sort_key(path: Path) -> tuple[list[str | int], str]:
    """Sorts shard 2 before shard 10."""
    parts = re.split("([0-9]+)", path.name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def _list_names(names: Sequence[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def _describe_series(paths: Sequence[Path]) -> str:
    """The number of files and their names, those that differ only in their numbers as first to
    last: "4: a.hdf5, b_0.hdf5 to b_2.hdf5 (3)"."""
    series: dict[str, list[str]] = {}
    for path in paths:
        series.setdefault(re.sub("[0-9]+", "0", path.name), []).append(path.name)
    parts = [
        names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)})"
        for names in series.values()
    ]
    if len(parts) > _MAX_SERIES:
        parts = [*parts[: _MAX_SERIES - 1], "...", paths[-1].name]
    return f"{len(paths)}: " + ", ".join(parts)
