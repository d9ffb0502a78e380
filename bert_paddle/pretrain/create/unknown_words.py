"""Count the words that become [UNK], and say why they do. Does not import paddle.

A word is unknown as a whole: if the vocabulary lacks one of its characters, if it is longer than
the tokenizer's limit, or, rarely, if its pieces do not fit together.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bert_paddle.models.tokenizer import Tokenizer

MAX_WORD_CHARS = 100  # BERT's: a longer word is [UNK], as in Tokenizer
KEPT_WORDS = 50  # recorded for each shard
_MAX_COUNTED, _KEPT_COUNTED = 50_000, 10_000  # distinct words: reduced to the most frequent ones
_EXAMPLES = 5
_LONG_WORD_PREFIX = 30  # characters kept of a word that is too long


@dataclass
class UnknownWords:
    """counts: occurrences of each unknown word, if there are very many only of the frequent ones.
    too_long: occurrences of words of more than MAX_WORD_CHARS, which are not in `counts`;
    long_example: the beginning of one."""

    counts: Counter[str] = field(default_factory=Counter)
    too_long: int = 0
    long_example: str = ""

    def add(self, word: str, count: int) -> None:
        """Count a normalized word."""
        if len(word) > MAX_WORD_CHARS:
            self.too_long += count
            self.long_example = self.long_example or word[:_LONG_WORD_PREFIX]
            return
        self.counts[word] += count
        if len(self.counts) > _MAX_COUNTED:
            self.counts = Counter(dict(most_frequent(self.counts, _KEPT_COUNTED)))

    def to_json(self) -> dict[str, object]:
        """The most frequent words, as JSON values."""
        return {
            "words": dict(most_frequent(self.counts, KEPT_WORDS)),
            "too_long": self.too_long,
            "long_example": self.long_example,
        }


def merge(recorded: Iterable[Mapping]) -> UnknownWords:
    """The sum of several results of `to_json`."""
    total = UnknownWords()
    for one in recorded:
        total.counts.update(one["words"])
        total.too_long += one["too_long"]
        total.long_example = total.long_example or one["long_example"]
    return total


def most_frequent(counts: Mapping[str, int], limit: int) -> list[tuple[str, int]]:
    """The `limit` most frequent entries; ties are broken by the text."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]


def describe(unknown: UnknownWords, tokenizer: Tokenizer) -> str:
    """The likely cause of unknown words, with examples, as the second half of a message."""
    vocab = set(tokenizer.vocab)

    def is_known(char: str) -> bool:
        return char in vocab or f"##{char}" in vocab

    characters: Counter[str] = Counter()
    capitals = 0
    for word, count in unknown.counts.items():
        lacking = {char for char in word if not is_known(char)}
        characters.update(dict.fromkeys(lacking, count))
        capitals += count * all(is_known(char.lower()) for char in lacking)
    parts = []
    if not tokenizer.do_lower_case and capitals > unknown.counts.total() / 2:
        parts.append("the vocabulary has no capital letters: give --do_lower_case 1")
    elif characters:
        names = [f"{char} (U+{ord(char):04X})" for char, _ in most_frequent(characters, _EXAMPLES)]
        parts.append(
            f"the vocabulary lacks {len(characters):,} characters of the text, above all "
            f"{', '.join(names)}: give a vocabulary of its language (scripts/train_vocab.py makes "
            "one)"
        )
    if unknown.too_long:
        parts.append(
            f"{unknown.too_long:,} words have more than {MAX_WORD_CHARS} characters, BERT's limit, "
            f"such as {unknown.long_example}...: put spaces between words in a script without them"
        )
    words = [word for word, _ in most_frequent(unknown.counts, _EXAMPLES)]
    if words:
        parts.append(f"the most frequent unknown words are {', '.join(words)}")
    return "; ".join(parts)
