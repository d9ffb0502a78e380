"""The flags of `run_pretrain.py`."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from bert_paddle.common import flags, peer_flags
from bert_paddle.common.args import EVALUATION, MODEL, CommonArgs
from bert_paddle.common.digest_names import INITIAL_WEIGHTS
from bert_paddle.common.flag_fields import (
    EVALUATING,
    TRAINING,
    OnRanks,
    OnResume,
    PathUse,
    flag_names,
)
from bert_paddle.common.flags import REQUIRED, flag
from bert_paddle.common.peer_flags import PeerFlag
from bert_paddle.common.size_args import SIZE, SizeArgs, size_flag

DATA = "data"

DESCRIPTION = """Pre-train BERT (masked LM and next-sentence prediction, or masked LM alone) on HDF5
shards.

  python run_pretrain.py --model_name_or_path bert-base-uncased --input_dir shards --output_dir out
  python run_pretrain.py --model_name_or_path bert-base-uncased --num_hidden_layers 4 \\
      --hidden_size 256 --input_dir shards --output_dir out --max_steps 1000
  python run_pretrain.py --do_eval --model_name_or_path out/model_7038 --input_dir held_out \
      --output_dir scores
  python run_pretrain.py --model_name_or_path out/model_7038 --init_from out/model_7038 \\
      --input_dir shards_512 --output_dir phase2 --max_predictions_per_seq 80
  python run_pretrain.py --model_name_or_path bert-base-uncased --nsp 0 --dynamic_masking 1 \\
      --input_dir shards --output_dir out

--model_name_or_path gives the configuration: a published name, a model folder or a config.json.
Weights are random, or loaded from --init_from. scripts/create_pretraining_data.py creates the
shards.
"""


@dataclasses.dataclass
class PretrainArgs(SizeArgs, CommonArgs):
    """The flags of `run_pretrain.py`; see `CommonArgs` for the shared ones."""

    input_dir: str = flag(
        REQUIRED,
        "folder of *.hdf5 shards; --eval_pattern says which are held out",
        group=DATA,
        path=PathUse.INPUT,
        on_resume=OnResume.FREE,
        on_ranks=OnRanks.FREE,
    )
    eval_pattern: str | None = flag(
        None,
        "file names of the held-out shards, as '*_test_*,dev.hdf5'; none: train on all (default: "
        "names whose last or first word is test, dev, valid, validation, val, eval or heldout, as "
        "test.hdf5, wiki_test_0.hdf5 and valid_0.hdf5)",
        group=DATA,
        comma_separated=True,
        on_resume=OnResume.FROM_RUN,
    )
    max_predictions_per_seq: int = flag(
        80,
        "maximum number of masked positions used per row",
        group=DATA,
        minimum=1,
        on_ranks=OnRanks.SAME_LATER,
    )
    nsp: bool = flag(
        True,
        "train next-sentence prediction beside masked words; 0: masked words alone, on sentence "
        "pairs or on shards created with --nsp 0",
        group=DATA,
    )
    dynamic_masking: bool = flag(
        False,
        "draw the masks of each epoch anew when rows are read, in place of those in the shards; "
        "needs the vocabulary",
        group=DATA,
    )
    mlm_probability: float = flag(
        0.15,
        "with --dynamic_masking: share of a row's tokens that are predicted",
        group=DATA,
        alias="masked_lm_prob",
        exclusive_minimum=0,
        maximum=0.9,
        on_ranks=OnRanks.SAME_LATER,
    )
    whole_word_mask: bool = flag(
        False,
        "with --dynamic_masking: mask all word pieces of a word together (those that begin with "
        "## continue one)",
        group=DATA,
        on_ranks=OnRanks.SAME_LATER,
    )
    init_from: str | None = flag(
        None,
        "load the initial weights from this model folder or name (Paddle or Hugging Face)",
        group=MODEL,
        path=PathUse.MODEL,
        recognized_by=(INITIAL_WEIGHTS,),
        on_ranks=OnRanks.GIVEN,
    )
    vocab_size: int = size_flag("number of word pieces")
    do_train: bool = flag(
        False,
        "train (with no --do_... flag: train, and evaluate if shards are held out; with --do_eval "
        "alone: only evaluate the model of --init_from, else of --model_name_or_path)",
        group=EVALUATION,
        on_resume=OnResume.FREE,
    )
    do_eval: bool = flag(
        True,
        "evaluate on the held-out shards, if there are any: at every save, or without training",
        group=EVALUATION,
        on_resume=OnResume.FREE,
    )
    max_eval_samples: int = flag(
        2048,
        "evaluate on this many held-out rows, spread evenly over all of them (-1: all)",
        group=EVALUATION,
        alias="max_eval_rows",
        minimum=1,
        sentinel=-1,
        on_resume=OnResume.FROM_RUN,
    )

    peer_flags: ClassVar[tuple[PeerFlag, ...]] = peer_flags.PRETRAIN

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        yield from super().problems()
        if self.input_dir and not Path(self.input_dir).is_dir():
            yield f"--input_dir {self.input_dir}: no such folder"
        for name in ("mlm_probability", "whole_word_mask"):
            if name in self.explicit_flags and getattr(self, name) and not self.dynamic_masking:
                yield (
                    f"--{name} needs --dynamic_masking 1: without it, rows are masked as "
                    "create-data has written them"
                )
        train, evaluate = self._actions()
        if not (train or evaluate):
            yield "nothing to do: --do_train and --do_eval are both off"
        yield from self.needs_problems({TRAINING: train, EVALUATING: evaluate})

    def finalize(self) -> None:
        """Set --do_train and --do_eval to what the run does."""
        super().finalize()
        self.do_train, self.do_eval = self._actions()

    def _actions(self) -> tuple[bool, bool]:
        """Whether to (train, evaluate). In a settings file do_eval alone does not stop the
        training: those of versions without --do_train have it."""
        if "do_train" in self.explicit_flags:
            evaluates = "do_eval" in self.explicit_flags or self.asks_for_evaluations()
            return self.do_train, self.do_eval and evaluates
        if "do_eval" in self.command_line_flags and self.do_eval:
            return False, True
        return True, self.do_eval


SIZES = flag_names(PretrainArgs, part=SIZE)


def parse_args(argv: Sequence[str] | None = None) -> PretrainArgs:
    """Parse the command line of `run_pretrain.py`. Raises FlagError with all problems together."""
    return flags.parse(PretrainArgs, DESCRIPTION, argv)
