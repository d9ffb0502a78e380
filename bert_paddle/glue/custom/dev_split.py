"""Holding out a share of the training rows for evaluation."""

import numpy as np

from bert_paddle.glue.data.tsv import Examples
from bert_paddle.training import batching


def split_dev_rows(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples | None]:
    """Hold out a random share of the rows, at least one row: returns (training rows, dev rows),
    both in file order; (all rows, None) for share 0 or a single row."""
    train_rows, dev_rows = batching.hold_out_rows(len(examples), share, seed)
    if dev_rows is None:
        return examples, None
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
