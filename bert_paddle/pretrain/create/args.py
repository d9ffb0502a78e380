"""The flags of `scripts/create_pretraining_data.py`."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from bert_paddle.common import flags, peer_flags, runtime
from bert_paddle.common.flag_fields import OnResume, PathUse, flag_names
from bert_paddle.common.flags import REQUIRED, flag, optional_switch
from bert_paddle.common.peer_flags import PeerFlag
from bert_paddle.pretrain.create import sequences
from bert_paddle.pretrain.create.segmenter import SEGMENTERS
from bert_paddle.pretrain.create.text_args import INPUT, TextArgs
from bert_paddle.pretrain.data import masking

ROWS, OUTPUT, CHECKS, EXECUTION = "rows", "output", "checks of the result", "execution"
MASKS = "masks"  # settings that shards without masks do not have

DESCRIPTION = """Create pre-training shards (HDF5, NVIDIA's layout) from plain text.

  python scripts/create_pretraining_data.py --input_files books --vocab_file vocab.txt \\
      --output_dir shards
  python scripts/create_pretraining_data.py --input_files 'wiki/*.txt.gz,more.txt' \\
      --vocab_file my_bert --max_seq_length 512 --max_predictions_per_seq 76 \\
      --output_dir shards_512 --workers 8
  python scripts/create_pretraining_data.py --input_files 'c4/*.jsonl.zst' --text_field content \\
      --vocab_file vocab.txt --output_dir shards
  python scripts/create_pretraining_data.py --input_files novels --form prose \\
      --vocab_file vocab.txt --output_dir shards --scheduler tcp://head:8786
  python scripts/create_pretraining_data.py --input_files books --vocab_file vocab.txt \\
      --nsp 0 --dynamic_masking 1 --output_dir shards

After an interruption the same command resumes: complete shards are kept. The shards do not depend
on the number of workers.
"""


@dataclasses.dataclass
class CreateArgs(TextArgs):
    """The flags of `scripts/create_pretraining_data.py`, named as in google-research/bert if they
    exist there."""

    vocab_file: str = flag(
        REQUIRED,
        "a vocab.txt, a model folder, or the name of one in $BERT_PADDLE_HOME/models",
        group=INPUT,
        path=PathUse.INPUT,
        on_resume=OnResume.FREE,  # compared by content, with --do_lower_case
    )
    do_lower_case: bool | None = optional_switch(
        "lower-case the text; default: as in the tokenizer_config.json or tokenizer.json next to "
        "the vocabulary; without one, unless the vocabulary has words with capitals",
        group=INPUT,
        on_resume=OnResume.FREE,
    )

    max_seq_length: int = flag(
        128, "word pieces per row", group=ROWS, minimum=8, maximum=masking.MAX_SEQ_LENGTH
    )
    nsp: bool = flag(
        True,
        "rows are sentence pairs for next-sentence prediction, half of them random; with 0 single "
        "sequences, to be trained with run_pretrain.py --nsp 0",
        group=ROWS,
    )
    sequences: str = flag(
        sequences.FULL_SENTENCES,
        "with --nsp 0, as RoBERTa's: full_sentences: rows are filled across the ends of documents; "
        "doc_sentences: a row's text is of one document",
        group=ROWS,
        choices=sequences.SEQUENCES,
    )
    dynamic_masking: bool = flag(
        False,
        "write smaller shards without masks: run_pretrain.py --dynamic_masking draws them anew in "
        "each epoch",
        group=ROWS,
    )
    max_predictions_per_seq: int = flag(
        20, "maximum number of masked word pieces per row", group=ROWS, minimum=1, part=MASKS
    )
    masked_lm_prob: float = flag(
        0.15,
        "share of a row's word pieces that are masked",
        group=ROWS,
        alias="mlm_probability",
        exclusive_minimum=0,
        maximum=0.9,
        part=MASKS,
    )
    whole_word_mask: bool = flag(
        False, "mask all word pieces of a word together", group=ROWS, part=MASKS
    )
    segmenter: str = flag(
        "none",
        "with --whole_word_mask: jieba joins Chinese characters into words",
        group=ROWS,
        choices=SEGMENTERS,
        part=MASKS,
    )
    dupe_factor: int = flag(
        5,
        "passes over the text, each with different sentence pairs and masks (1 unless given with "
        "--nsp 0 --dynamic_masking 1, where passes are alike)",
        group=ROWS,
        minimum=1,
    )
    short_seq_prob: float = flag(
        0.1,
        "share of rows that are built shorter, with a random length (0 unless given with --nsp 0)",
        group=ROWS,
        minimum=0,
        maximum=1,
    )
    random_seed: int = flag(12345, "random seed", group=ROWS, minimum=0, maximum=2**31 - 1)

    output_dir: str = flag(
        REQUIRED,
        "folder for the shards",
        group=OUTPUT,
        path=PathUse.OUTPUT,
        on_resume=OnResume.FREE,
    )
    corpus_name: str | None = flag(
        None,
        "prefix of the shards' names; default: the output folder's name",
        group=OUTPUT,
        on_resume=OnResume.FREE,
    )
    shards: int = flag(
        -1,
        "number of training shards (-1: one per 64 MB of text)",
        group=OUTPUT,
        minimum=1,
        maximum=100_000,
        sentinel=-1,
    )
    test_share: float = flag(
        0.02,
        "share of the documents held out for the test shards (0: none). With the default, an input "
        "that is too small gets no test shard",
        group=OUTPUT,
        minimum=0,
        maximum=0.9,
    )
    test_shards: int = flag(1, "number of test shards", group=OUTPUT, minimum=1, maximum=100_000)
    overwrite_output_dir: bool = flag(
        False,
        "replace shards of this corpus that were created with different settings",
        group=OUTPUT,
        on_resume=OnResume.FREE,
    )

    max_unknown_share: float = flag(
        0.5,
        "error when more of the text's word pieces are [UNK] (1: never); a warning from 0.03",
        group=CHECKS,
        on_resume=OnResume.FREE,
        minimum=0,
        maximum=1,
    )
    max_random_next_share: float = flag(
        0.9,
        "error when more of the pairs have a random next sentence (1: never); a warning from 0.6",
        group=CHECKS,
        on_resume=OnResume.FREE,
        minimum=0.5,
        maximum=1,
    )

    workers: int = flag(
        1,
        "processes that create shards",
        group=EXECUTION,
        minimum=1,
        maximum=1024,
        on_resume=OnResume.FREE,
    )
    scheduler: str | None = flag(
        None,
        "address of a Dask scheduler whose workers create the shards, instead of --workers; all of "
        "them need this package, and the same --output_dir on a shared disk",
        group=EXECUTION,
        on_resume=OnResume.FREE,
    )
    debug: bool = flag(
        False, "print tracebacks of errors", group=EXECUTION, on_resume=OnResume.FREE
    )

    peer_flags: ClassVar[tuple[PeerFlag, ...]] = peer_flags.CREATE

    @property
    def corpus(self) -> str:
        """The prefix of the shards' names."""
        return self.corpus_name or Path(self.output_dir).resolve().name

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        yield from self.text_problems(single_sequences=not self.nsp)
        if self.dynamic_masking:
            masks = flag_names(type(self), part=MASKS)
            given = [f"--{name}" for name in masks if name in self.explicit_flags]
            if given:
                yield (
                    f"--dynamic_masking writes no masks, so {', '.join(given)} cannot be used: "
                    "give the flags of the masks to run_pretrain.py"
                )
        elif self.max_predictions_per_seq > self.max_seq_length - 3:
            yield (
                f"--max_predictions_per_seq {self.max_predictions_per_seq}: at most "
                f"{self.max_seq_length - 3} word pieces can be masked with --max_seq_length "
                f"{self.max_seq_length}"
            )
        if self.nsp and "sequences" in self.explicit_flags:
            yield f"--sequences {self.sequences} needs --nsp 0: other rows are sentence pairs"
        if self.segmenter != "none" and not (self.whole_word_mask or self.dynamic_masking):
            yield f"--segmenter {self.segmenter} needs --whole_word_mask"
        if self.scheduler and "workers" in self.explicit_flags:
            yield "--workers and --scheduler: give only one of them"
        if self.scheduler and not re.fullmatch(r"(\w+://)?[^/\s]+:\d+", self.scheduler):
            yield f"--scheduler {self.scheduler}: give an address such as tcp://head:8786"
        if self.output_dir:
            yield from self._output_problems()
        if self.vocab_file and not self.vocabulary_path().exists():
            candidates = f"{self.vocab_file} or {self.vocabulary_path()}"
            yield f"--vocab_file {self.vocab_file}: no such file or folder (tried {candidates})"

    def finalize(self) -> None:
        """Set the defaults that depend on other flags."""
        if not self.nsp and "short_seq_prob" not in self.explicit_flags:
            self.short_seq_prob = 0.0
        if not self.nsp and self.dynamic_masking and "dupe_factor" not in self.explicit_flags:
            self.dupe_factor = 1

    def _output_problems(self) -> Iterator[str]:
        """Problems with --output_dir and --corpus_name."""
        name = self.corpus
        if not name or name.startswith(".") or "/" in name:
            yield (
                f"the corpus name {name!r} cannot be part of file names: give another --corpus_name"
            )
        if Path(self.output_dir).exists() and not Path(self.output_dir).is_dir():
            yield f"--output_dir {self.output_dir} is a file: give a folder"

    def vocabulary_path(self) -> Path:
        """The path that --vocab_file names: as given, else below the models folder."""
        path = Path(self.vocab_file).expanduser()
        return path if path.exists() else runtime.bert_paddle_home() / "models" / self.vocab_file


def parse_args(argv: Sequence[str] | None = None) -> CreateArgs:
    """Parse the command line of the script. Raises FlagError with all problems together."""
    return flags.parse(CreateArgs, DESCRIPTION, argv)
