"""Documents of sentences from text files, plain or gzipped, read as a stream. No paddle.

Two forms:

    lines   one sentence a line, blank lines between documents      it rained .
                                                                    he went home .

                                                                    another document .
    prose   running text, a file is one document; blank lines separate paragraphs, whose lines are
            joined and cut into sentences by the `sentencex` library

The end of a file ends a document in both. What is in memory at a time is bounded: a long document
comes in parts, and a line of more than a megabyte (lines) or a sentence of more than 32,000
characters (prose) is cut.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create.text_files import LINE_BYTES, find_files, line_blocks

__all__ = ["FORMS", "Document", "find_files", "language_code", "read_documents"]

FORMS = ("lines", "prose")
PART_BYTES = 256 * 1024  # UTF-8 bytes of the sentences of one part of a document
PART_SENTENCES = 2_000

# Characters given to `sentencex` at once: its time grows with the square of that (64,000 Chinese
# characters took 2 s), and nearly all paragraphs are shorter.
_WINDOW = 8_000
_LONGEST = 32_000  # characters of a sentence of prose
_SPACELESS = ("zh", "ja")  # languages written without spaces between words

Note = Callable[[str], None]


@dataclass(frozen=True)
class Document:
    """A document, or a part of a long one.

    number: from 0, over all files; the parts of a document have the same. part: from 0 within the
    document, in order and next to each other. sentences: at least one, none empty, no "\\n" inside.
    source: the file.
    """

    number: int
    part: int
    sentences: list[str]
    source: str


def language_code(language: str) -> str:
    """The bare code of a language, as `sentencex` knows it: "en" for "EN" or "en-GB".

    Raises DataError for what is no code (the library would take other rules without a word).
    """
    code = re.split("[-_]", language.strip().lower())[0]
    if not re.fullmatch("[a-z]{2,3}", code):
        raise DataError(f"language {language!r} is no language code: give one such as en or zh")
    return code


def read_documents(
    files: Iterable[Path], form: str, language: str, note: Note | None = None
) -> Iterator[Document]:
    """The documents of `files`, in order; a file without text has none.

    form: "lines" or "prose". language: a code such as "en" or "zh", which chooses the rules of
    `sentencex` (its general ones for a code it does not know); only "prose" uses it. note: is given
    one line of text for each file in which something had to be cut.
    Raises DataError for a language that is no code, and for a file that is not UTF-8 (with or
    without a byte order mark), holds NUL bytes, or is a damaged gzip file.
    """
    if form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}, not {form!r}")
    language = language_code(language)
    number = -1
    for path in files:
        cuts: list[int] = []
        sentences = _of_lines(path, cuts) if form == "lines" else _of_prose(path, language, cuts)
        for part, held in _parts(sentences):
            number += part == 0
            yield Document(number, part, held, str(path))
        if cuts and note is not None:
            lines = f"lines of more than {LINE_BYTES:,} bytes"
            what = lines if form == "lines" else f"sentences of more than {_LONGEST:,} characters"
            note(f"{path}: {what} were cut in {len(cuts)} place(s), the first near line {cuts[0]}")


def _parts(sentences: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Sentences gathered into (part, sentences); an empty one ends the document."""
    held: list[str] = []
    part = size = 0
    for sentence in sentences:
        if not sentence:
            if held:
                yield part, held
                held, size = [], 0
            part = 0
            continue
        length = len(sentence) if sentence.isascii() else len(sentence.encode())
        if held and (size + length > PART_BYTES or len(held) == PART_SENTENCES):
            yield part, held
            held, size = [], 0
            part += 1
        held.append(sentence)
        size += length
    if held:
        yield part, held


def _of_lines(path: Path, cuts: list[int]) -> Iterator[str]:
    """The lines of a file, stripped, empty ones included."""
    for lines in line_blocks(path, cuts):
        for line in lines:
            yield line.strip()


def _of_prose(path: Path, language: str, cuts: list[int]) -> Iterator[str]:
    """The sentences of a file's paragraphs; never an empty one, for the file is one document.

    A long paragraph is cut into sentences bit by bit: the last sentence found is kept back, since
    the text may go on in it.
    """
    from sentencex import segment

    text, limit, number = "", _WINDOW, 0
    for lines in line_blocks(path, []):
        for line in lines:
            number += 1
            words = " ".join(line.split())
            if not words:
                yield from filter(None, map(str.strip, segment(language, text)))
                text, limit = "", _WINDOW
                continue
            text += _glue(text, words, language)
            for start in range(0, len(words), _WINDOW):
                text += words[start : start + _WINDOW]
                if len(text) <= limit:
                    continue
                *whole, text = segment(language, text)
                yield from filter(None, map(str.strip, whole))
                if len(text) > _LONGEST:
                    cuts.append(number)
                    head, _, tail = text.rpartition(" ")
                    yield head or tail
                    text = tail if head else ""
                # Twice what was kept back, so that a text without sentences takes linear time.
                limit = min(max(_WINDOW, 2 * len(text)), _LONGEST)
    yield from filter(None, map(str.strip, segment(language, text)))


def _glue(text: str, line: str, language: str) -> str:
    """What joins the lines of a paragraph: a space, but between two Chinese characters nothing."""
    if not text or (language in _SPACELESS and _is_cjk(text[-1]) and _is_cjk(line[0])):
        return ""
    return " "


def _is_cjk(char: str) -> bool:
    """Chinese and Japanese characters, their punctuation, full-width forms, and curly quotes."""
    return (
        "\u2e80" <= char <= "\u9fff"
        or "\uf900" <= char <= "\ufaff"
        or "\uff00" <= char <= "\uffef"
        or "\U00020000" <= char <= "\U0003ffff"
        or char in "\u2014\u2018\u2019\u201c\u201d\u2026"
    )
