"""Train a BERT WordPiece vocabulary on text (scripts/train_vocab.py). Does not import paddle.

Words are counted here, so that the `tokenizers` library receives them in sorted order together
with the initial alphabet, and the result is deterministic. By itself, the library numbers the
##characters in hash order, breaks ties between merges by these numbers, and so yields a different
vocabulary in each run.

    ids   0 [PAD]  1 [UNK]  2 [CLS]  3 [SEP]  4 [MASK] | characters | ##characters | merges in order
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bert_paddle.common import flags
from bert_paddle.common.errors import DataError
from bert_paddle.common.flag_fields import PathUse
from bert_paddle.common.flags import REQUIRED, flag
from bert_paddle.common.run_log import RunLog
from bert_paddle.models.bpe_files import MERGES_FILE, VOCAB_JSON_FILE
from bert_paddle.models.tokenizer import SPECIAL_TOKENS, VOCAB_FILE, Tokenizer
from bert_paddle.pretrain.create import bpe_vocab, tokenizer_files
from bert_paddle.pretrain.create.documents import Document, Warn, read_documents
from bert_paddle.pretrain.create.input_files import ReservedPaths, find_files
from bert_paddle.pretrain.create.text_args import TextArgs
from bert_paddle.pretrain.create.unknown_words import MAX_WORD_CHARS
from bert_paddle.pretrain.create.word_counts import repeat_words

OUTPUT, VOCABULARY = "output", "vocabulary"
PREFIX = "##"

DESCRIPTION = """Train a vocabulary on text files: BERT's WordPiece, or GPT-2's byte-level BPE.

  python scripts/train_vocab.py --input_files corpus/ --output_dir vocab/
  python scripts/train_vocab.py --input_files 'books/*.txt.gz' --form prose --do_lower_case 0 \\
      --output_dir vocab/
  python scripts/train_vocab.py --kind bpe --input_files corpus/ --vocab_size 8000 \\
      --output_dir vocab/
"""
_BPE_FILES = (VOCAB_JSON_FILE, MERGES_FILE)

_MAX_RAW_STRINGS = 200_000  # distinct strings that are collected before they are split into words


@dataclass
class VocabArgs(TextArgs):
    """The flags of `scripts/train_vocab.py`."""

    output_dir: str = flag(
        REQUIRED,
        "folder for vocab.txt and tokenizer_config.json; created if missing",
        group=OUTPUT,
        path=PathUse.OUTPUT,
    )
    kind: str = flag(
        "wordpiece",
        "wordpiece: BERT's kind, vocab.txt; bpe: GPT-2's, vocab.json and merges.txt "
        "(--do_lower_case and --limit_alphabet are not for it: its tokens spell every text)",
        group=VOCABULARY,
        choices=("wordpiece", "bpe"),
    )
    overwrite: bool = flag(False, "replace a vocabulary in --output_dir", group=OUTPUT)
    vocab_size: int = flag(
        30522, "number of word pieces, including the special tokens", group=VOCABULARY, minimum=6
    )
    min_frequency: int = flag(
        2,
        "minimum number of occurrences of a pair of word pieces to be merged",
        group=VOCABULARY,
        minimum=1,
    )
    do_lower_case: bool = flag(
        True,
        "lower-case letters and strip accents, as BERT's uncased models do",
        group=VOCABULARY,
    )
    limit_alphabet: int = flag(
        1000,
        "keep at most this many characters, the most frequent ones; 6000 or more for Chinese",
        group=VOCABULARY,
        minimum=1,
    )

    def file_names(self) -> tuple[str, ...]:
        """The files that are written into --output_dir."""
        bpe = _BPE_FILES if self.kind == "bpe" else ()
        return (*tokenizer_files.TOKENIZER_FILES, *bpe)

    def problems(self) -> Iterator[str]:
        """Problems with the arguments, one message each."""
        yield from self.text_problems()
        if self.output_dir is None:
            return
        folder = Path(self.output_dir)
        existing = [n for n in self.file_names() if (folder / n).exists()]
        if folder.exists() and not folder.is_dir():
            yield f"--output_dir {folder} is a file: give a folder"
        elif existing and not self.overwrite:
            yield (
                f"--output_dir {folder} has a {existing[0]} already: give another folder, or "
                "--overwrite to replace it"
            )


def parse_args(argv: Sequence[str] | None = None) -> VocabArgs:
    """Parse the flags of scripts/train_vocab.py. Raises FlagError with all problems."""
    return flags.parse(VocabArgs, DESCRIPTION, argv)


def run(args: VocabArgs) -> None:
    """Train a vocabulary on the text and write it. Raises DataError for unusable input."""
    log = RunLog()
    folder = Path(args.output_dir)
    written = [folder / name for name in args.file_names()]
    found = find_files(args.inputs, args.document_format, ReservedPaths(folder, None, written))
    for line in found.describe(args.text_format.form_of):
        log.note(line)
    inputs = found.files
    documents = read_documents(inputs, args.text_format, log.warning)
    if args.kind == "bpe":
        _run_bpe(args, documents, len(inputs), log)
        return
    words = count_words(documents, args.do_lower_case, log.warning)
    if not words:
        raise DataError(f"--input_files {args.input_files}: no words in {len(inputs)} file(s)")
    vocab = train(words, args.vocab_size, args.min_frequency, args.limit_alphabet, log.warning)
    tokenizer_files.save(Tokenizer(vocab, args.do_lower_case), folder)
    log.line(
        f"{folder / VOCAB_FILE}: {len(vocab):,} word pieces from {words.total():,} words "
        f"({len(words):,} distinct) in {len(inputs)} file(s)"
    )


def _run_bpe(args: VocabArgs, documents: Iterable[Document], files: int, log: RunLog) -> None:
    words = bpe_vocab.count_words(documents)
    if not words:
        raise DataError(f"--input_files {args.input_files}: no words in {files} file(s)")
    tokenizer = bpe_vocab.train(words, args.vocab_size, args.min_frequency, log.warning)
    folder = Path(args.output_dir)
    tokenizer_files.save(tokenizer, folder)
    log.line(
        f"{folder / VOCAB_JSON_FILE}: {len(tokenizer):,} tokens from {words.total():,} words "
        f"({len(words):,} distinct) in {files} file(s)"
    )


def count_words(
    documents: Iterable[Document], do_lower_case: bool, warn: Warn | None = None
) -> Counter[str]:
    """Count the words that BERT splits into word pieces: lower-cased and without accents if
    `do_lower_case`; punctuation and Chinese characters are words of their own. Memory use grows
    with the number of distinct words only. warn: called when words are left out because the
    tokenizer makes [UNK] of them."""
    from tokenizers import normalizers, pre_tokenizers

    normalizer = normalizers.BertNormalizer(lowercase=do_lower_case)
    splitter = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    # Strings between spaces, counted first so that each distinct one is split only once.
    raw: Counter[str] = Counter()
    too_long = 0

    def split_raw() -> None:
        nonlocal too_long
        for string, count in raw.items():
            for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(string)):
                if len(word) <= MAX_WORD_CHARS:
                    words[word] += count
                else:
                    too_long += count
        raw.clear()

    for document in documents:
        for sentence in document.sentences:
            raw.update(sentence.split())
        if len(raw) > _MAX_RAW_STRINGS:
            split_raw()
    split_raw()
    if too_long and warn is not None:
        warn(
            f"{too_long:,} words of more than {MAX_WORD_CHARS} characters, BERT's limit, are left "
            f"out ({words.total():,} remain): put spaces between words in a script without them"
        )
    return words


def train(
    words: Mapping[str, int],
    vocab_size: int,
    min_frequency: int,
    limit_alphabet: int,
    warn: Warn,
) -> list[str]:
    """Returns at most `vocab_size` word pieces in the order of their ids; deterministic.

    words: the count of each word. The `limit_alphabet` most frequent of their characters are kept;
    words with other characters are omitted (the tokenizer maps them to [UNK]). As in byte pair
    encoding, the most frequent pairs of word pieces are merged, if they occur at least
    `min_frequency` times. warn: called for omitted characters and for a vocabulary smaller than
    `vocab_size`. Raises DataError when `vocab_size` is too small for the characters.
    """
    alphabet = _choose_alphabet(words, limit_alphabet, warn)
    kept_words = {word: n for word, n in sorted(words.items()) if alphabet.issuperset(word)}
    characters = sorted(alphabet)
    continuations = [PREFIX + c for c in sorted({c for word in kept_words for c in word[1:]})]
    initial = [*SPECIAL_TOKENS, *characters, *continuations]
    if len(initial) > vocab_size:
        raise DataError(
            f"--vocab_size {vocab_size} is too small for {len(SPECIAL_TOKENS)} special tokens, "
            f"{len(characters)} characters and {len(continuations)} ##characters: give "
            f"{len(initial)} or more, or a smaller --limit_alphabet"
        )
    trained = _train_wordpiece(
        kept_words, [*SPECIAL_TOKENS, *continuations], characters, vocab_size, min_frequency
    )
    vocab = list(dict.fromkeys([*initial, *trained]))
    if len(vocab) < vocab_size:
        warn(
            f"the vocabulary has {len(vocab):,} word pieces instead of {vocab_size:,}: the text "
            f"has no more pairs that occur at least {min_frequency} times"
        )
    return vocab


def _choose_alphabet(words: Mapping[str, int], limit: int, warn: Warn) -> set[str]:
    """The `limit` most frequent characters of the words; ties are broken by code point."""
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
    words: Mapping[str, int],
    first_tokens: list[str],
    characters: list[str],
    size: int,
    min_frequency: int,
) -> list[str]:
    """The library's vocabulary of at most `size` word pieces, in the order in which they were
    created: first_tokens, characters, merges."""
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import models, pre_tokenizers, trainers

    rust: Any = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # the words are split already
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        limit_alphabet=len(characters),
        initial_alphabet=characters,
        special_tokens=first_tokens,
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    rust.train_from_iterator(repeat_words(words.items()), trainer)
    ids = rust.get_vocab()
    return sorted(ids, key=lambda token: ids[token])
