"""The folder that shards are made in: what is whole, what it was made from, what is left over.

A folder belongs to one set of flags and inputs for each corpus. They stand in the plan, while
shards are being made, and then in the metadata; what does not fit them is refused.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files
from bert_paddle.common.errors import OutputError
from bert_paddle.pretrain.create import partition
from bert_paddle.pretrain.data import schema

PLAN_FILE = "plan.json"
_ANEW = "give another folder or --corpus_name, or start anew with --overwrite_output_dir"


class ShardOutputDir:
    """`path` with the shards of `corpus`, its spool beside them."""

    def __init__(self, path: Path, corpus: str):
        self.path, self.corpus = path, corpus
        self.spool = path / f".{corpus}_spool"
        self.metadata = path / f"{corpus}{schema.METADATA_SUFFIX}"
        self._made_from: dict[str, Any] = {}

    def begin(self, made_from: dict[str, Any], overwrite: bool) -> bool:
        """Make the folder ready; False when everything is there already.

        made_from: all that the shards' content depends on, as JSON values. overwrite: remove what
        was made from something else. Raises OutputError for a folder that cannot be written, and,
        without overwrite, for shards made from something else or from who knows what.
        """
        self._make_writable()
        self._made_from = made_from
        try:
            known = self._known()
            if known is None and self._shards():
                raise OutputError(
                    f"{self.path} holds shards named {self.corpus} of which it is not known how "
                    f"they were made: {_ANEW}"
                )
            if known is not None and known != made_from:
                raise OutputError(
                    f"{self.path} holds shards of {self.corpus} made otherwise "
                    f"({_difference(known, made_from)}): {_ANEW}"
                )
        except OutputError:
            if not overwrite:
                raise
            self._clear()
        for pattern in ("chunks", "part"):
            for path in self.path.glob(f".{_escaped(self.corpus)}_*{schema.SUFFIX}.*.{pattern}"):
                path.unlink(missing_ok=True)
        content = self._content(self.metadata)
        if not content:
            return True
        counts = partition.from_json(content["sets"])
        return len(self.made(counts)) < len(self.names(counts))

    def has_other_corpora(self) -> bool:
        """Whether shards of another corpus lie in the folder."""
        own = f"{self.corpus}_"
        shards = self.path.glob(f"*{schema.SUFFIX}") if self.path.is_dir() else ()
        return any(not path.name.startswith(own) for path in shards)

    def plan(self) -> dict[str, partition.Counts] | None:
        """What the sets are made of, when the spool is whole; else None."""
        content = self._content(self.spool / PLAN_FILE)
        return partition.from_json(content["sets"]) if content else None

    def keep_plan(self, counts: dict[str, partition.Counts]) -> None:
        """Declare the spool whole."""
        for path in self.spool.iterdir():
            atomic_files.sync(path)
        content = {"made_from": self._made_from, "sets": partition.as_json(counts)}
        atomic_files.write_json(self.spool / PLAN_FILE, content)

    def empty_spool(self) -> None:
        """Make the spool anew."""
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir()

    def names(self, counts: dict[str, partition.Counts]) -> list[str]:
        """The names of all shards."""
        return [
            schema.shard_name(self.corpus, split, index)
            for split, own in counts.items()
            for index in range(own.shards)
        ]

    def made(self, counts: dict[str, partition.Counts]) -> dict[str, dict[str, Any]]:
        """What was counted of each shard that is whole, by its name."""
        before = self._content(self.metadata).get("shards", [])
        known = {shard["name"]: shard for shard in before}
        found = {}
        for name in self.names(counts):
            about = self._content(self.spool / f"{name}.json") or known.get(name)
            path = self.path / name
            if about and path.is_file() and path.stat().st_size == about["size"]:
                found[name] = about
        return found

    def keep(self, about: dict[str, Any]) -> None:
        """Note what was counted of a shard that has just been made."""
        atomic_files.write_json(self.spool / f"{about['name']}.json", about)

    def end(self, content: dict[str, Any]) -> None:
        """Write the metadata and remove the spool."""
        atomic_files.write_json(self.metadata, content)
        shutil.rmtree(self.spool, ignore_errors=True)

    def _make_writable(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OutputError(
                f"--output_dir {self.path} cannot be written ({error.strerror}): give another "
                "folder"
            ) from None

    def _known(self) -> dict[str, Any] | None:
        """What shards here were or are made from; None when nothing tells."""
        for path in (self.metadata, self.spool / PLAN_FILE):
            content = self._content(path)
            if content:
                return content.get("made_from") or {}
        return None

    def _shards(self) -> list[Path]:
        return [
            path
            for split in (schema.TRAINING, schema.TEST)
            for path in self.path.glob(f"{_escaped(self.corpus)}_{split}_*{schema.SUFFIX}")
        ]

    def _clear(self) -> None:
        self.metadata.unlink(missing_ok=True)
        shutil.rmtree(self.spool, ignore_errors=True)
        for path in self._shards():
            path.unlink()

    def _content(self, path: Path) -> dict[str, Any]:
        """The content of a JSON file of ours; {} when it is not there."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise OutputError(f"{path} is damaged: {_ANEW}")
        return content


def _difference(known: Mapping[str, Any], made_from: Mapping[str, Any]) -> str:
    """The first things that differ, for people."""
    told = []
    for key, value in made_from.items():
        old = known.get(key)
        if old == value:
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            told += [f"{k} {old.get(k)}, now {v}" for k, v in value.items() if old.get(k) != v]
        elif isinstance(value, list):
            told.append(f"other {key}")
        else:
            told.append(f"{key} {old}, now {value}")
    return "; ".join(told[:3]) or "by another version"


def _escaped(name: str) -> str:
    from glob import escape

    return escape(name)
