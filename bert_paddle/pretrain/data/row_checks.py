"""Checks of the rows of a shard, whenever they are read. Does not import paddle."""

import numpy as np

RowArrays = dict[str, np.ndarray]


def find_invalid_row(
    rows: RowArrays, vocab_size: int, type_vocab_size: int, pad_id: int
) -> tuple[int, str] | None:
    """The index in `rows` of an invalid row, and its problem; None if all rows are valid.

    vocab_size, type_vocab_size, pad_id: the model's.
    """
    length = rows["input_ids"].shape[1]
    vocabulary = f"outside the vocabulary of {vocab_size} ids"
    limits = {  # (exclusive upper bound, problem)
        "input_ids": (vocab_size, vocabulary),
        "input_mask": (2, "neither 0 nor 1"),
        "segment_ids": (type_vocab_size, f"not below {type_vocab_size}"),
        "masked_lm_positions": (length, f"outside the sequence of {length}"),
        "masked_lm_ids": (vocab_size, vocabulary),
        "next_sentence_labels": (2, "neither 0 nor 1"),
    }
    for key, (limit, problem) in limits.items():
        values = rows[key]
        if values.min() < 0 or values.max() >= limit:
            index = tuple(np.argwhere((values < 0) | (values >= limit))[0].tolist())
            column = f"[{index[1]}]" if len(index) == 2 else ""
            return index[0], f"{key}{column} is {values[index]}, {problem}"
    mask = rows["input_mask"]
    if not mask[:, 0].all():
        return int(np.argmin(mask[:, 0])), "input_mask[0] is 0, but [CLS] cannot be padding"
    return _find_invalid_prediction(rows, pad_id)


def _find_invalid_prediction(rows: RowArrays, pad_id: int) -> tuple[int, str] | None:
    """`find_invalid_row` for the lists of predictions, whose values are within their limits."""
    positions, ids = rows["masked_lm_positions"], rows["masked_lm_ids"]
    used = used_predictions(positions)
    is_padding = np.take_along_axis(rows["input_mask"], positions.astype(np.int64), 1) == 0
    if (in_padding := used & is_padding).any():
        row, column = np.argwhere(in_padding)[0].tolist()
        value = f"masked_lm_positions[{column}] is {positions[row, column]}"
        return row, f"{value}, where input_mask is 0: padding cannot be predicted"
    if (dropped := ~used & ((positions != 0) | (ids != 0) & (ids != pad_id))).any():
        row, column = np.argwhere(dropped)[0].tolist()
        position, label = positions[row, column], ids[row, column]
        if position:
            return row, (
                f"masked_lm_positions[{column}] is {position} after a 0, which ends the list of "
                "predictions"
            )
        return row, (
            f"masked_lm_ids[{column}] is {label} at position 0, which is [CLS] and ends the list "
            "of predictions: the label would be dropped"
        )
    if (no_label := used & (ids == pad_id)).any():
        row, column = np.argwhere(no_label)[0].tolist()
        value = f"masked_lm_ids[{column}] is {pad_id} at position {positions[row, column]}"
        return row, f"{value}, but {pad_id} is [PAD], which is no label"
    return _find_duplicate(positions, used)


def _find_duplicate(positions: np.ndarray, used: np.ndarray) -> tuple[int, str] | None:
    """A row that predicts a position twice. Lists are ascending, so that sorting is rarely
    needed."""
    not_ascending = ((positions[:, 1:] <= positions[:, :-1]) & used[:, 1:]).any(axis=1)
    for row in np.flatnonzero(not_ascending).tolist():
        values, counts = np.unique(positions[row][used[row]], return_counts=True)
        if counts.max() > 1:
            return row, f"masked_lm_positions has {values[counts.argmax()]} twice"
    return None


def used_predictions(positions: np.ndarray) -> np.ndarray:
    """Which entries of masked_lm_positions are real predictions, not padding: bool [n, P], True up
    to a row's first 0."""
    return np.logical_and.accumulate(positions != 0, axis=1)
