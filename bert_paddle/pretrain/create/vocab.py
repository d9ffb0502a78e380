"""Train a BERT WordPiece vocabulary on text (scripts/train_vocab.py). No paddle.

Words are counted here, so that the `tokenizers` library receives them in sorted order together
with the initial alphabet. By itself it numbers the ##-letters in hash order, breaks ties between
merges by these numbers, and yields another vocabulary in each run.

    ids   0 [PAD]  1 [UNK]  2 [CLS]  3 [SEP]  4 [MASK] | letters | ##letters | merges in order
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common import atomic_files, flags
from bert_paddle.common.errors import DataError
from bert_paddle.common.flags import REQUIRED, flag
from bert_paddle.common.run_log import RunLog
from bert_paddle.models.tokenizer import (
    SPECIAL_TOKENS,
    TOKENIZER_CONFIG_FILE,
    VOCAB_FILE,
    Tokenizer,
)
from bert_paddle.pretrain.create.documents import (
    FORMS,
    Document,
    Warn,
    language_code,
    read_documents,
)
from bert_paddle.pretrain.create.text_files import find_files

DATA, VOCABULARY = "data", "vocabulary"
PREFIX = "##"

DESCRIPTION = """Train a BERT WordPiece vocabulary on text files.

  python scripts/train_vocab.py --input_files corpus/ --output_dir vocab/
  python scripts/train_vocab.py --input_files 'books/*.txt.gz' --form prose --do_lower_case 0 \\
      --output_dir vocab/
"""

_MAX_WORD_CHARS = 100  # longer words are [UNK] to the tokenizer
_MAX_RAW_STRINGS = 200_000  # distinct space-separated strings collected before they are split
_WORDS_PER_TEXT = 10_000  # in each text passed to the library


@dataclass
class VocabArgs:
    """Everything scripts/train_vocab.py takes."""

    input_files: str = flag(
        REQUIRED,
        "text files, folders (all .txt, .txt.gz and .gz below) or patterns, separated by commas",
        group=DATA,
    )
    form: str = flag(
        "lines",
        "one sentence per line with blank lines between documents, or running text",
        group=DATA,
        choices=FORMS,
    )
    language: str = flag("en", "code of the text's language, for --form prose", group=DATA)
    output_dir: str = flag(
        REQUIRED, "folder for vocab.txt and tokenizer_config.json; created if missing", group=DATA
    )
    overwrite: bool = flag(False, "replace a vocabulary in --output_dir", group=DATA)
    vocab_size: int = flag(
        30522, "word pieces, including the special tokens", group=VOCABULARY, minimum=6
    )
    min_frequency: int = flag(
        2, "minimum count of a pair of word pieces to be merged", group=VOCABULARY, minimum=1
    )
    do_lower_case: bool = flag(
        True,
        "lower-case letters and strip accents, as BERT's uncased models do",
        group=VOCABULARY,
    )
    limit_alphabet: int = flag(
        1000,
        "maximum number of characters, the most frequent ones; 6000 or more for Chinese",
        group=VOCABULARY,
        minimum=1,
    )

    def problems(self) -> Iterator[str]:
        """Problems of the flags in combination, one clause each."""
        try:
            language_code(self.language)
        except DataError as error:
            yield f"--language: {error}"
        if self.output_dir is None:
            return
        folder = Path(self.output_dir)
        if folder.exists() and not folder.is_dir():
            yield f"--output_dir {folder} is a file: give a folder"
        elif (folder / VOCAB_FILE).exists() and not self.overwrite:
            yield (
                f"--output_dir {folder} has a {VOCAB_FILE} already: give another folder, or "
                "--overwrite to replace it"
            )


def parse_args(argv: Sequence[str] | None = None) -> VocabArgs:
    """Parse the flags of scripts/train_vocab.py. Raises FlagError with all problems."""
    return flags.parse(VocabArgs, DESCRIPTION, argv)


def run(args: VocabArgs) -> None:
    """Train a vocabulary on the text and write it. Raises DataError for unusable input."""
    log = RunLog()
    inputs = find_files([name.strip() for name in args.input_files.split(",")])
    documents = read_documents(inputs, args.form, args.language, log.warning)
    words = count_words(documents, args.do_lower_case)
    if not words:
        raise DataError(f"--input_files {args.input_files}: {len(inputs)} file(s) without a word")
    vocab = train(words, args.vocab_size, args.min_frequency, args.limit_alphabet, log.warning)
    folder = Path(args.output_dir)
    save(Tokenizer(vocab, args.do_lower_case), folder)
    log.line(
        f"{folder / VOCAB_FILE}: {len(vocab):,} word pieces from {words.total():,} words "
        f"({len(words):,} distinct) in {len(inputs)} file(s)"
    )


def count_words(documents: Iterable[Document], do_lower_case: bool) -> Counter[str]:
    """Count the words that BERT splits into word pieces: lower-cased without accents if
    `do_lower_case`, punctuation and Chinese characters as words of their own. Memory grows with the
    number of distinct words only."""
    from tokenizers import normalizers, pre_tokenizers

    normalizer = normalizers.BertNormalizer(lowercase=do_lower_case)
    splitter = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    raw: Counter[str] = Counter()  # separated by spaces; splitting each only once is much faster

    def split_raw() -> None:
        for string, count in raw.items():
            for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(string)):
                if len(word) <= _MAX_WORD_CHARS:
                    words[word] += count
        raw.clear()

    for document in documents:
        for sentence in document.sentences:
            raw.update(sentence.split())
        if len(raw) > _MAX_RAW_STRINGS:
            split_raw()
    split_raw()
    return words


def train(
    words: Mapping[str, int],
    vocab_size: int,
    min_frequency: int,
    limit_alphabet: int,
    warn: Warn,
) -> list[str]:
    """Train at most `vocab_size` word pieces, in the order of their ids; deterministic.

    words: the count of each. Of their characters the `limit_alphabet` most frequent are kept;
    words with others are omitted (they are [UNK] to the tokenizer, too). The most frequent pairs
    of word pieces are merged, as in byte pair encoding, down to `min_frequency`. warn: called for
    omitted characters and for a vocabulary smaller than `vocab_size`. Raises DataError when
    `vocab_size` is too small for the characters.
    """
    alphabet = _choose_alphabet(words, limit_alphabet, warn)
    spellable = {word: n for word, n in sorted(words.items()) if alphabet.issuperset(word)}
    letters = sorted(alphabet)
    inner = [PREFIX + c for c in sorted({c for word in spellable for c in word[1:]})]
    initial = [*SPECIAL_TOKENS, *letters, *inner]
    if len(initial) > vocab_size:
        raise DataError(
            f"--vocab_size {vocab_size} has no room for the {len(SPECIAL_TOKENS)} special tokens, "
            f"{len(letters)} characters and {len(inner)} within words: give {len(initial)} or "
            "more, or a smaller --limit_alphabet"
        )
    trained = _train_wordpiece(
        spellable, [*SPECIAL_TOKENS, *inner], letters, vocab_size, min_frequency
    )
    vocab = list(dict.fromkeys([*initial, *trained]))
    if len(vocab) < vocab_size:
        warn(
            f"the vocabulary has {len(vocab):,} word pieces instead of {vocab_size:,}: the text "
            f"has no more pairs that occur at least {min_frequency} times"
        )
    return vocab


def _choose_alphabet(words: Mapping[str, int], limit: int, warn: Warn) -> set[str]:
    """The `limit` most frequent characters; ties are broken by code point."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for char in word:
            counts[char] += count
    ranked = sorted(counts, key=lambda char: (-counts[char], char))
    omitted = sum(counts[char] for char in ranked[limit:])
    if omitted:
        warn(
            f"{len(ranked) - limit:,} of {len(ranked):,} characters are omitted, "
            f"{omitted / counts.total():.2%} of the text: --limit_alphabet {limit}"
        )
    return set(ranked[:limit])


def _train_wordpiece(
    words: Mapping[str, int], first: list[str], letters: list[str], size: int, min_frequency: int
) -> list[str]:
    """The library's vocabulary of `size` word pieces, in the order in which it created them.

    first: word pieces with the first ids, followed by `letters`.
    """
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import models, pre_tokenizers, trainers

    rust: Any = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # the words are split already
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        limit_alphabet=len(letters),
        initial_alphabet=letters,
        special_tokens=first,
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    rust.train_from_iterator(_repeat_words(words), trainer)
    ids = rust.get_vocab()
    return sorted(ids, key=lambda piece: ids[piece])


def _repeat_words(words: Mapping[str, int]) -> Iterator[str]:
    """Texts that repeat each word as often as counted, since the library accepts no counts."""
    for word, count in words.items():
        full_texts, rest = divmod(count, _WORDS_PER_TEXT)
        for _ in range(full_texts):
            yield " ".join([word] * _WORDS_PER_TEXT)
        yield " ".join([word] * rest)


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer's files into `folder`, each atomically, vocab.txt last."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".vocab.", dir=folder) as temporary:
        tokenizer.save(Path(temporary))
        for name in (TOKENIZER_CONFIG_FILE, VOCAB_FILE):
            atomic_files.sync(Path(temporary, name))
            os.replace(Path(temporary, name), folder / name)
    atomic_files.sync(folder)
