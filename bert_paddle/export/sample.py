"""The sample on which an export is compared with the original model: batches of several shapes,
with padded rows of several lengths."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bert_paddle.export.source import ExportSource
from bert_paddle.glue.data.dataset import encode_examples
from bert_paddle.glue.data.tsv import Examples

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_SINGLE = ("Yes.", "The old house by the river was sold last week, and nobody knew why.")
SINGLE_TEXTS = (
    "A dull story, badly told!",
    "Don't walk; it is 30 miles from the station (or more) to the sea.",
    "Good",
    "Crème brûlée & naïve façades: 北京, Zürich, O'Neill's.",
)
_PAIRS = (
    ("He said that the film was fine.", "The man liked it."),
    ("It rained.", "On Monday morning, 12 of the 27 boats had come back to the harbour."),
    ("Who sees the red cat?", "A dog ran."),
)
_LENGTH_EIGHTHS = (1, 2, 5)  # lengths of random rows, in eighths of the batch's longest row


@dataclass(frozen=True)
class SampleBatch:
    """texts: the texts of the rows, as (first, second or None); empty if the rows are random or
    truncated. inputs: arrays by the names in INPUTS (for GPT-2 without the last), each int64 [rows,
    length of the longest row].
    """

    texts: list[tuple[str, str | None]]
    inputs: dict[str, np.ndarray]


def make_batches(source: ExportSource) -> list[SampleBatch]:
    """Batches of at least three shapes, padded where row lengths differ; always the same. Random
    tokens if the model has no tokenizer."""
    positions = source.config.max_position_embeddings
    if source.tokenizer is None:
        return list(_random_batches(source, min(positions, 64)))
    batches = [
        _encode_batch(source, [(text, None) for text in texts]) for texts in (_SINGLE, SINGLE_TEXTS)
    ]
    if source.config.type_vocab_size > 1:
        batches.append(_encode_batch(source, list(_PAIRS)))
    batches.append(_encode_batch(source, [(_SINGLE[1], None)]))
    return batches


def _encode_batch(source: ExportSource, texts: list[tuple[str, str | None]]) -> SampleBatch:
    firsts = [first for first, _ in texts]
    seconds = [second for _, second in texts if second is not None]
    assert source.tokenizer is not None
    max_length = source.config.max_position_embeddings
    examples = Examples(firsts, seconds or None, None, "sample")
    dataset = encode_examples(examples, source.tokenizer, max_length)
    batch = dataset.batch(np.arange(len(dataset)))
    inputs = (batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    # A checker that compares tokenizers too encodes the texts without truncation.
    compared = [] if dataset.encoded.truncated else texts
    return SampleBatch(compared, dict(zip(INPUTS, inputs, strict=True)))


def _random_batches(source: ExportSource, max_length: int) -> Iterator[SampleBatch]:
    rng = np.random.default_rng(0)
    for rows, width in ((1, max_length), (3, max_length // 2), (2, max(1, max_length // 4))):
        lengths = np.maximum(1, width * rng.choice(_LENGTH_EIGHTHS, rows) // 8)
        lengths[0] = width
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        ids = rng.integers(0, source.config.vocab_size, (rows, width)) * mask
        segments = rng.integers(0, source.config.type_vocab_size, (rows, width)) * mask
        yield SampleBatch([], dict(zip(INPUTS, (ids, mask, segments), strict=True)))
