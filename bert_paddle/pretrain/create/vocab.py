"""Train a BERT WordPiece vocabulary on text: the story behind scripts/train_vocab.py. No paddle.

The words are counted here, so that the `tokenizers` library is given each word in sorted order and
the alphabet it starts from. Left to itself it numbers the ##-letters in the order of a hash table,
breaks ties between merges by these numbers, and makes another vocabulary in each run.

    ids   0 [PAD]  1 [UNK]  2 [CLS]  3 [SEP]  4 [MASK] | letters | ##letters | pieces as merged
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
from bert_paddle.models.tokenizer import SETTINGS_FILE, SPECIAL, VOCAB_FILE, Tokenizer
from bert_paddle.pretrain.create import documents as create_documents

DATA, VOCABULARY = "data", "vocabulary"
PREFIX = "##"

DESCRIPTION = """Train a BERT WordPiece vocabulary on text files.

  python scripts/train_vocab.py --input_files corpus/ --output_dir vocab/
  python scripts/train_vocab.py --input_files 'books/*.txt.gz' --form prose --do_lower_case 0 \\
      --output_dir vocab/
"""

_LONGEST = 100  # characters; the tokenizer makes longer words [UNK]
_AT_ONCE = 200_000  # different strings between two spaces that are held before they are split up
_FEED = 10_000  # words in one text given to the library


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
        "one sentence a line with blank lines between documents, or running text",
        group=DATA,
        choices=create_documents.FORMS,
    )
    language: str = flag("en", "code of the text's language, for --form prose", group=DATA)
    output_dir: str = flag(
        REQUIRED, "folder for vocab.txt and tokenizer_config.json; made where missing", group=DATA
    )
    overwrite: bool = flag(False, "replace a vocabulary in --output_dir", group=DATA)
    vocab_size: int = flag(
        30522, "pieces, the special tokens among them", group=VOCABULARY, least=6
    )
    min_frequency: int = flag(
        2, "times a pair of pieces must occur to be merged", group=VOCABULARY, least=1
    )
    do_lower_case: bool = flag(
        True,
        "make letters lower case and strip accents, as BERT's uncased models do",
        group=VOCABULARY,
    )
    limit_alphabet: int = flag(
        1000,
        "most characters kept, the frequent ones; 6000 or more for Chinese",
        group=VOCABULARY,
        least=1,
    )

    def problems(self) -> Iterator[str]:
        """What is wrong with the flags beyond each by itself, one clause each."""
        try:
            create_documents.language_code(self.language)
        except DataError as error:
            yield f"--language: {error}"
        if self.output_dir is None:
            return
        folder = Path(self.output_dir)
        if folder.exists() and not folder.is_dir():
            yield f"--output_dir {folder} is a file: give a folder"
        elif (folder / VOCAB_FILE).exists() and not self.overwrite:
            yield (
                f"--output_dir {folder} holds a {VOCAB_FILE} already: give another folder, or "
                "--overwrite to replace it"
            )


def parse_args(argv: Sequence[str] | None = None) -> VocabArgs:
    """The flags of scripts/train_vocab.py. Raises FlagError with all that is wrong."""
    return flags.parse(VocabArgs, DESCRIPTION, argv)


def run(args: VocabArgs) -> None:
    """Read the text, train, and write the vocabulary. Raises DataError for unusable input."""
    log = RunLog()
    inputs = create_documents.find_files([name.strip() for name in args.input_files.split(",")])
    documents = create_documents.read_documents(inputs, args.form, args.language, log.warning)
    words = count_words(documents, args.do_lower_case)
    if not words:
        raise DataError(f"--input_files {args.input_files}: {len(inputs)} file(s) without a word")
    pieces = train(words, args.vocab_size, args.min_frequency, args.limit_alphabet, log.warning)
    folder = Path(args.output_dir)
    save(Tokenizer(pieces, args.do_lower_case), folder)
    log.line(
        f"{folder / VOCAB_FILE}: {len(pieces):,} pieces from {words.total():,} words "
        f"({len(words):,} different) in {len(inputs)} file(s)"
    )


def count_words(
    documents: Iterable[create_documents.Document], do_lower_case: bool
) -> Counter[str]:
    """How often each word comes, words being what BERT cuts into pieces: without case and accents
    where `do_lower_case`, punctuation and Chinese characters by themselves. Memory grows with the
    number of different words only."""
    from tokenizers import normalizers, pre_tokenizers

    normalizer = normalizers.BertNormalizer(lowercase=do_lower_case)
    splitter = pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    raw: Counter[str] = Counter()  # between spaces; splitting up equal ones once saves most time

    def split_up() -> None:
        for string, count in raw.items():
            for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(string)):
                if len(word) <= _LONGEST:
                    words[word] += count
        raw.clear()

    for document in documents:
        for sentence in document.sentences:
            raw.update(sentence.split())
        if len(raw) > _AT_ONCE:
            split_up()
    split_up()
    return words


def train(
    words: Mapping[str, int],
    vocab_size: int,
    min_frequency: int,
    limit_alphabet: int,
    note: create_documents.Note,
) -> list[str]:
    """At most `vocab_size` pieces in the order of their ids; the same for the same `words`.

    words: how often each comes. Of their characters the `limit_alphabet` most frequent are kept;
    words with others are left out (they are [UNK] to the tokenizer, too). Pairs of pieces that
    occur together most often are merged, as in byte pair encoding, down to `min_frequency`. note:
    is told of characters left out and of a vocabulary that stays smaller. Raises DataError when
    `vocab_size` has no room for the characters.
    """
    alphabet = _alphabet(words, limit_alphabet, note)
    known = {word: n for word, n in sorted(words.items()) if alphabet.issuperset(word)}
    letters = sorted(alphabet)
    inner = [PREFIX + c for c in sorted({c for word in known for c in word[1:]})]
    start = [*SPECIAL, *letters, *inner]
    if len(start) > vocab_size:
        raise DataError(
            f"--vocab_size {vocab_size} has no room for the {len(SPECIAL)} special tokens, "
            f"{len(letters)} characters and {len(inner)} within words: give {len(start)} or more, "
            "or a smaller --limit_alphabet"
        )
    merged = _merged(known, [*SPECIAL, *inner], letters, vocab_size, min_frequency)
    pieces = list(dict.fromkeys([*start, *merged]))
    if len(pieces) < vocab_size:
        note(
            f"the vocabulary has {len(pieces):,} pieces of the {vocab_size:,} asked for: the text "
            f"has no more pairs that occur {min_frequency} times or oftener"
        )
    return pieces


def _alphabet(words: Mapping[str, int], limit: int, note: create_documents.Note) -> set[str]:
    """The `limit` most frequent characters; of equally frequent ones, the first in Unicode."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for char in word:
            counts[char] += count
    ranked = sorted(counts, key=lambda char: (-counts[char], char))
    left_out = sum(counts[char] for char in ranked[limit:])
    if left_out:
        note(
            f"{len(ranked) - limit:,} of {len(ranked):,} characters are left out, "
            f"{left_out / counts.total():.2%} of the text: --limit_alphabet {limit}"
        )
    return set(ranked[:limit])


def _merged(
    words: Mapping[str, int], first: list[str], letters: list[str], size: int, min_frequency: int
) -> list[str]:
    """The library's vocabulary of `size` pieces, in the order in which it made them.

    first: pieces that are given the first ids, `letters` the next ones.
    """
    from tokenizers import Tokenizer as RustTokenizer
    from tokenizers import models, pre_tokenizers, trainers

    rust: Any = RustTokenizer(models.WordPiece(unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # the words are made already
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=min_frequency,
        limit_alphabet=len(letters),
        initial_alphabet=letters,
        special_tokens=first,
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    rust.train_from_iterator(_repeated(words), trainer)
    ids = rust.get_vocab()
    return sorted(ids, key=lambda piece: ids[piece])


def _repeated(words: Mapping[str, int]) -> Iterator[str]:
    """Texts in which each word comes as often as counted: the library takes no counts."""
    for word, count in words.items():
        many, rest = divmod(count, _FEED)
        for _ in range(many):
            yield " ".join([word] * _FEED)
        yield " ".join([word] * rest)


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the tokenizer's files into `folder`, each in one step, vocab.txt last."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".vocab.", dir=folder) as beside:
        tokenizer.save(Path(beside))
        for name in (SETTINGS_FILE, VOCAB_FILE):
            atomic_files.sync(Path(beside, name))
            os.replace(Path(beside, name), folder / name)
    atomic_files.sync(folder)
