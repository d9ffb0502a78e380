"""Train a byte-level BPE vocabulary, GPT-2's kind, on text. Does not import paddle.

ids   256 bytes | merges in order | <|endoftext|>
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from bert_paddle.common.errors import DataError
from bert_paddle.models.added_tokens import AddedToken
from bert_paddle.models.bpe_files import byte_characters
from bert_paddle.models.byte_level_bpe import END_OF_TEXT, BpeTokenizer
from bert_paddle.pretrain.create.documents import Document, Warn
from bert_paddle.pretrain.create.word_counts import repeat_words

_MAX_RAW_STRINGS = 200_000  # distinct strings that are collected before they are split into words


def count_words(documents: Iterable[Document]) -> Counter[str]:
    """Count the words that GPT-2 splits into tokens, each with the blank before it, as the
    characters that stand for their bytes. Memory use grows with the number of distinct ones."""
    from tokenizers import pre_tokenizers

    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words: Counter[str] = Counter()
    raw: Counter[str] = Counter()  # sentences, which a corpus may repeat

    def split_raw() -> None:
        for text, count in raw.items():
            for word, _ in splitter.pre_tokenize_str(text):
                words[word] += count
        raw.clear()

    for document in documents:
        for number, sentence in enumerate(document.sentences):
            raw[f" {sentence}" if number else sentence] += 1
        if len(raw) > _MAX_RAW_STRINGS:
            split_raw()
    split_raw()
    return words


def train(
    words: Mapping[str, int], vocab_size: int, min_frequency: int, warn: Warn
) -> BpeTokenizer:
    """A tokenizer with at most `vocab_size` tokens; deterministic. The most frequent pairs are
    merged, if they occur at least `min_frequency` times.

    words: as from `count_words`. warn: called for a vocabulary smaller than `vocab_size`. Raises
    DataError if `vocab_size` is too small for the bytes.
    """
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import models, pre_tokenizers, trainers

    alphabet = list(byte_characters().values())
    if vocab_size < len(alphabet) + 1:
        raise DataError(
            f"--vocab_size {vocab_size} is too small for the {len(alphabet)} bytes and "
            f"{END_OF_TEXT}: give {len(alphabet) + 1} or more"
        )
    rust: Any = RustTokenizer(models.BPE())
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # the words are split already
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        min_frequency=min_frequency,
        initial_alphabet=alphabet,
        special_tokens=[],
        show_progress=False,
    )
    rust.train_from_iterator(repeat_words(sorted(words.items())), trainer)
    ids = rust.get_vocab()
    listed = json.loads(rust.to_str())["model"]["merges"]  # texts or pairs, by the version
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in listed]
    merges = [(str(a), str(b)) for a, b in pairs]
    vocab = [*sorted(ids, key=lambda token: ids[token]), END_OF_TEXT]
    if len(vocab) < vocab_size:
        warn(
            f"the vocabulary has {len(vocab):,} tokens instead of {vocab_size:,}: the text has no "
            f"more pairs that occur at least {min_frequency} times"
        )
    end = AddedToken(END_OF_TEXT, len(vocab) - 1)
    return BpeTokenizer(vocab, merges, [end], {"bos": END_OF_TEXT, "eos": END_OF_TEXT})
