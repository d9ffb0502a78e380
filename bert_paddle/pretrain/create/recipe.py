"""The settings for making rows, and what is counted of a shard."""

from dataclasses import asdict, dataclass, field
from typing import Any

from bert_paddle.common.flag_fields import flag_names
from bert_paddle.pretrain.create import sequences
from bert_paddle.pretrain.create.args import MASKS, CreateArgs
from bert_paddle.pretrain.data import schema


@dataclass(frozen=True)
class Recipe:
    """The settings for making rows; the names are those of the flags."""

    max_seq_length: int
    max_predictions_per_seq: int
    masked_lm_prob: float
    whole_word_mask: bool
    segmenter: str
    dupe_factor: int
    short_seq_prob: float
    random_seed: int
    nsp: bool = True
    sequences: str = sequences.FULL_SENTENCES
    dynamic_masking: bool = False

    def as_recorded(self) -> dict[str, Any]:
        """As the metadata records it: without settings that do not matter, and as earlier versions
        recorded it, whose shards stay valid."""
        values = asdict(self)
        if self.nsp:
            del values["nsp"], values["sequences"]
        if self.dynamic_masking:
            for name in flag_names(CreateArgs, part=MASKS):
                del values[name]
        else:
            del values["dynamic_masking"]
        return values

    @property
    def keys(self) -> list[str]:
        """The shard's datasets."""
        return [
            key
            for key in schema.DTYPES
            if not (key in schema.MASK_KEYS and self.dynamic_masking)
            and not (key == schema.NSP_KEY and not self.nsp)
        ]


@dataclass
class ShardCounts:
    """Statistics of a shard. size: bytes of the file. sentences: in its text. tokens: in all rows,
    with [CLS] and [SEP], without padding. random_next: rows whose B is random. predictions: masked
    (replaced by [MASK]) + random (by a random word piece) + kept. pieces: word pieces of the text,
    and unknown: how many of them are [UNK]; unknown_words: UnknownWords.to_json()."""

    name: str
    size: int = 0
    rows: int = 0
    sentences: int = 0
    tokens: int = 0
    random_next: int = 0
    predictions: int = 0
    masked: int = 0
    random: int = 0
    kept: int = 0
    pieces: int = 0
    unknown: int = 0
    unknown_words: dict[str, Any] = field(default_factory=dict)
