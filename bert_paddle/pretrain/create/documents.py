"""Read documents, as lists of sentences, from plain or gzipped text files. Does not import paddle.

Two input formats:

    lines   one sentence per line, blank lines between documents    it rained .
                                                                    he went home .

                                                                    another document .
    prose   running text, one document per file; blank lines separate paragraphs, whose lines are
            joined and split into sentences by the `sentencex` library

In both, the end of a file ends a document. Memory use is bounded: a long document is yielded in
parts, and a line of more than a megabyte (lines) or a sentence of more than 32,000 characters
(prose) is split.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bert_paddle.common import extras
from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create.text_files import LINE_BYTES, read_line_blocks

INPUT_FORMATS = ("lines", "prose")
PART_BYTES = 256 * 1024  # UTF-8 bytes of the sentences in one part of a document
PART_SENTENCES = 2_000

# Maximum characters passed to `sentencex` at once, whose time is quadratic in them (64,000 Chinese
# characters took 2 s). Nearly all paragraphs are shorter.
_WINDOW_CHARS = 8_000
_MAX_SENTENCE_CHARS = 32_000
_SPACELESS_LANGUAGES = ("zh", "ja")  # written without spaces between words

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Document:
    """A document, or a part of a long one.

    number: counted from 0 over all files; the same for all parts of a document. part: counted from
    0 within the document; parts are consecutive and in order. sentences: at least one; none is
    empty or contains "\\n". source: the file.
    """

    number: int
    part: int
    sentences: list[str]
    source: str


def language_code(language: str) -> str:
    """The language code that `sentencex` expects: "en" for "EN" or "en-GB".

    Raises DataError for an invalid code (the library would silently use general rules).
    """
    code = re.split("[-_]", language.strip().lower())[0]
    if not re.fullmatch("[a-z]{2,3}", code):
        raise DataError(f"language {language!r} is not a language code: give one such as en or zh")
    return code


def read_documents(
    files: Iterable[Path], input_format: str, language: str, warn: Warn | None = None
) -> Iterator[Document]:
    """Yield the documents of `files`, in order; a file without text yields none.

    input_format: "lines" or "prose". language: a code such as "en" or "zh" that selects the rules
    of `sentencex` (general rules for a code it does not support); used for "prose" only. warn:
    called with one message for each file in which lines or sentences had to be split.
    Raises DataError for an invalid language code, and for a file that is not UTF-8 (with or
    without a byte order mark), contains NUL bytes, or is a damaged gzip file.
    """
    if input_format not in INPUT_FORMATS:
        raise ValueError(f"input_format must be one of {INPUT_FORMATS}, not {input_format!r}")
    language = language_code(language)
    number = -1
    for path in files:
        lines_with_splits: list[int] = []
        if input_format == "lines":
            sentences = _read_lines(path, lines_with_splits)
        else:
            sentences = _read_prose(path, language, lines_with_splits)
        for part, part_sentences in _group_into_parts(sentences):
            number += part == 0  # a new document
            yield Document(number, part, part_sentences, str(path))
        if lines_with_splits and warn is not None:
            if input_format == "lines":
                too_long = f"lines of more than {LINE_BYTES:,} bytes"
            else:
                too_long = f"sentences of more than {_MAX_SENTENCE_CHARS:,} characters"
            warn(
                f"{path}: {too_long} were split in {len(lines_with_splits)} place(s), the first "
                f"near line {lines_with_splits[0]}"
            )


def _group_into_parts(sentences: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (part number, sentences) of documents; an empty sentence ends a document."""
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


def _read_lines(path: Path, lines_with_splits: list[int]) -> Iterator[str]:
    """Yield the lines of a file, stripped, including empty ones. lines_with_splits: appended to:
    the line number of every forced split."""
    for lines in read_line_blocks(path, lines_with_splits):
        for line in lines:
            yield line.strip()


def _read_prose(path: Path, language: str, lines_with_splits: list[int]) -> Iterator[str]:
    """Yield the sentences of a file; no empty ones, since the whole file is one document.

    A long paragraph is passed to `sentencex` window by window; the last sentence of a window may
    continue in the next, and is carried over. lines_with_splits: appended to: the line number of
    every forced split.
    """
    segment = extras.import_extra("sentencex", "--input_format prose").segment

    text, limit, line_number = "", _WINDOW_CHARS, 0
    # Splits of long lines are not reported: their pieces are joined again below.
    for lines in read_line_blocks(path, []):
        for line in lines:
            line_number += 1
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
                    lines_with_splits.append(line_number)
                    head, _, tail = text.rpartition(" ")
                    yield head or tail
                    text = tail if head else ""
                # Wait until the text has doubled before segmenting again; otherwise a long text
                # without sentence ends would be segmented anew at every line.
                limit = min(max(_WINDOW_CHARS, 2 * len(text)), _MAX_SENTENCE_CHARS)
    yield from filter(None, map(str.strip, segment(language, text)))


def _line_separator(text: str, line: str, language: str) -> str:
    """The separator to insert before a line of a paragraph: a space, none between Chinese
    characters."""
    if not text or (language in _SPACELESS_LANGUAGES and _is_cjk(text[-1]) and _is_cjk(line[0])):
        return ""
    return " "


def _is_cjk(char: str) -> bool:
    """Whether this is a Chinese or Japanese character or punctuation, a full-width form or a curly
    quote."""
    return (
        "\u2e80" <= char <= "\u9fff"
        or "\uf900" <= char <= "\ufaff"
        or "\uff00" <= char <= "\uffef"
        or "\U00020000" <= char <= "\U0003ffff"
        or char in "\u2014\u2018\u2019\u201c\u201d\u2026"
    )
