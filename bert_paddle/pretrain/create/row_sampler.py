"""Draws the rows of a shard from blocks of tokenized text. Does not import paddle."""

from collections.abc import Iterator
from random import Random

import numpy as np

from bert_paddle.pretrain.create import rows, sentence_pairs, sequences
from bert_paddle.pretrain.create.recipe import Recipe, ShardCounts
from bert_paddle.pretrain.create.rows import TokenPool
from bert_paddle.pretrain.create.sentence_pairs import BalancedLabels, TokenizedDocuments
from bert_paddle.pretrain.create.shard_writer import ShardWriter
from bert_paddle.pretrain.data import masking, schema
from bert_paddle.pretrain.data.masking import MaskingConfig, SequentialDraws
from bert_paddle.pretrain.data.row_checks import RowArrays


class RowSampler:
    """Draws the rows of a shard, block by block. pair_rng: for sentences, rng: for all else."""

    def __init__(
        self, recipe: Recipe, pair_rng: Random, rng: np.random.Generator, config: MaskingConfig
    ):
        self.recipe, self.pair_rng, self.rng, self.config = recipe, pair_rng, rng, config
        self.labels = BalancedLabels(pair_rng)

    def make_rows(
        self, text: TokenizedDocuments, pool: TokenPool, writer: ShardWriter, counts: ShardCounts
    ) -> Iterator[RowArrays]:
        """Yield the rows of a block in parts that fit into the writer's chunk, and count them."""
        length, stream = self.recipe.max_seq_length, np.zeros(0, np.int64)
        if self.recipe.nsp:
            spans = self._pairs(text)
        else:
            spans, stream = self._sequences(text, len(pool.ids) - 2)
        spans = spans[self.rng.permutation(len(spans))]
        start = 0
        while start < len(spans):
            part = spans[start : start + writer.rows_left_in_chunk]
            start += len(part)
            if self.recipe.nsp:
                made, pool_index = rows.build_rows(part, pool, length)
                counts.random_next += int(made[schema.NSP_KEY].sum(dtype=np.int64))
            else:
                made, pool_index = rows.build_single_rows(part, stream, pool, length)
            if not self.recipe.dynamic_masking:
                self._mask(made, pool_index, pool, counts)
            counts.tokens += int(made["input_mask"].sum(dtype=np.int64))
            yield made

    def _pairs(self, text: TokenizedDocuments) -> np.ndarray:
        """Of all passes over the text, truncated to the row's length."""
        recipe = self.recipe
        passes = [
            sentence_pairs.make_sentence_pairs(
                text, recipe.max_seq_length, recipe.short_seq_prob, self.pair_rng, self.labels
            )
            for _ in range(recipe.dupe_factor)
        ]
        pairs = np.concatenate(passes)
        return sentence_pairs.truncate_pairs(pairs, recipe.max_seq_length, self.rng)

    def _sequences(self, text: TokenizedDocuments, sep_index: int) -> tuple[np.ndarray, np.ndarray]:
        """The single sequences of all passes over the text, and the stream of its tokens."""
        recipe = self.recipe
        sequence_text = sequences.make_sequence_text(text, recipe.sequences, sep_index)
        passes = [
            sequences.make_sequences(
                sequence_text,
                recipe.max_seq_length,
                recipe.short_seq_prob,
                self.pair_rng,
                sep_index,
            )
            for _ in range(recipe.dupe_factor)
        ]
        return np.concatenate(passes), sequence_text.stream

    def _mask(
        self, made: RowArrays, pool_index: np.ndarray, pool: TokenPool, counts: ShardCounts
    ) -> None:
        masked, random, kept = masking.mask_tokens(
            made,
            pool.is_word_piece(pool_index),
            pool.starts[pool_index],
            self.config,
            SequentialDraws(self.rng),
        )
        counts.predictions += masked + random + kept
        counts.masked += masked
        counts.random += random
        counts.kept += kept
