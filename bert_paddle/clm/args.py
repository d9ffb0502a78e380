"""The flags of `run_clm.py`."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from bert_paddle.common import flags, peer_flags
from bert_paddle.common.args import MODEL, CommonArgs
from bert_paddle.common.finetune_args import ACTION, FinetuneArgs
from bert_paddle.common.flag_fields import (
    EVALUATING,
    TRAINING,
    OnRanks,
    OnResume,
    PathUse,
    Results,
    reworded,
)
from bert_paddle.common.flags import flag, flag_names
from bert_paddle.common.freeze_args import FreezeArgs
from bert_paddle.common.peer_flags import PeerFlag
from bert_paddle.common.size_args import SIZE, SizeArgs
from bert_paddle.glue import custom_args

DATA, SAMPLES = "data", "sampled texts"
TEXT = "text"  # a format of its own: one text per line
FORMATS = (*custom_args.FORMATS, TEXT)
DEFAULT_VALIDATION_SHARE = 0.1  # of the training texts; used without --validation_file
TOKEN = "special token"
# The file may lie elsewhere on another host and when a run is resumed: its texts are compared.
_FILE: Any = {
    "group": DATA,
    "path": PathUse.INPUT,
    "on_resume": OnResume.FREE,
    "on_ranks": OnRanks.GIVEN,
    "changes_rows": True,
}
# A sample changes nothing in the run.
_SAMPLE: Any = {
    "group": SAMPLES,
    "on_resume": OnResume.FREE,
    "results": Results.SAME,
    "in_comparisons": False,
}

DESCRIPTION = """Fine-tune GPT-2 on texts of your own, evaluate it, sample from it.

  python run_clm.py --model_name_or_path gpt2 --train_file bios.csv --text_column bio \\
      --output_dir out --bos_token '<|startoftext|>' --pad_token '<|pad|>' --max_seq_length 768
  python run_clm.py --model_name_or_path gpt2 --random_weights --hidden_size 256 \\
      --num_hidden_layers 4 --train_file novel.txt --packing --output_dir out
  python run_clm.py --model_name_or_path out/model_450 --validation_file other.csv --do_eval \\
      --output_dir out/other
"""


def _token(help: str) -> str | None:
    """A flag for a special token."""
    return flag(None, help, group=MODEL, part=TOKEN)


@dataclasses.dataclass
class ClmArgs(SizeArgs, FreezeArgs, FinetuneArgs, CommonArgs):
    """The flags of `run_clm.py`; see `CommonArgs` for the shared ones."""

    model_type: str = flag("gpt2", "architecture; only gpt2", group=MODEL)
    vocab_file: str | None = reworded(
        CommonArgs,
        "vocab_file",
        "a tokenizer.json, or a vocab.json with merges.txt beside it, instead of the model's own",
    )
    do_lower_case: bool | None = reworded(
        CommonArgs, "do_lower_case", "not for GPT-2, whose vocabulary keeps upper and lower case"
    )
    group_by_length: bool = reworded(
        FinetuneArgs, "group_by_length", "batch texts of similar length, to save padding"
    )
    to_static: bool = reworded(CommonArgs, "to_static", "not for GPT-2")
    flash_attention: bool = reworded(CommonArgs, "flash_attention", "not for GPT-2")
    cpu_kernels: bool = reworded(
        CommonArgs,
        "cpu_kernels",
        "on the CPU, update the weights with this package's C kernel of AdamW, compiled at first "
        "use, instead of Paddle's (a resumed run must keep it)",
    )
    train_file: str | None = flag(
        None,
        "training texts: .csv, .tsv, .jsonl or .json with named columns, or .txt with one text per "
        "line",
        **_FILE,
    )
    validation_file: str | None = flag(None, "texts to evaluate on, in the same formats", **_FILE)
    validation_share: float = flag(
        -1.0,
        "share of the training texts held out for evaluation, chosen by --seed (0: none; -1: 0.1, "
        "or none with --validation_file)",
        group=DATA,
        minimum=0,
        maximum=0.9,
        sentinel=-1,
        changes_rows=True,
    )
    text_column: str | None = flag(
        None, "column with the text (default: text, or the only column)", group=DATA
    )
    file_format: str | None = flag(
        None,
        "format of the files (default: by their extensions); text: one text per line",
        group=DATA,
        choices=FORMATS,
    )
    max_seq_length: int = flag(
        -1,
        "tokens per text, with those that begin and end it; longer texts are cut (-1: the model's "
        "positions)",
        group=DATA,
        minimum=2,
        sentinel=-1,
    )
    packing: bool = flag(
        False,
        "train on rows of several whole texts, filled up to --max_seq_length, instead of one "
        "padded text per row",
        group=DATA,
    )
    packing_across_texts: bool = flag(
        False,
        "with --packing: let a text attend to those before it in its row, and count positions on",
        group=DATA,
    )

    random_weights: bool = flag(
        False,
        "start from random weights; --model_name_or_path gives the configuration: a published "
        "name, a folder or a config.json",
        group=MODEL,
    )
    bos_token: str | None = _token(
        "token before each text; added to the vocabulary if it is not in it"
    )
    eos_token: str | None = _token("token after each text, likewise")
    pad_token: str | None = _token(
        "token that fills up shorter rows, likewise; no loss is computed for it"
    )
    sample_every: int = flag(
        0, "steps between sampled texts, printed as `sample: …` (0: none)", minimum=0, **_SAMPLE
    )
    sample_prompt: str = flag("", "text that a sample continues", **_SAMPLE)
    sample_length: int = flag(200, "tokens of a sample at most", minimum=1, **_SAMPLE)
    sample_top_k: int = flag(
        50, "sample from the k most probable tokens (0: from all)", minimum=0, **_SAMPLE
    )
    sample_top_p: float = flag(
        0.95,
        "sample from the most probable tokens that have this probability together",
        exclusive_minimum=0,
        maximum=1,
        **_SAMPLE,
    )

    peer_flags: ClassVar[tuple[PeerFlag, ...]] = peer_flags.CLM

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        yield from super().problems()
        if self.do_lower_case:
            yield "--do_lower_case is not for GPT-2: omit it"
        if self.to_static:
            yield "--to_static is not for GPT-2: omit it"
        if self.flash_attention:
            yield "--flash_attention is not for GPT-2: omit it"
        if not self.train_file and not self.validation_file:
            yield "--train_file is required (or --validation_file, to evaluate)"
        for name in ("train_file", "validation_file"):
            yield from self._file_problems(name)
        if self.validation_file and self.validation_share > 0:
            yield "--validation_file and --validation_share are both set: give one of them"
        train, evaluate = self._actions()
        if train and not self.train_file:
            yield "--do_train needs --train_file"
        if evaluate and not self.validation_file and not self.splits_train_file():
            yield "--do_eval needs --validation_file, or --train_file and a --validation_share"
        if not (train or evaluate):
            yield "nothing to do: --do_train and --do_eval are both off"
        if self.random_weights and not train:
            yield "--random_weights needs training (--do_train)"
        yield from self.needs_problems({TRAINING: train, EVALUATING: evaluate})
        names = flag_names(type(self), part=SIZE)
        sizes = [f"--{name}" for name in names if getattr(self, name) > 0]
        if sizes and not self.random_weights:
            yield f"{', '.join(sizes)}: weights have their sizes; give --random_weights for others"
        if self.packing_across_texts and not self.packing:
            yield "--packing_across_texts needs --packing"

    def _file_problems(self, name: str) -> Iterator[str]:
        path = getattr(self, name)
        if path is None:
            return
        if not Path(path).is_file():
            yield f"--{name} {path}: " + ("is a folder" if Path(path).is_dir() else "no such file")
            return
        found = detect_format(path, self.file_format)
        if found is None:
            known = " ".join((*custom_args.EXTENSIONS, ".txt"))
            yield f"--{name} {path}: unknown extension ({known}); or give --file_format"
        elif found == TEXT and self.text_column:
            yield f"--text_column is for files with columns: {path} has one text per line"

    def finalize(self) -> None:
        """Set the --do_... flags."""
        self.do_train, self.do_eval = self._actions()

    def _actions(self) -> tuple[bool, bool]:
        """Whether to (train, evaluate); with no --do_... flag, all that the files allow."""
        if set(flag_names(type(self), part=ACTION)) & set(self.explicit_flags):
            return self.do_train, self.do_eval
        has_dev = self.validation_file is not None or self.splits_train_file()
        return self.train_file is not None, has_dev

    def resolved_validation_share(self) -> float:
        """--validation_share with its default resolved: the share of the training texts held
        out."""
        if self.validation_share >= 0:
            return self.validation_share
        return 0.0 if self.validation_file else DEFAULT_VALIDATION_SHARE

    def splits_train_file(self) -> bool:
        """Whether part of the training file is held out for evaluation."""
        return self.train_file is not None and self.resolved_validation_share() > 0

    def roles(self) -> dict[str, str]:
        """The special tokens in the flags by role."""
        names = flag_names(type(self), part=TOKEN)
        given = {name.removesuffix("_token"): getattr(self, name) for name in names}
        return {role: token for role, token in given.items() if token is not None}


def detect_format(path: str, file_format: str | None) -> str | None:
    """The format of a file, by --file_format or its extension; None for an unknown extension."""
    if file_format is None and Path(path).suffix.lower() == ".txt":
        return TEXT
    return custom_args.detect_format(path, file_format)


def parse_args(argv: Sequence[str] | None = None) -> ClmArgs:
    """Parse the command line of `run_clm.py`. Raises FlagError with all problems together."""
    return flags.parse(ClmArgs, DESCRIPTION, argv)
