"""Masks that are drawn when rows are read: anew in each epoch for training (dynamic masking), or
fixed ones for held-out rows. Does not import paddle.

The masks of a row depend on the seed, the epoch and the row alone: its number in its shard, and
that of its shard in the order of their names. They are the same for any batch size and number of
ranks, and after a resume. Masks that a shard contains are taken off before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bert_paddle.common.errors import DataError
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.data import masking, schema
from bert_paddle.pretrain.data.masking import MaskingConfig
from bert_paddle.pretrain.data.row_checks import RowArrays, used_predictions

HELD_OUT_PROB = 0.15  # of the tokens are predicted in every evaluation, however training masks
CONTINUATION = "##"  # begins the pieces of a word but its first
_CHUNK_ROWS = 256  # their arrays fit in the CPU cache
_TRAINING, _HELD_OUT = 0, 1
# SplitMix64 (Steele, Lea and Flood, 2014): its increment, and the two factors of its finalizer.
_INCREMENT = 0x9E3779B97F4A7C15
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# Added to a row's key for each use of its random numbers.
_SORTING, _OUTCOME, _CHOICE = (np.uint64(n) for n in (0, 0x5851F42D4C957F2D, 0x14057B7EF767814F))


class RowDraws:
    """Random numbers that depend on a row's key and a token's column only. keys: uint64 [n]."""

    def __init__(self, keys: np.ndarray):
        self._keys = keys

    def sort_bits(self, count: int, length: int) -> np.ndarray:  # noqa: D102
        columns = np.arange(length)
        return (self._mixed(np.arange(count)[:, None], columns, _SORTING) >> np.uint64(33)).astype(
            np.int32
        )

    def outcomes(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:  # noqa: D102
        bits = (self._mixed(row, column, _OUTCOME) >> np.uint64(40)).astype(np.float32)
        return bits * np.float32(2**-24)

    def choices(self, row: np.ndarray, column: np.ndarray, size: int) -> np.ndarray:  # noqa: D102
        bits = self._mixed(row, column, _CHOICE) >> np.uint64(32)
        return ((bits * np.uint64(size)) >> np.uint64(32)).astype(np.int64)

    def _mixed(self, row: np.ndarray, column: np.ndarray, use: np.uint64) -> np.ndarray:
        steps = (column.astype(np.uint64) + np.uint64(1)) * np.uint64(_INCREMENT)
        return _mix(self._keys[row] + use + steps)


def row_keys(seed: int, use: int, epoch: int, shard: np.ndarray, row: np.ndarray) -> np.ndarray:
    """uint64 [n]: a key for the random numbers of each row."""
    key = np.zeros(1, np.uint64)
    for part in (np.array([seed]), np.array([use]), np.array([epoch]), shard, row):
        key = _mix(key + (part.astype(np.uint64) + np.uint64(1)) * np.uint64(_INCREMENT))
    return key


def _mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64, which makes similar numbers unlike. Wraps around at 2^64."""
    values = (values ^ (values >> np.uint64(30))) * _FACTORS[0]
    values = (values ^ (values >> np.uint64(27))) * _FACTORS[1]
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True)
class RowMasker:
    """Masks rows as they are read. config: the rule, whose max_predictions is P of the masked rows.
    special, continues: bool [vocab_size], the ids that are never masked, and those that continue a
    word. use: what separates the random numbers of training from those of held-out rows."""

    config: MaskingConfig
    seed: int
    use: int
    cls_id: int
    sep_id: int
    special: np.ndarray
    continues: np.ndarray

    def unmask(self, rows: RowArrays, path: str, start: int) -> RowArrays:
        """Rows as their text is, in new arrays, without the masks of their shard and the datasets
        of these.

        Raises DataError if a row is not [CLS] … [SEP], as with another vocabulary. path, start: of
        the rows, for the message.
        """
        ids, used = rows["input_ids"].copy(), used_predictions(rows["masked_lm_positions"])
        row, slot = np.nonzero(used)
        ids[row, rows["masked_lm_positions"][row, slot]] = rows["masked_lm_ids"][row, slot]
        last = ids.shape[1] - 1 - np.argmax(rows["input_mask"][:, ::-1], axis=1)
        last_ids = ids[np.arange(len(ids)), last]
        wrong = (ids[:, 0] != self.cls_id) | (last_ids != self.sep_id)
        if wrong.any():
            index = int(np.argmax(wrong))
            raise DataError(
                f"{path}: row {start + index} (counted from 0) begins with id {ids[index, 0]} and "
                f"ends with id {last_ids[index]}, but [CLS] and [SEP] of the vocabulary are "
                f"{self.cls_id} and {self.sep_id}: give that of the shards (--vocab_file)"
            )
        others = {key: value for key, value in rows.items() if key not in schema.MASK_KEYS}
        return others | {"input_ids": ids}

    def mask(self, rows: RowArrays, shard: np.ndarray, row: np.ndarray, epoch: int) -> RowArrays:
        """Mask unmasked rows; returns them with new input_ids, masked_lm_positions and
        masked_lm_ids. shard, row: int64 [n], what identifies each row. epoch: 0 if it has none."""
        masked = rows | {"input_ids": rows["input_ids"].copy()}
        for key in schema.MASK_KEYS:
            masked[key] = np.zeros((len(row), self.config.max_predictions), np.int32)
        keys = row_keys(self.seed, self.use, epoch, shard, row)
        for start in range(0, len(row), _CHUNK_ROWS):
            part = {key: values[start : start + _CHUNK_ROWS] for key, values in masked.items()}
            maskable = (part["input_mask"] != 0) & ~self.special[part["input_ids"]]
            starts = ~self.continues[part["input_ids"]] if self.config.whole_words else maskable
            draws = RowDraws(keys[start : start + _CHUNK_ROWS])
            masking.mask_tokens(part, maskable, starts, self.config, draws)
            for key in schema.MASK_KEYS:
                masked[key][start : start + _CHUNK_ROWS] = part[key]
        return masked

    def described(self) -> str:
        """What it does, for a log line."""
        words = "whole words" if self.config.whole_words else "word pieces"
        return f"{self.config.prob:.4g} of each row's tokens, {words}"


def training_masker(
    tokenizer: Tokenizer,
    vocab_size: int,
    length: int,
    seed: int,
    prob: float,
    max_predictions: int | None,
    whole_words: bool,
) -> RowMasker:
    """Draws new masks in each epoch. vocab_size: the model's. length: of the rows. max_predictions:
    the limit of a row; None: as many as `prob` asks for."""
    most = round(prob * length)
    most = max(1, most if max_predictions is None else min(max_predictions, most))
    return _masker(tokenizer, vocab_size, seed, _TRAINING, prob, most, whole_words)


def held_out_masker(tokenizer: Tokenizer, vocab_size: int, length: int) -> RowMasker:
    """Draws the fixed masks of held-out rows, of single word pieces: one measure for all runs,
    whatever their seeds."""
    most = max(1, round(HELD_OUT_PROB * length))
    return _masker(tokenizer, vocab_size, 0, _HELD_OUT, HELD_OUT_PROB, most, False)


def has_continuations(vocab: Sequence[str]) -> bool:
    """Whether a vocabulary has pieces that continue a word, which whole words are told by."""
    return any(piece.startswith(CONTINUATION) for piece in vocab)


def _masker(
    tokenizer: Tokenizer,
    vocab_size: int,
    seed: int,
    use: int,
    prob: float,
    max_predictions: int,
    whole_words: bool,
) -> RowMasker:
    special = np.zeros(vocab_size, bool)
    special[[tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id]] = True
    continues = np.zeros(vocab_size, bool)
    continues[: len(tokenizer.vocab)] = [p.startswith(CONTINUATION) for p in tokenizer.vocab]
    replacements = masking.replacement_ids(tokenizer.vocab)
    config = MaskingConfig(max_predictions, prob, whole_words, tokenizer.mask_id, replacements)
    return RowMasker(config, seed, use, tokenizer.cls_id, tokenizer.sep_id, special, continues)
