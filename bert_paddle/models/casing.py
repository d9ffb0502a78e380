"""Decides whether a tokenizer lower-cases text: by a flag, by what the model's files declare, by
the model's published name, or by the word pieces of its vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bert_paddle.models import hub

# The share of word pieces with a capital, among those whose letters have two cases, from which a
# vocabulary is that of a cased model: published ones have 30 % and more. Lower-casing ones have
# none, but for words that a user put in place of [unusedN].
_MIN_CASED_SHARE = 0.005


@dataclass(frozen=True)
class Casing:
    """Whether text is lower-cased.

    reason: why, for a message. is_declared: by the model's own files. warning: what contradicts
    it, and the way out; None if nothing does.
    """

    lower: bool
    reason: str
    is_declared: bool
    warning: str | None = None


def decide_casing(
    flag: bool | None,
    declared: Sequence[tuple[bool, str]],
    folder: Path,
    vocab: Sequence[str],
) -> Casing:
    """The first that there is: the flag, the declared values, the published name, the vocabulary.

    flag: --do_lower_case, or None. declared: values in the order of precedence, each with the file
    and setting that has it. folder: the model's. vocab: the tokens.
    """
    capitals, letters = count_cased_pieces(vocab)
    looks_lower = capitals < _MIN_CASED_SHARE * letters or not capitals
    counts = f"{capitals:,} of {letters:,} word pieces with letters have a capital"
    if flag is not None:
        return Casing(flag, f"--do_lower_case {int(flag)}", is_declared=False)
    published = hub.HUB_MODELS.get(folder.absolute().name)
    if published is not None:
        name = f"as published for {folder.absolute().name}"
        declared = [*declared, (published.do_lower_case, name)]
    if not declared:
        reason = f"{counts}; --do_lower_case {int(not looks_lower)} overrides this"
        return Casing(looks_lower, reason, is_declared=False)
    lower, source = declared[0]
    others = [f"but {text}: {str(value).lower()}" for value, text in declared if value != lower]
    reason = ", ".join([source, *others])
    warning = None
    if letters and lower != looks_lower:
        effect = "words with capitals are split or become [UNK]"
        if lower:
            effect = "the pieces with capitals are never used"
        warning = (
            f"do_lower_case is {str(lower).lower()} ({source}), but in the vocabulary {counts}: "
            f"{effect}; if that is a mistake, give --do_lower_case {int(not lower)}"
        )
    return Casing(lower, reason, is_declared=True, warning=warning)


def count_cased_pieces(vocab: Sequence[str]) -> tuple[int, int]:
    """The numbers of word pieces that have a capital letter, and of those whose letters have two
    cases. Only pieces of letters count: `<S>`, `[unused1]` and `[CLS]` are not words."""
    words = (token.removeprefix("##") for token in vocab)
    with_case = [word for word in words if word.isalpha() and word.lower() != word.upper()]
    return sum(word != word.lower() for word in with_case), len(with_case)
