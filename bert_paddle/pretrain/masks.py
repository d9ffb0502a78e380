"""Which masks the rows of a run have: those of the shards, or masks drawn when rows are read.

Does not import paddle.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bert_paddle.common.errors import DataError
from bert_paddle.models import model_config
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.args import PretrainArgs
from bert_paddle.pretrain.data import read_masking, schema
from bert_paddle.pretrain.data.read_masking import HELD_OUT_PROB, RowMasker
from bert_paddle.pretrain.data.shards import ShardSet
from bert_paddle.pretrain.model_source import ModelSource


@dataclass(frozen=True)
class RunMasks:
    """training: draws the masks of training rows; None: they are those of the shards. held_out:
    draws those of held-out rows, by the number of the shard. lines, warnings: for the log."""

    training: RowMasker | None = None
    held_out: Mapping[int, RowMasker] = field(default_factory=dict)
    lines: Sequence[str] = ()
    warnings: Sequence[str] = ()


def choose_masks(
    args: PretrainArgs, source: ModelSource, train: ShardSet | None, held_out: ShardSet | None
) -> RunMasks:
    """Decide whether masks are drawn: for training with --dynamic_masking; for a held-out shard
    without masks, and for one with another share of masked tokens than 15 %, so that evaluations
    are comparable. Raises DataError if a vocabulary is needed and there is none."""
    training, lines, warnings = None, list[str](), list[str]()
    if args.dynamic_masking and train is not None:
        tokenizer = _needed(source, "--dynamic_masking")
        limit = args.max_predictions_per_seq
        is_limited = "max_predictions_per_seq" in args.explicit_flags
        training = read_masking.training_masker(
            tokenizer,
            train.vocab_size,
            train.length,
            args.seed,
            args.mlm_probability,
            limit if is_limited else None,
            args.whole_word_mask,
        )
        lines.append(f"masks: drawn anew in each epoch, {training.described()}")
        if is_limited and limit < round(args.mlm_probability * train.length):
            warnings.append(
                f"--max_predictions_per_seq {limit} masks less than --mlm_probability "
                f"{args.mlm_probability:g} of rows of {train.length} tokens"
            )
        if args.whole_word_mask and not read_masking.has_continuations(tokenizer.vocab):
            warnings.append(
                "--whole_word_mask: no piece of the vocabulary begins with ##, so each piece is "
                "taken for a word"
            )
    maskers: dict[int, RowMasker] = {}
    if held_out is not None:
        maskers = _held_out_maskers(source, held_out, lines, warnings)
    return RunMasks(training, maskers, lines, warnings)


def _held_out_maskers(
    source: ModelSource, held_out: ShardSet, lines: list[str], warnings: list[str]
) -> dict[int, RowMasker]:
    """The maskers of held-out shards by their number; adds to `lines` and `warnings`."""
    others = list(_shards_masked_otherwise(held_out))
    without = [i for i in range(len(held_out.paths)) if not held_out.has_masks(i)]
    if others and source.tokenizer is None:
        warnings.append(
            f"{held_out.paths[others[0]].name} was not masked at {HELD_OUT_PROB:.0%} and is "
            "evaluated as it is: no vocabulary to draw other masks with (--vocab_file)"
        )
        others = []
    chosen = sorted({*without, *others})
    if not chosen:
        return {}
    name = held_out.paths[chosen[0]].name
    masker = read_masking.held_out_masker(
        _needed(source, f"{name}, a held-out shard without masks,"),
        held_out.vocab_size,
        held_out.length,
    )
    more = f" and {len(chosen) - 1} more" if len(chosen) > 1 else ""
    lines.append(
        f"held-out masks: fixed ones, the same for all runs, {masker.described()} ({name}{more})"
    )
    return dict.fromkeys(chosen, masker)


def _needed(source: ModelSource, what: str) -> Tokenizer:
    if source.tokenizer is None:
        raise DataError(
            f"{what} needs the vocabulary of the shards ({source.no_vocabulary_reason}): give it "
            "with --vocab_file"
        )
    return source.tokenizer


def _shards_masked_otherwise(shards: ShardSet) -> Iterator[int]:
    """The shards whose metadata says that another share of tokens than 15 % is masked, or fewer
    because of a limit. Those of other tools have no metadata."""
    others: set[Path] = set()
    wanted = round(HELD_OUT_PROB * shards.length)
    for folder in {path.parent for path in shards.paths}:
        for path in folder.glob(f"*{schema.METADATA_SUFFIX}"):
            content = model_config.read_json_object(path)
            made_from, listed = content.get("made_from"), content.get("shards")
            recipe = made_from.get("recipe") if isinstance(made_from, dict) else None
            if not isinstance(recipe, dict) or not isinstance(listed, list):
                continue
            limit = recipe.get("max_predictions_per_seq")
            is_limited = isinstance(limit, int) and limit < wanted
            if is_limited or recipe.get("masked_lm_prob") not in (None, HELD_OUT_PROB):
                names = [s["name"] for s in listed if isinstance(s, dict) and "name" in s]
                others.update(folder / str(name) for name in names)
    for i, path in enumerate(shards.paths):
        if shards.has_masks(i) and path in others:
            yield i
