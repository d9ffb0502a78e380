"""Small invented pre-training shards. Every row contains its number, to identify it in tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.data import schema, shards

VOCAB_SIZE, LENGTH, PREDICTIONS = 100, 16, 4
_BASE = 90  # a row's number is stored in two "digits", the ids at positions 1 and 2


def make_rows(
    count: int,
    first: int = 0,
    length: int = LENGTH,
    predictions: int = PREDICTIONS,
    vocab_size: int = VOCAB_SIZE,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """`count` valid rows of the layout, numbered from `first`; lengths and predictions vary."""
    rng = np.random.default_rng([seed, first])
    rows = {
        key: np.zeros((count, *schema.row_shape(key, length, predictions)), dtype)
        for key, dtype in schema.DTYPES.items()
    }
    for i in range(count):
        tokens = int(rng.integers(predictions + 5, length + 1))
        rows["input_ids"][i, :tokens] = rng.integers(5, vocab_size, tokens)
        rows["input_ids"][i, 1:3] = divmod(first + i, _BASE)
        rows["input_mask"][i, :tokens] = 1
        rows["segment_ids"][i, tokens - 2 : tokens] = 1
        num_masked = int(rng.integers(1, predictions + 1))
        positions = 3 + rng.permutation(tokens - 3)[:num_masked]
        rows["masked_lm_positions"][i, :num_masked] = np.sort(positions)
        rows["masked_lm_ids"][i, :num_masked] = rng.integers(5, vocab_size, num_masked)
        rows["next_sentence_labels"][i] = rng.integers(0, 2)
    return rows


def set_predictions(
    rows: dict[str, np.ndarray], row: int, positions: Sequence[int], ids: Sequence[int]
) -> None:
    """Replace the predictions of a row."""
    for key, values in (("masked_lm_positions", positions), ("masked_lm_ids", ids)):
        rows[key][row] = 0
        rows[key][row, : len(values)] = values


def row_numbers(rows: dict[str, np.ndarray]) -> list[int]:
    """The numbers of the rows of a batch or a shard; [] for the empty batch {}."""
    if not rows:
        return []
    return (rows["input_ids"][:, 1] * _BASE + rows["input_ids"][:, 2]).tolist()


def write_shard(path: Path, rows: dict[str, np.ndarray], chunk_rows: int = 64) -> Path:
    """Write a shard with any keys, dtypes and shapes; gzip as in real ones."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, values in rows.items():
            chunks = (min(chunk_rows, max(1, len(values))), *values.shape[1:])
            options = {"chunks": chunks, "compression": "gzip"} if values.size else {}
            file.create_dataset(key, data=values, **options)
    return path


def write_shards(
    folder: Path,
    counts: Sequence[int],
    split: str = schema.TRAINING,
    corpus: str = "invented",
    **kw,
) -> list[Path]:
    """Write one shard for each count, with consecutive row numbers over all of them."""
    first, paths = 0, []
    for i, count in enumerate(counts):
        rows = make_rows(count, first, **kw)
        paths.append(write_shard(folder / schema.shard_name(corpus, split, i), rows))
        first += count
    return paths


def check_shards(
    *paths: Path, vocab_size: int = VOCAB_SIZE, max_positions: int = 512
) -> shards.ShardSet:
    """The shards, checked for a small model."""
    return shards.check_shards(paths, vocab_size, max_positions, 2)


def error_message(call, *args, **kw) -> str:
    """The message of the DataError that a call raises: one line."""
    with pytest.raises(DataError) as caught:
        call(*args, **kw)
    assert "\n" not in str(caught.value)
    return str(caught.value)
