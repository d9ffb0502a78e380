"""Counted words as texts for the `tokenizers` library."""

from collections.abc import Iterable, Iterator

_WORDS_PER_TEXT = 10_000  # repetitions of a word in one text passed to the library


def repeat_words(words: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Yield texts that repeat each word as often as counted: the library accepts no counts."""
    for word, count in words:
        full_texts, rest = divmod(count, _WORDS_PER_TEXT)
        for _ in range(full_texts):
            yield " ".join([word] * _WORDS_PER_TEXT)
        yield " ".join([word] * rest)
