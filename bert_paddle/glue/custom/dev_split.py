"""Holding out a share of the training rows for evaluation."""

import math

import numpy as np

from bert_paddle.glue.data.tsv import Examples

_SPLIT_SEED = 0x5B117  # makes the split's random numbers independent of the row order's


def split_dev_rows(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples | None]:
    """Hold out a random share of the rows, at least one row: returns (training rows, dev rows),
    both in file order; (all rows, None) for share 0 or a single row."""
    # 1e-9: a product such as 0.07 * 100 = 7.000000000000001 is not rounded up to 8.
    count = min(math.ceil(share * len(examples) - 1e-9), len(examples) - 1)
    if count < 1:
        return examples, None
    order = np.random.default_rng([_SPLIT_SEED, seed]).permutation(len(examples))
    dev_rows = np.sort(order[:count])
    train_rows = np.sort(order[count:])
    return (
        _select_rows(examples, train_rows, "without the held-out rows"),
        _select_rows(examples, dev_rows, "held-out rows"),
    )


def _select_rows(examples: Examples, rows: np.ndarray, part: str) -> Examples:
    """The examples at the indices `rows`. part: which part of the file they are, for messages."""
    texts_b, labels = examples.texts_b, examples.labels
    return Examples(
        [examples.texts_a[i] for i in rows],
        None if texts_b is None else [texts_b[i] for i in rows],
        None if labels is None else labels[rows],
        f"{examples.source} ({part})",
    )
