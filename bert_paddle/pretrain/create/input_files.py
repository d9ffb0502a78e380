"""Find the input files: which are read, which are left out and why. Does not import paddle.

A file given by its name is always read. Of a folder or a pattern, what is beyond doubt no text of
the corpus is left out: README and LICENSE files, vocabularies, hidden files and the output folder;
of a folder also files whose name is of another kind (.csv, .hdf5, ...).
"""

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bert_paddle.common import outputs
from bert_paddle.common.errors import DataError, OutputError
from bert_paddle.models.tokenizer import SPECIAL_TOKENS
from bert_paddle.pretrain.create import compressed_files
from bert_paddle.pretrain.create.compressed_files import open_bytes
from bert_paddle.pretrain.create.file_layouts import JSON_SUFFIXES, detect_layout, inner_name

TEXT_SUFFIXES = (".txt", ".text")
_WIKI_NAME = re.compile(r"wiki_\d{2,}")  # wikiextractor's files have no suffix
# Inside .gz and so on: no running text. Any other compressed file of a folder is read.
_OTHER_KINDS = (
    ".tar .csv .tsv .json .xml .html .htm .sql .md .py .yaml .yml .hdf5 .h5 .npy .npz .parquet "
    ".arrow .bin .pkl .pdf .zip .warc .wet .wat .conllu"
).split()
_ABOUT = re.compile(r"(readme|licen[cs]e|copying|notice|changelog|citation)([._-].*)?")
_VOCABULARY_BYTES = 16_000_000  # no vocabulary is larger
_SHOWN_NAMES = 4  # of the files that are left out, for each reason
HIDDEN, ABOUT, OTHER_KIND, VOCABULARY, OUTPUT, VOCAB_FLAG = (
    "hidden",
    "about the corpus",
    "of another kind",
    "a vocabulary",
    "the output",
    "the vocabulary of --vocab_file",
)
_NEVER = {OUTPUT, VOCAB_FLAG}  # reasons for which a file given by its name is refused
_Identity = tuple[int, int]  # device and inode: equal for links to one file


@dataclass(frozen=True)
class InputFile:
    """An input file and its layout, as `file_layouts.detect_layout` returns it."""

    path: Path
    layout: str


@dataclass
class FoundFiles:
    """The files to read, each once, in order; left_out: reason -> paths."""

    files: list[InputFile] = field(default_factory=list)
    left_out: dict[str, list[Path]] = field(default_factory=dict)

    def describe(self, form_of: Callable[[str], str]) -> Iterator[str]:
        """One line about the files that are read, and one about those that are left out. form_of:
        how the sentences of a layout are given."""
        layouts = Counter(file.layout for file in self.files)
        suffixes = Counter(file.path.suffix.lower() for file in self.files)
        kinds = [f"{n:,} {layout} as {form_of(layout)}" for layout, n in sorted(layouts.items())]
        packed = [f"{suffixes[s]:,} {s}" for s in compressed_files.SUFFIXES if suffixes[s]]
        yield (
            f"input: {len(self.files):,} file(s): {', '.join(kinds)}"
            f"{' (compressed: ' + ', '.join(packed) + ')' if packed else ''}"
        )
        if self.left_out:
            yield self.describe_left_out()

    def describe_left_out(self) -> str:
        """One line about the files that are left out, with some of their names."""
        reasons = []
        for reason, paths in self.left_out.items():
            names = ", ".join(path.name or str(path) for path in paths[:_SHOWN_NAMES])
            more = f" and {len(paths) - _SHOWN_NAMES:,} more" if len(paths) > _SHOWN_NAMES else ""
            reasons.append(f"{names}{more} ({reason})")
        way_out = "; give a file by its name to read it" if self.left_out.keys() - _NEVER else ""
        return f"left out: {'; '.join(reasons)}{way_out}"


@dataclass(frozen=True)
class ReservedPaths:
    """What is no input: the output folder, the files in it that this command writes, and its other
    inputs (file -> description)."""

    output_dir: Path
    work_dir: Path | None = None
    output_files: Sequence[Path] = ()
    other_inputs: Sequence[tuple[Path, str]] = ()

    def identities(self) -> dict[_Identity, str]:
        """The reserved files that exist, however they are named: reason by identity."""
        named = [(path, OUTPUT) for path in self.output_files] + list(self.other_inputs)
        return {identity: reason for path, reason in named if (identity := outputs.identity(path))}


def find_files(
    inputs: Sequence[str], document_format: str = "auto", reserved: ReservedPaths | None = None
) -> FoundFiles:
    """The files of all `inputs`, in their order and sorted within each.

    An input is a file of any name, a folder (all text files below it: .txt, .text, .jsonl, wiki_00
    of wikiextractor, plain or compressed) or a glob pattern, in which ** matches any number of
    folders. Raises DataError, naming the input, for an input without files and for a file that
    cannot be read, OutputError for an input that this command writes.
    """
    if not inputs:
        raise DataError("no input files are given: name text files, folders or patterns")
    search = _Search(reserved)
    for name in inputs:
        before = len(search.paths)
        again = search.add_input(name)
        if len(search.paths) == before and not again:
            left_out = FoundFiles(left_out=search.left_out).describe_left_out()
            raise DataError(
                f"{name}: no text files there (.txt, .jsonl, wiki_00, .gz, .bz2, .xz, .zst): give "
                f"another input{' (' + left_out + ')' if search.left_out else ''}"
            )
    files = [
        InputFile(path, detect_layout(path, document_format)) for path in search.paths.values()
    ]
    return FoundFiles(files, search.left_out)


class _Search:
    """The state of a search. paths: the files to read, by real path."""

    def __init__(self, reserved: ReservedPaths | None):
        self.paths: dict[str, Path] = {}
        self.left_out: dict[str, list[Path]] = {}
        self._reserved = reserved.identities() if reserved else {}
        self._output_dir = outputs.identity(reserved.output_dir) if reserved else None
        self._work_dir = (
            outputs.identity(reserved.work_dir) if reserved and reserved.work_dir else None
        )

    def add_input(self, name: str) -> bool:
        """Add the files of one input; returns whether it has one that an earlier input had."""
        if not name.strip():
            raise DataError("an input file has an empty name: name text files, folders or patterns")
        path = Path(name).expanduser()
        if path.is_dir():
            files = self._files_below(path)
        elif path.exists():
            self._check_not_reserved(path)
            files = [_require_regular_file(path)]
        elif not glob.has_magic(name):
            raise DataError(f"{name}: no such file or folder")
        else:
            files = []
            for match in map(Path, glob.glob(str(path), recursive=True)):
                if match.is_dir() and self._is_output_dir(match):
                    self._leave_out(match, OUTPUT)
                elif match.is_dir():
                    files += self._files_below(match)
                elif self._is_read(match, pattern=name):
                    files.append(_require_regular_file(match))
        is_known = False
        for file in sorted(files):
            key = os.path.realpath(file)
            is_known |= key in self.paths
            self.paths.setdefault(key, file)
        return is_known

    def _is_output_dir(self, path: Path) -> bool:
        return self._output_dir is not None and outputs.identity(path) == self._output_dir

    def _check_not_reserved(self, path: Path) -> None:
        """Raise OutputError when a file or folder given by name is written or deleted by this
        command, or is its vocabulary."""
        reason = self._reserved.get(outputs.identity(path) or (0, 0))
        if reason == VOCAB_FLAG:
            raise OutputError(f"the input {path} is {reason}: give text")
        if reason:
            raise OutputError(f"the input {path} is a file that this command writes: give text")
        parents = [path, *path.absolute().parents]
        if self._work_dir and any(outputs.identity(parent) == self._work_dir for parent in parents):
            raise OutputError(f"the input {path} is in the work folder of this command: give text")

    def _files_below(self, folder: Path) -> list[Path]:
        """The files below a folder that are read. Links to folders are followed; each folder is
        read once."""

        def raise_error(error: OSError) -> None:  # os.walk would skip an unreadable folder
            raise error

        self._check_not_reserved(folder)
        if self._is_output_dir(folder):
            raise OutputError(
                f"the input {folder} is also the --output_dir, whose files would be read as text: "
                f"give another folder, such as {folder / 'out'}"
            )
        files: list[Path] = []
        seen: set[_Identity | None] = set()
        for folder_path, folders, names in os.walk(folder, onerror=raise_error, followlinks=True):
            identity = outputs.identity(Path(folder_path))
            if identity in seen:  # reached again through a link, perhaps in a loop
                folders.clear()
                continue
            seen.add(identity)
            kept = []
            for name in sorted(folders):
                path = Path(folder_path, name)
                if name.startswith("."):
                    self._leave_out(path, HIDDEN)
                elif self._is_output_dir(path):
                    self._leave_out(path, OUTPUT)
                else:
                    kept.append(name)
            folders[:] = kept
            paths = (Path(folder_path, name) for name in sorted(names))
            files += [_require_regular_file(path) for path in paths if self._is_read(path)]
        return sorted(files)

    def _is_read(self, path: Path, pattern: str | None = None) -> bool:
        """Whether a file that was not given by its name is read; pattern: what it was matched by,
        None in a folder."""
        reason = self._reserved.get(outputs.identity(path) or (0, 0)) or _reason_by_name(
            path, pattern
        )
        if reason is None and _is_vocabulary(path):
            reason = VOCABULARY
        if reason:
            self._leave_out(path, reason)
        return reason is None

    def _leave_out(self, path: Path, reason: str) -> None:
        paths = self.left_out.setdefault(reason, [])
        if path not in paths:
            paths.append(path)


def _reason_by_name(path: Path, pattern: str | None) -> str | None:
    """Why a file is left out, from its name, or None."""
    if path.name.startswith(".") and pattern is None:  # glob matches hidden files only if asked to
        return HIDDEN
    name = inner_name(path)
    if _ABOUT.fullmatch(name):
        return ABOUT
    if name.endswith((*TEXT_SUFFIXES, *JSON_SUFFIXES)) or _WIKI_NAME.fullmatch(name):
        return None
    is_compressed = len(name) < len(path.name)
    if pattern is not None and path.suffix and pattern.endswith(path.suffix):
        return None  # *.csv asks for such files, * does not
    is_other = Path(name).suffix in _OTHER_KINDS or (pattern is None and not is_compressed)
    return OTHER_KIND if is_other else None


def _is_vocabulary(path: Path) -> bool:
    """Whether a file is a BERT vocabulary, such as the vocab.txt beside shards."""
    if not path.is_file() or path.stat().st_size > _VOCABULARY_BYTES:
        return False
    with path.open("rb") as file:
        first_line = file.read(64).split(b"\n")[0]
    if "vocab" not in path.name.lower() and first_line.strip() != b"[PAD]":
        return False
    with open_bytes(path) as stream:
        lines = set(stream.read(_VOCABULARY_BYTES).splitlines())
    return all(token.encode() in lines for token in SPECIAL_TOKENS)


def _require_regular_file(path: Path) -> Path:
    """Return `path` if it can be read more than once: no pipe, no broken link."""
    if not path.is_file():
        problem = "not a regular file" if path.exists() else "a link to a file that does not exist"
        raise DataError(f"{path}: {problem}; give a text file")
    return path
