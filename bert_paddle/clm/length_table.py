"""How long texts are, in words and in tokens, as lines for the log."""

from collections.abc import Iterator, Sequence

import numpy as np

_BINS, _WIDTH = 8, 40


def describe_lengths(texts: Sequence[str], lengths: np.ndarray, max_length: int) -> Iterator[str]:
    """Lines with the means in words and in tokens, a histogram of the tokens, and the share of
    texts over the limit. lengths: int [n], tokens with those that begin and end a text."""
    words = np.array([len(text.split()) for text in texts])
    over = int(np.count_nonzero(lengths > max_length))
    yield (
        f"lengths: {words.mean():.1f} words and {lengths.mean():.1f} tokens on average, at most "
        f"{lengths.max():,}; {over:,} of {len(lengths):,} ({over / len(lengths):.1%}) are over "
        f"{max_length} tokens and are cut"
    )
    counts, edges = np.histogram(lengths, bins=_edges(int(lengths.min()), int(lengths.max())))
    digits = len(f"{int(edges[-1]) - 1:,}")
    for count, first, end in zip(counts, edges, edges[1:], strict=False):
        bar = "#" * round(_WIDTH * count / counts.max())
        span = f"{int(first):>{digits},} to {int(end) - 1:>{digits},}"
        yield f"  {span} tokens {int(count):>9,}  {bar}".rstrip()


def _edges(shortest: int, longest: int) -> np.ndarray:
    """Whole numbers that divide the lengths into at most _BINS ranges of the same size."""
    size = -(-(longest - shortest + 1) // _BINS)  # rounded up
    return np.arange(shortest, longest + size + 1, size)
