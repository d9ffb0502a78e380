"""The rows that an export is checked on: several lengths, padded, batches of different shapes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bert_paddle.export.source import ExportSource
from bert_paddle.glue.data.dataset import encode
from bert_paddle.glue.data.tsv import Examples

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_SINGLE = ("Yes.", "The old house by the river was sold last week, and nobody knew why.")
_SINGLES = (
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
_WIDTHS = (1, 2, 5)  # of the rows drawn where there is no vocabulary, in parts of eight


@dataclass(frozen=True)
class SampleBatch:
    """texts: those that the rows were made of, as (first, second or None); empty for drawn rows.
    inputs: int64 [rows, longest], by the names in INPUTS."""

    texts: list[tuple[str, str | None]]
    inputs: dict[str, np.ndarray]


def batches(source: ExportSource) -> list[SampleBatch]:
    """Batches of three shapes, padded where rows differ in length, the same at every call."""
    positions = source.config.max_position_embeddings
    if source.tokens is None:
        return list(_drawn(source, min(positions, 64)))
    made = [_encoded(source, [(text, None) for text in texts]) for texts in (_SINGLE, _SINGLES)]
    if source.config.type_vocab_size > 1:
        made.append(_encoded(source, list(_PAIRS)))
    made.append(_encoded(source, [(_SINGLE[1], None)]))
    return made


def _encoded(source: ExportSource, texts: list[tuple[str, str | None]]) -> SampleBatch:
    firsts = [first for first, _ in texts]
    seconds = [second for _, second in texts if second is not None]
    assert source.tokens is not None
    longest = source.config.max_position_embeddings
    rows = encode(Examples(firsts, seconds or None, None, "sample"), source.tokens, longest)
    batch = rows.batch(np.arange(len(rows)))
    inputs = (batch["input_ids"], batch["input_mask"], batch["segment_ids"])
    # A row that was cut is no text that another tokenizer could be compared on.
    whole = [] if rows.encoded.cut else texts
    return SampleBatch(whole, dict(zip(INPUTS, inputs, strict=True)))


def _drawn(source: ExportSource, most: int) -> Iterator[SampleBatch]:
    rng = np.random.default_rng(0)
    for rows, width in ((1, most), (3, most // 2), (2, max(1, most // 4))):
        lengths = np.maximum(1, width * rng.choice(_WIDTHS, rows) // 8)
        lengths[0] = width
        mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
        ids = rng.integers(0, source.config.vocab_size, (rows, width)) * mask
        segments = rng.integers(0, source.config.type_vocab_size, (rows, width)) * mask
        yield SampleBatch([], dict(zip(INPUTS, (ids, mask, segments), strict=True)))
