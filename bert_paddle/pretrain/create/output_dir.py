"""The output folder: which shards are complete, which settings they were created with, work folder.

All shards of a corpus in a folder are created with the same flags and inputs. These are recorded in
the work folder's plan.json, and in the metadata once all shards are complete; different ones are
refused.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, read_files
from bert_paddle.common.errors import OutputError, WeightsError
from bert_paddle.models.tokenizer import VOCAB_FILE, Tokenizer, load_tokenizer
from bert_paddle.pretrain.create import partition, tokenizer_files
from bert_paddle.pretrain.data import schema

PLAN_FILE = "plan.json"
_START_OVER = "give another folder or --corpus_name, or replace it with --overwrite_output_dir"


class ShardOutputDir:
    """The folder `path` with the shards of `corpus`, and its temporary work folder `work_dir`."""

    def __init__(self, path: Path, corpus: str):
        self.path, self.corpus = path, corpus
        self.work_dir = path / f".{corpus}_spool"
        self.metadata_path = path / f"{corpus}{schema.METADATA_SUFFIX}"
        self._made_from: dict[str, Any] = {}
        splits = f"({schema.TRAINING}|{schema.TEST})"
        # Not a glob pattern: the shards of corpus "a" would include those of "a_training_b".
        self._shard_name = re.compile(
            rf"{re.escape(corpus)}_{splits}_\d+{re.escape(schema.SUFFIX)}"
        )

    def prepare(self, made_from: dict[str, Any], overwrite: bool) -> bool:
        """Prepare the folder; returns False when it is complete already.

        made_from: everything that the content of the shards depends on (settings, vocabulary,
        inputs), as JSON values. overwrite: remove shards that were created with different settings.
        Raises OutputError for a folder that cannot be written, for shards and metadata of these
        names that this program did not write, and, without overwrite, for shards created with
        different settings.
        """
        self._ensure_writable()
        self._made_from = made_from
        self._check_own()
        try:
            recorded = self._recorded_made_from()
            if recorded is not None and recorded != made_from:
                raise OutputError(
                    f"{self.path} has shards of {self.corpus} created with different settings "
                    f"({_describe_difference(recorded, made_from)}): {_START_OVER}"
                )
        except OutputError:
            if not overwrite:
                raise
            self._remove_all()
        for path in self.path.glob(f".*{schema.SUFFIX}.*"):
            name, _, rest = path.name[1:].partition(f"{schema.SUFFIX}.")
            is_own = self._shard_name.fullmatch(name + schema.SUFFIX)
            if is_own and rest.endswith((".chunks", ".part")):
                path.unlink(missing_ok=True)
        content = self._read_json(self.metadata_path)
        if not content:
            return True
        counts = partition.counts_from_json(content["sets"])
        return len(self.complete_shards(counts)) < len(self.shard_names(counts))

    def has_other_corpora(self) -> bool:
        """Whether the folder has shards of another corpus."""
        shards = self.path.glob(f"*{schema.SUFFIX}") if self.path.is_dir() else ()
        return any(not self._shard_name.fullmatch(path.name) for path in shards)

    def written_files(self) -> list[Path]:
        """The files that this command writes there, as far as they exist."""
        names = [self.path / name for name in tokenizer_files.TOKENIZER_FILES]
        return [*names, self.metadata_path, *self._existing_shards()]

    def check_vocabulary(self, tokenizer: Tokenizer) -> None:
        """Raise OutputError when the folder has another vocabulary that must stay.

        It does beside shards of another corpus (pre-training reads all shards of a folder with its
        one vocab.txt), and in a folder in which no shards were created yet: it is the user's.
        """
        names = [name for name in tokenizer_files.TOKENIZER_FILES if (self.path / name).exists()]
        if not names or self._has_vocabulary_of(tokenizer):
            return
        if self.has_other_corpora():
            raise OutputError(
                f"{self.path} has shards of another corpus with a different vocabulary or "
                f"do_lower_case ({self.path / VOCAB_FILE}): give another --output_dir"
            )
        if not self._has_record():
            raise OutputError(
                f"{self.path / names[0]} is there already, not created with shards, and would be "
                "replaced: give another --output_dir"
            )

    def save_vocabulary(self, tokenizer: Tokenizer) -> None:
        """Write the vocabulary into the folder unless it is there. A link is replaced, not the file
        that it leads to."""
        if not self._has_vocabulary_of(tokenizer):
            tokenizer_files.save(tokenizer, self.path)

    def _has_vocabulary_of(self, tokenizer: Tokenizer) -> bool:
        if not (self.path / VOCAB_FILE).is_file():
            return False
        try:
            existing = load_tokenizer(self.path)
        except WeightsError:
            return False
        return tokenizer_files.describe(existing) == tokenizer_files.describe(tokenizer)

    def _has_record(self) -> bool:
        """Whether shards of any corpus are recorded in the folder: its metadata or a plan."""
        paths = [*self.path.glob(f"*{schema.METADATA_SUFFIX}"), *self.path.glob(f".*/{PLAN_FILE}")]
        return any(not self._is_foreign(path) for path in paths)

    def load_plan(self) -> dict[str, partition.SplitCounts] | None:
        """The counts of the sets if the input has been partitioned completely, else None."""
        content = self._read_json(self.work_dir / PLAN_FILE)
        return partition.counts_from_json(content["sets"]) if content else None

    def save_plan(self, counts: dict[str, partition.SplitCounts]) -> None:
        """Flush the partitioned text to disk and mark it as complete by writing the plan."""
        for path in self.work_dir.iterdir():
            atomic_files.sync(path)
        content = {"made_from": self._made_from, "sets": partition.counts_to_json(counts)}
        atomic_files.write_json(self.work_dir / PLAN_FILE, content)

    def reset_work_dir(self) -> None:
        """Create an empty work_dir, replacing an existing one."""
        shutil.rmtree(self.work_dir, ignore_errors=True)
        self.work_dir.mkdir()

    def shard_names(self, counts: dict[str, partition.SplitCounts]) -> list[str]:
        """The file names of all shards."""
        return [
            schema.shard_name(self.corpus, split, index)
            for split, split_counts in counts.items()
            for index in range(split_counts.shards)
        ]

    def complete_shards(
        self, counts: dict[str, partition.SplitCounts]
    ) -> dict[str, dict[str, Any]]:
        """The statistics of each complete shard, by its file name."""
        recorded = self._read_json(self.metadata_path).get("shards", [])
        in_metadata = {shard["name"]: shard for shard in recorded}
        complete = {}
        for name in self.shard_names(counts):
            statistics = self._read_json(self.work_dir / f"{name}.json") or in_metadata.get(name)
            path = self.path / name
            if statistics and path.is_file() and path.stat().st_size == statistics["size"]:
                complete[name] = statistics
        return complete

    def save_statistics(self, statistics: dict[str, Any]) -> None:
        """Record the statistics of a shard that has just been written."""
        atomic_files.write_json(self.work_dir / f"{statistics['name']}.json", statistics)

    def finish(self, metadata: dict[str, Any]) -> None:
        """Write the metadata and remove work_dir."""
        atomic_files.write_json(self.metadata_path, metadata)
        shutil.rmtree(self.work_dir, ignore_errors=True)

    def _ensure_writable(self) -> None:
        """Create the folder if necessary. Raises OutputError when it is not writable."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.path).close()
        except OSError as error:
            raise OutputError(
                f"--output_dir {self.path} cannot be written ({error.strerror}): give another "
                "folder"
            ) from None

    def _check_own(self) -> None:
        """Raise OutputError when files in the folder have the names of the corpus and no record:
        they may be another program's, and are never replaced."""
        way_out = "give another folder or --corpus_name, or remove them yourself"
        if self.metadata_path.exists() and self._is_foreign(self.metadata_path):
            raise OutputError(f"{self.metadata_path} was not written by this program: {way_out}")
        records = (self.metadata_path, self.work_dir / PLAN_FILE)
        if self._existing_shards() and not any(path.exists() for path in records):
            raise OutputError(
                f"{self.path} has shards named {self.corpus} without a record of how they were "
                f"created: {way_out}"
            )

    @staticmethod
    def _is_foreign(path: Path) -> bool:
        """Whether a JSON file is not the record of a corpus. A damaged one is not foreign."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            return False
        return not (isinstance(content, dict) and {"made_from", "sets"} <= content.keys())

    def _recorded_made_from(self) -> dict[str, Any] | None:
        """`made_from` of the existing shards; None without a record."""
        for path in (self.metadata_path, self.work_dir / PLAN_FILE):
            content = self._read_json(path)
            if content:
                return content.get("made_from") or {}
        return None

    def _existing_shards(self) -> list[Path]:
        paths = self.path.glob(f"*{schema.SUFFIX}")
        return [path for path in paths if self._shard_name.fullmatch(path.name)]

    def _remove_all(self) -> None:
        self.metadata_path.unlink(missing_ok=True)
        shutil.rmtree(self.work_dir, ignore_errors=True)
        for path in self._existing_shards():
            path.unlink()

    def _read_json(self, path: Path) -> dict[str, Any]:
        """The content of a JSON file, {} if there is none. Raises OutputError if it is damaged."""
        content = read_files.read_bytes(path)
        try:
            return {} if content is None else read_files.parse_json_object(content)
        except ValueError:
            raise OutputError(f"{path} is damaged: {_START_OVER}") from None


def _describe_difference(recorded: Mapping[str, Any], made_from: Mapping[str, Any]) -> str:
    """The first three differences, for a message."""
    differences = []
    for key in [*made_from, *(key for key in recorded if key not in made_from)]:
        value, old = made_from.get(key), recorded.get(key)
        if old == value:
            continue
        if isinstance(value, dict) and isinstance(old, dict):
            differences += [
                f"{k} {old.get(k)}, now {v}" for k, v in value.items() if old.get(k) != v
            ]
        elif isinstance(value, list):
            differences.append(f"different {key}")
        else:
            differences.append(f"{key} {old}, now {value}")
    return "; ".join(differences[:3]) or "by a different version"
