"""What an input file contains: plain text, JSON lines or wikiextractor's output. Does not import
paddle.

    text            it rained .
    JSON lines      {"title": "Rain", "text": "It rained. He went home."}      one document a line
    wikiextractor   <doc id="7" url="https://..." title="Rain">
                    Rain

                    It rained. He went home.
                    </doc>

With wikiextractor's --json its files, too, are JSON lines.
"""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

from bert_paddle.common.errors import DataError
from bert_paddle.pretrain.create.compressed_files import SUFFIXES, open_bytes
from bert_paddle.pretrain.create.text_files import RECORD_BYTES, ReadNotes, read_line_blocks

PLAIN, JSON_LINES, WIKIEXTRACTOR = "text", "JSON lines", "wikiextractor"
JSON_SUFFIXES = (".jsonl", ".ndjson")
# How documents are separated; auto: as the file's content says.
DOCUMENT_FORMATS = ("auto", "blank_line", "line", "file", "json", "wikiextractor")

_FIRST_BYTES = 64 * 1024
_DOC = re.compile(r'<doc id="[^"]*" url="[^"]*" title="(.*)">')
_END_OF_DOC = "</doc>"
_JSON_OBJECT = re.compile(r'\{\s*"[^"]*"\s*:')
_SURROGATE = re.compile("[\ud800-\udfff]")
_NO_TEXT = (
    (re.compile(rb"PK\x03\x04"), "a zip archive: unpack it first"),
    (re.compile(rb"(?s).{257}ustar"), "a tar archive: unpack it first"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7-Zip archive: unpack it first"),
    (re.compile(rb"PAR1"), "a Parquet file: write its texts as JSON lines first"),
    (re.compile(rb"%PDF-"), "a PDF: extract its text first"),
    (re.compile(rb"\s*<mediawiki "), "a MediaWiki dump: give what wikiextractor makes of it"),
)
# A line of the text with its number (from 1); "" ends a paragraph, None the document.
NumberedLine = tuple[int, str | None]


def inner_name(path: Path) -> str:
    """The lower-case name of a file without the suffix of its compression."""
    name = path.name.lower()
    return name[: -len(path.suffix)] if path.suffix.lower() in SUFFIXES else name


def detect_layout(path: Path, document_format: str) -> str:
    """PLAIN, JSON_LINES or WIKIEXTRACTOR, from the first line of a file and from its name.

    document_format: one of DOCUMENT_FORMATS. Raises DataError for a file that is no text but has a
    well-known other format, and for a damaged compressed file.
    """
    with open_bytes(path) as file:
        data = file.read(_FIRST_BYTES)
    for pattern, description in _NO_TEXT:
        if pattern.match(data):
            raise DataError(f"{path}: {description}")
    first_line, _, rest = data.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    line = first_line.decode("utf-8", "replace").strip()
    is_complete = bool(rest) or len(data) < _FIRST_BYTES
    name = inner_name(path)
    if document_format == "json" or name.endswith(JSON_SUFFIXES):
        return JSON_LINES
    if document_format not in ("auto", "wikiextractor"):
        return PLAIN
    if _DOC.fullmatch(line):
        return WIKIEXTRACTOR
    if _is_json_object(line) if is_complete else _JSON_OBJECT.match(line):
        return JSON_LINES
    if name.endswith(".json") and line[:1] in ("[", "{"):
        raise DataError(
            f"{path}: JSON, but not one object a line: write JSON lines, e.g. with jq -c '.[]'"
        )
    return WIKIEXTRACTOR if document_format == "wikiextractor" else PLAIN


def _is_json_object(line: str) -> bool:
    """Whether a line is a JSON object that is not empty."""
    if not line.startswith("{"):
        return False
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and bool(content)


def read_json_lines(
    path: Path, text_field: str, notes: ReadNotes, encoding_errors: str
) -> Iterator[NumberedLine]:
    """Yield the lines of each object's text, then the end of the document.

    Raises DataError, naming file and line, for a line that is no JSON object with a text in
    `text_field`.
    """
    number = 0
    for lines in read_line_blocks(path, notes, encoding_errors, RECORD_BYTES):
        for line in lines:
            number += 1
            if not line.strip():
                continue
            text = _text_of(line, text_field, f"{path}:{number}")
            if r"\ud" in line.lower() and _SURROGATE.search(text):
                if encoding_errors != "replace":
                    raise DataError(
                        f"{path}:{number}: the text has half a surrogate pair, which is no "
                        "character: mend it, or give --encoding_errors replace"
                    )
                text, count = _SURROGATE.subn("\ufffd", text)
                notes.count_replaced(count, number)
            for text_line in text.split("\n"):
                yield number, text_line
            yield number, None


def _text_of(line: str, text_field: str, place: str) -> str:
    """The text in a line of JSON."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = str(error).replace(": line 1", ":")
        raise DataError(f"{place}: not a line of JSON ({reason})") from None
    if not isinstance(content, dict):
        raise DataError(f"{place}: JSON, but no object with a field {text_field}")
    if text_field not in content:
        names = ", ".join(list(content)[:8]) or "none"
        raise DataError(
            f"{place}: no field {text_field}; there are {names}: name the text's with --text_field"
        )
    text = content[text_field]
    if not isinstance(text, str):
        raise DataError(f"{place}: the field {text_field} is no text but {json.dumps(text)[:40]}")
    return text


def read_wikiextractor(
    path: Path, notes: ReadNotes, encoding_errors: str
) -> Iterator[NumberedLine]:
    """Yield the lines of each article, every one a paragraph, then the end of the document.

    The title, which wikiextractor repeats as the first line, and what it escaped as &lt; is
    restored. Raises DataError, naming file and line, for text outside of the articles and for an
    article without an end.
    """
    number, begun, title = 0, 0, None
    for lines in read_line_blocks(path, notes, encoding_errors):
        for line in lines:
            number += 1
            content = line.strip()
            if match := _DOC.fullmatch(content):
                if begun:
                    raise _unclosed(path, begun)
                begun, title = number, unescape(match[1]).strip()
            elif content == _END_OF_DOC:
                begun = 0
                yield number, None
            elif content and not begun:
                raise DataError(
                    f"{path}:{number}: text outside of <doc ...> and {_END_OF_DOC}: not "
                    "wikiextractor's output; give another --document_format"
                )
            elif content:
                text = unescape(content)
                if text != title:
                    yield number, text
                    yield number, ""
                title = None
    if begun:
        raise _unclosed(path, begun)


def _unclosed(path: Path, line: int) -> DataError:
    return DataError(
        f"{path}:{line}: this <doc ...> has no {_END_OF_DOC}: the file is cut off; create it again"
    )
