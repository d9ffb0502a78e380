"""Tokenize sentences that may contain added tokens, such as [NAME] or <url>, which stay whole.

"the [NAME] sat"  ->  "the ", [NAME], " sat"  ->  ids of "the ", id of [NAME], ids of " sat"
"""

from collections.abc import Sequence

import numpy as np

from bert_paddle.models.added_tokens import AddedTokenSplitter
from bert_paddle.models.tokenizer import Tokenizer
from bert_paddle.pretrain.create.wordpiece import EncodedSentences, WordPieceEncoder


def make_encoder(tokenizer: Tokenizer, segmenter: str = "none") -> WordPieceEncoder:
    """An encoder that keeps the tokenizer's added tokens whole, if it has any."""
    kind = AddedTokenEncoder if tokenizer.added_tokens else WordPieceEncoder
    return kind(tokenizer, segmenter)


class AddedTokenEncoder(WordPieceEncoder):
    """A `WordPieceEncoder` for a tokenizer with added tokens."""

    def __init__(self, tokenizer: Tokenizer, segmenter: str = "none"):
        super().__init__(tokenizer, segmenter)
        self._splitter = AddedTokenSplitter(tokenizer.added_tokens, tokenizer._rust.normalizer)

    def encode(self, sentences: Sequence[str]) -> EncodedSentences:
        """The word pieces of each sentence, in order."""
        parts_of = self._splitter.split(sentences)
        texts = [part for parts in parts_of for part in parts if isinstance(part, str)]
        encoded = super().encode(texts)
        if len(texts) == len(sentences):  # no sentence has an added token
            return encoded
        ids, starts, first_part_of = list[np.ndarray](), list[np.ndarray](), [0]
        text = 0
        for parts in parts_of:
            for part in parts:
                if isinstance(part, int):
                    ids.append(np.array([part], np.int32))
                    starts.append(np.array([True]))
                else:
                    pieces = slice(encoded.offsets[text], encoded.offsets[text + 1])
                    ids.append(encoded.ids[pieces])
                    starts.append(encoded.starts[pieces])
                    text += 1
            first_part_of.append(len(ids))
        offsets = np.cumsum([0, *map(len, ids)])[first_part_of]
        return EncodedSentences(np.concatenate(ids), offsets, np.concatenate(starts))
