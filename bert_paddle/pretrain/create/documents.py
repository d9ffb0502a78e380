"""Read documents, as lists of sentences, from text files. Does not import paddle.

How sentences are given, --form:

    lines   one sentence per line                                   it rained .
    prose   running text: the lines of a paragraph are joined and   he went home .
            split into sentences by the `sentencex` library
                                                                    another document .

How documents are separated, --document_format: by blank lines (the default of `lines`), by files
(of `prose`, where blank lines separate paragraphs), every line is one, or as JSON lines and
wikiextractor's output say (see file_layouts.py). The end of a file always ends a document. Memory
use is bounded: a long document is yielded in parts, and a line of more than a megabyte (lines) or a
sentence of more than 32,000 characters (prose) is split.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bert_paddle.common import extras
from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create import file_layouts, text_files
from bert_paddle.pretrain.create.file_layouts import NumberedLine
from bert_paddle.pretrain.create.input_files import InputFile
from bert_paddle.pretrain.create.text_files import ReadNotes

LINES, PROSE = "lines", "prose"
INPUT_FORMATS = (LINES, PROSE)
PART_BYTES = 256 * 1024  # UTF-8 bytes of the sentences in one part of a document
PART_SENTENCES = 2_000

# Maximum characters passed to `sentencex` at once, whose time is quadratic in them (64,000 Chinese
# characters took 2 s). Nearly all paragraphs are shorter.
_WINDOW_CHARS = 8_000
_MAX_SENTENCE_CHARS = 32_000
# A blank line: white space, and characters that no reader sees (zero-width, direction marks).
_BLANK = re.compile(r"[\s\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*")
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


@dataclass(frozen=True)
class TextFormat:
    """How to read text; the names are those of the flags. form: None stands for the usual one of a
    file's layout: lines for text, prose for the others and where a line is a document."""

    form: str | None = None
    document_format: str = "auto"
    language: str = "en"
    text_field: str = "text"
    encoding_errors: str = "strict"

    def form_of(self, layout: str) -> str:
        """LINES or PROSE, for files of a layout."""
        is_plain = layout == file_layouts.PLAIN and self.document_format != "line"
        return self.form or (LINES if is_plain else PROSE)


def language_code(language: str) -> str:
    """The language code that `sentencex` expects: "en" for "EN" or "en-GB".

    Raises DataError for an invalid code (the library would silently use general rules).
    """
    code = re.split("[-_]", language.strip().lower())[0]
    if not re.fullmatch("[a-z]{2,3}", code):
        raise DataError(f"language {language!r} is not a language code: give one such as en or zh")
    return code


def read_documents(
    files: Iterable[InputFile], text_format: TextFormat, warn: Warn | None = None
) -> Iterator[Document]:
    """Yield the documents of `files`, in order; a file without text yields none.

    warn: called with one message for each file in which lines or sentences had to be split, or
    something replaced. Raises DataError for an invalid language code, and for a file that is not
    UTF-8 (with or without a byte order mark), contains NUL bytes, is a damaged compressed file or
    does not have the layout that it seemed to have.
    """
    language = language_code(text_format.language)
    number = -1
    for file in files:
        notes = ReadNotes()
        lines = _numbered_lines(file, text_format, notes)
        form = text_format.form_of(file.layout)
        if form == LINES:
            sentences = _sentences_of_lines(lines)
        else:
            sentences = _sentences_of_prose(lines, language, notes)
        for part, part_sentences in _group_into_parts(sentences):
            number += part == 0  # a new document
            yield Document(number, part, part_sentences, str(file.path))
        if warn is not None:
            for message in _describe_notes(notes, form):
                warn(f"{file.path}: {message}")


def _describe_notes(notes: ReadNotes, form: str) -> Iterator[str]:
    """What was changed in a file, one message each."""
    if notes.lines_with_splits:
        if form == LINES:
            too_long = f"lines of more than {text_files.LINE_BYTES:,} bytes"
        else:
            too_long = f"sentences of more than {_MAX_SENTENCE_CHARS:,} characters"
        yield (
            f"{too_long} were split in {len(notes.lines_with_splits)} place(s), the first "
            f"near line {notes.lines_with_splits[0]}"
        )
    if notes.replaced:
        yield (
            f"{notes.replaced:,} invalid byte sequence(s) replaced (--encoding_errors replace), "
            f"the first in line {notes.first_replaced}"
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


def _numbered_lines(
    file: InputFile, text_format: TextFormat, notes: ReadNotes
) -> Iterator[NumberedLine]:
    """Yield the lines of a file, "" for a blank one inside a document, None for the end of one."""
    errors = text_format.encoding_errors
    if file.layout == file_layouts.JSON_LINES:
        return file_layouts.read_json_lines(file.path, text_format.text_field, notes, errors)
    if file.layout == file_layouts.WIKIEXTRACTOR:
        return file_layouts.read_wikiextractor(file.path, notes, errors)
    return _plain_lines(file, text_format, notes)


def _plain_lines(
    file: InputFile, text_format: TextFormat, notes: ReadNotes
) -> Iterator[NumberedLine]:
    """_numbered_lines() of a plain text."""
    form, separator = text_format.form_of(file.layout), text_format.document_format
    line_is_document = separator == "line"
    blank_ends_document = separator == "blank_line" or (separator == "auto" and form == LINES)
    record_bytes = text_files.RECORD_BYTES if line_is_document else None
    # In prose, the pieces of a long line are joined again: its splits are not reported.
    split_notes = notes if form == LINES else ReadNotes()
    blank = None if blank_ends_document else ""
    number = 0
    for lines in text_files.read_line_blocks(
        file.path, split_notes, text_format.encoding_errors, record_bytes
    ):
        for line in lines:
            number += 1
            if _BLANK.fullmatch(line):
                yield number, blank
                continue
            yield number, line
            if line_is_document:
                yield number, None
    if split_notes is not notes:
        notes.replaced, notes.first_replaced = split_notes.replaced, split_notes.first_replaced


def _sentences_of_lines(lines: Iterable[NumberedLine]) -> Iterator[str]:
    """Yield each line, stripped, as a sentence, and "" for the end of a document."""
    for _, line in lines:
        sentence = "" if line is None else line.strip()
        if (
            len(sentence) > text_files.LINE_BYTES
        ):  # in JSON: elsewhere, long lines are split already
            yield from filter(None, map(str.strip, text_files.split_long_line(sentence)))
        elif sentence or line is None:
            yield sentence


def _sentences_of_prose(
    lines: Iterable[NumberedLine], language: str, notes: ReadNotes
) -> Iterator[str]:
    """Yield the sentences of running text, and "" for the end of a document.

    A long paragraph is passed to `sentencex` window by window; the last sentence of a window may
    continue in the next, and is carried over. notes: gets the line number of every forced split.
    """
    segment = extras.import_extra("sentencex", "--form prose").segment

    text, limit = "", _WINDOW_CHARS
    for line_number, line in lines:
        content = " ".join(line.split()) if line else ""
        if not content:
            yield from filter(None, map(str.strip, segment(language, text)))
            text, limit = "", _WINDOW_CHARS
            if line is None:
                yield ""
            continue
        text += _line_separator(text, content, language)
        for start in range(0, len(content), _WINDOW_CHARS):
            text += content[start : start + _WINDOW_CHARS]
            if len(text) <= limit:
                continue
            *complete, text = segment(language, text)
            yield from filter(None, map(str.strip, complete))
            if len(text) > _MAX_SENTENCE_CHARS:
                notes.lines_with_splits.append(line_number)
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
