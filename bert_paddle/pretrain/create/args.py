"""The flags of `scripts/create_pretraining_data.py`."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bert_paddle.common import flags, runtime
from bert_paddle.common.errors import UserError
from bert_paddle.common.flags import REQUIRED, flag
from bert_paddle.pretrain.create import documents, masking
from bert_paddle.pretrain.create.wordpiece import SEGMENTERS
from bert_paddle.pretrain.data import schema

INPUT, ROWS, OUTPUT, RUN = "input", "rows", "output", "how it runs"

DESCRIPTION = """Make pre-training shards (HDF5, NVIDIA's layout) from plain text.

  python scripts/create_pretraining_data.py --input_files books --vocab_file vocab.txt \\
      --output_dir shards
  python scripts/create_pretraining_data.py --input_files 'wiki/*.txt.gz,more.txt' \\
      --vocab_file my_bert --max_seq_length 512 --max_predictions_per_seq 76 \\
      --output_dir shards_512 --workers 8
  python scripts/create_pretraining_data.py --input_files novels --form prose \\
      --vocab_file vocab.txt --output_dir shards --scheduler tcp://head:8786

Interrupted, the same command goes on: shards that are whole stay as they are. The shards are the
same whatever the number of workers.
"""


def _switch_or_none(help: str, group: str) -> Any:
    """A switch whose value, when it is not given, comes from elsewhere."""
    declared = flag(True, help, group=group)
    return dataclasses.field(default=None, metadata=declared.metadata)


@dataclasses.dataclass
class CreateArgs:
    """Everything `scripts/create_pretraining_data.py` takes; BERT's names where it has the flag."""

    input_files: str = flag(
        REQUIRED,
        "text files, folders of .txt and .gz files, or patterns, separated by commas",
        group=INPUT,
    )
    form: str = flag(
        "lines",
        "lines: a sentence a line, blank lines between documents; prose: a file is a document",
        group=INPUT,
        choices=documents.FORMS,
    )
    language: str = flag(
        "en", "language of prose, for cutting it into sentences: en, zh, ...", group=INPUT
    )
    vocab_file: str = flag(
        REQUIRED,
        "a vocab.txt, a model's folder, or the name of one in $BERT_PADDLE_HOME/models",
        group=INPUT,
    )
    do_lower_case: bool | None = _switch_or_none(
        "lower-case the text; not given: as the settings beside the vocabulary say, else unless "
        "the vocabulary has capital letters",
        INPUT,
    )

    max_seq_length: int = flag(
        128, "word pieces per row", group=ROWS, least=8, most=masking.MOST_LENGTH
    )
    max_predictions_per_seq: int = flag(20, "most masked pieces of a row", group=ROWS, least=1)
    masked_lm_prob: float = flag(
        0.15, "share of a row's pieces that are masked", group=ROWS, above=0, most=0.9
    )
    whole_word_mask: bool = flag(False, "mask all pieces of a word together", group=ROWS)
    segmenter: str = flag(
        "none",
        "with --whole_word_mask: jieba joins Chinese characters to words",
        group=ROWS,
        choices=SEGMENTERS,
    )
    dupe_factor: int = flag(
        5,
        "times that the text is gone through, each with other pairs and masks",
        group=ROWS,
        least=1,
    )
    short_seq_prob: float = flag(
        0.1, "share of rows made short, to be of a random length", group=ROWS, least=0, most=1
    )
    random_seed: int = flag(12345, "seed of everything random", group=ROWS, least=0, most=2**31 - 1)

    output_dir: str = flag(REQUIRED, "folder for the shards", group=OUTPUT)
    corpus_name: str | None = flag(
        None, "what the shards' names begin with; else the output folder's name", group=OUTPUT
    )
    shards: int = flag(
        -1,
        "training shards (-1: one for each 64 MB of text)",
        group=OUTPUT,
        least=1,
        most=100_000,
        or_is=-1,
    )
    test_share: float = flag(
        0.02,
        "share of the documents that is held out (0: none). Left at its default, an input too "
        "small for it has no test shard",
        group=OUTPUT,
        least=0,
        most=0.9,
    )
    test_shards: int = flag(1, "test shards", group=OUTPUT, least=1, most=100_000)
    overwrite_output_dir: bool = flag(
        False, "replace shards of this corpus that were made otherwise", group=OUTPUT
    )

    workers: int = flag(1, "processes that make shards", group=RUN, least=1, most=1024)
    scheduler: str | None = flag(
        None,
        "address of a Dask scheduler whose workers make the shards, in place of --workers; all of "
        "them need this package and the same --output_dir, on a shared disk",
        group=RUN,
    )
    debug: bool = flag(False, "print tracebacks of errors", group=RUN)
    given: tuple[str, ...] = ()

    @property
    def corpus(self) -> str:
        """What the names of the shards begin with."""
        return self.corpus_name or Path(self.output_dir).resolve().name

    @property
    def inputs(self) -> list[str]:
        """The files, folders and patterns of --input_files."""
        return [name.strip() for name in self.input_files.split(",") if name.strip()]

    def problems(self) -> Iterator[str]:
        """What is wrong with the flags taken together, one clause each."""
        if self.max_predictions_per_seq > self.max_seq_length - 3:
            yield (
                f"--max_predictions_per_seq {self.max_predictions_per_seq} is more than a row of "
                f"--max_seq_length {self.max_seq_length} has pieces to mask"
            )
        if self.segmenter != "none" and not self.whole_word_mask:
            yield f"--segmenter {self.segmenter} needs --whole_word_mask"
        if self.scheduler and "workers" in self.given:
            yield "--workers and --scheduler: give one of them"
        if self.scheduler and not re.fullmatch(r"(\w+://)?[^/\s]+:\d+", self.scheduler):
            yield f"--scheduler {self.scheduler}: give an address such as tcp://head:8786"
        if self.input_files is not None and not self.inputs:
            yield "--input_files names no file"
        try:
            documents.language_code(self.language)
        except UserError as error:
            yield f"--{error}"
        if self.output_dir:
            yield from self._problems_of_corpus()
        if self.vocab_file and not self.vocabulary().exists():
            places = f"{self.vocab_file} or {self.vocabulary()}"
            yield f"--vocab_file {self.vocab_file}: no such file or folder (looked for {places})"

    def _problems_of_corpus(self) -> Iterator[str]:
        name = self.corpus
        if not name or name.startswith(".") or "/" in name:
            yield f"the corpus' name {name!r} makes no file names: give another --corpus_name"
        if schema.is_test(Path(schema.shard_name(name, schema.TRAINING, 0))):
            yield (
                f"the corpus' name {name!r} contains _{schema.TEST}_, by which test shards are "
                "known: give another --corpus_name"
            )
        if Path(self.output_dir).exists() and not Path(self.output_dir).is_dir():
            yield f"--output_dir {self.output_dir} is a file: give a folder"

    def vocabulary(self) -> Path:
        """The file or folder that --vocab_file names."""
        path = Path(self.vocab_file).expanduser()
        return path if path.exists() else runtime.home_dir() / "models" / self.vocab_file


def parse_args(argv: Sequence[str] | None = None) -> CreateArgs:
    """The command line of the script. Raises FlagError with all its problems together."""
    return flags.parse(CreateArgs, DESCRIPTION, argv)
