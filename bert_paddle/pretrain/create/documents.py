"""Read documents, as lists of sentences, from text files, plain or gzipped, as a stream. No paddle.

Two formats:

    lines   one sentence per line, blank lines between documents    it rained .
                                                                    he went home .

                                                                    another document .
    prose   running text, one document per file; blank lines separate paragraphs, whose lines are
            joined and split into sentences by the `sentencex` library

The end of a file ends a document in both. Memory use is bounded: a long document is returned in
parts, and a line of more than a megabyte (lines) or a sentence of more than 32,000 characters
(prose) is split.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create.text_files import LINE_BYTES, read_line_blocks

FORMS = ("lines", "prose")
PART_BYTES = 256 * 1024  # UTF-8 bytes of the sentences in one part of a document
PART_SENTENCES = 2_000

# Characters passed to `sentencex` at once: its time is quadratic in them (64,000 Chinese
# characters took 2 s), and nearly all paragraphs are shorter.
_WINDOW_CHARS = 8_000
_MAX_SENTENCE_CHARS = 32_000
_SPACELESS_LANGUAGES = ("zh", "ja")  # written without spaces between words

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Document:
    """A document, or a part of a long one.

    number: from 0, over all files; all parts of a document have the same. part: from 0 within the
    document, in order and consecutive. sentences: at least one, none empty, none with "\\n".
    source: the file.
    """

    number: int
    part: int
    sentences: list[str]
    source: str


def language_code(language: str) -> str:
    """The primary code of a language, as `sentencex` expects it: "en" for "EN" or "en-GB".

    Raises DataError for an invalid code (the library would silently use other rules).
    """
    code = re.split("[-_]", language.strip().lower())[0]
    if not re.fullmatch("[a-z]{2,3}", code):
        raise DataError(f"language {language!r} is no language code: give one such as en or zh")
    return code


def read_documents(
    files: Iterable[Path], form: str, language: str, warn: Warn | None = None
) -> Iterator[Document]:
    """Yield the documents of `files`, in order; a file without text has none.

    form: "lines" or "prose". language: a code such as "en" or "zh" that selects the rules of
    `sentencex` (general rules for a code it does not support); used by "prose" only. warn: called
    with one message for each file with lines or sentences that had to be split.
    Raises DataError for an invalid language code, and for a file that is not UTF-8 (with or
    without a byte order mark), contains NUL bytes, or is a damaged gzip file.
    """
    if form not in FORMS:
        raise ValueError(f"form is one of {', '.join(FORMS)}, not {form!r}")
    language = language_code(language)
    number = -1
    for path in files:
        split_lines: list[int] = []
        if form == "lines":
            sentences = _read_lines(path, split_lines)
        else:
            sentences = _read_prose(path, language, split_lines)
        for part, part_sentences in _group_into_parts(sentences):
            number += part == 0
            yield Document(number, part, part_sentences, str(path))
        if split_lines and warn is not None:
            if form == "lines":
                too_long = f"lines of more than {LINE_BYTES:,} bytes"
            else:
                too_long = f"sentences of more than {_MAX_SENTENCE_CHARS:,} characters"
            warn(
                f"{path}: {too_long} were split in {len(split_lines)} place(s), the first near "
                f"line {split_lines[0]}"
            )


def _group_into_parts(sentences: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Group sentences into (part number, sentences); an empty sentence ends the document."""
    current: list[str] = []
    part = size = 0
    for sentence in sentences:
        if not sentence:
            if current:
                yield part, current
                current, size = [], 0
            part = 0
            continue
        length = len(sentence) if sentence.isascii() else len(sentence.encode())
        if current and (size + length > PART_BYTES or len(current) == PART_SENTENCES):
            yield part, current
            current, size = [], 0
            part += 1
        current.append(sentence)
        size += length
    if current:
        yield part, current


def _read_lines(path: Path, split_lines: list[int]) -> Iterator[str]:
    """The lines of a file, stripped, including empty ones."""
    for lines in read_line_blocks(path, split_lines):
        for line in lines:
            yield line.strip()


def _read_prose(path: Path, language: str, split_lines: list[int]) -> Iterator[str]:
    """The sentences of a file's paragraphs; never an empty one, since the file is one document.

    A long paragraph is split into sentences window by window; the last sentence of a window is
    carried over, since it may continue in the next.
    """
    from sentencex import segment

    text, limit, number = "", _WINDOW_CHARS, 0
    for lines in read_line_blocks(path, []):
        for line in lines:
            number += 1
            content = " ".join(line.split())
            if not content:
                yield from filter(None, map(str.strip, segment(language, text)))
                text, limit = "", _WINDOW_CHARS
                continue
            text += _line_separator(text, content, language)
            for start in range(0, len(content), _WINDOW_CHARS):
                text += content[start : start + _WINDOW_CHARS]
                if len(text) <= limit:
                    continue
                *complete, text = segment(language, text)
                yield from filter(None, map(str.strip, complete))
                if len(text) > _MAX_SENTENCE_CHARS:
                    split_lines.append(number)
                    head, _, tail = text.rpartition(" ")
                    yield head or tail
                    text = tail if head else ""
                # Twice the carried-over text, so that text without sentence ends takes linear time.
                limit = min(max(_WINDOW_CHARS, 2 * len(text)), _MAX_SENTENCE_CHARS)
    yield from filter(None, map(str.strip, segment(language, text)))


def _line_separator(text: str, line: str, language: str) -> str:
    """The separator between lines of a paragraph: a space, but none between Chinese characters."""
    if not text or (language in _SPACELESS_LANGUAGES and _is_cjk(text[-1]) and _is_cjk(line[0])):
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
