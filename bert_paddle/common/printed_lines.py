"""Prints lines: the one place where text reaches a terminal or a log.

Names and values from files get into errors, notes and progress, and their control characters could
make a terminal hide, recolor or forge lines. They are escaped here, so no message need think of it.
"""

import re
import sys
import unicodedata
from typing import TextIO

# Not printable for Python, but harmless and part of words (the joiners of Persian and Hindi) or of
# our own tables.
_KEPT = "\t\u200c\u200d"
# Characters that fonts may know and Python does not: private and new ones.
_UNKNOWN_CATEGORIES = ("Co", "Cn")

# Longer than a path usually is.
_LONG_WORD = re.compile(r"(\S{400})\S{500,}")


def escape(text: str) -> str:
    """The text in one line: line ends become spaces; control characters, invisible ones, those that
    reverse the order of letters, and lone surrogates their escapes, such as \\x1b."""
    return text if text.isprintable() else "".join(map(_escape_character, text))


def shorten_words(text: str) -> str:
    """The text with words of more than 900 characters, such as a file may have as names, cut
    after 400."""
    return _LONG_WORD.sub(lambda word: f"{word[1]}...({len(word[0]):,} characters)", text)


def _escape_character(character: str) -> str:
    if character.isprintable() or character in _KEPT:
        return character
    if character.isspace():
        return " "
    if unicodedata.category(character) in _UNKNOWN_CATEGORIES:
        return character
    return repr(character)[1:-1]


def print_line(text: str, stream: TextIO | None = None, end: str = "\n") -> None:
    """Print one line, escaped, to `stream`: sys.stderr if it is None. Raises OSError."""
    _print(escape(text), sys.stderr if stream is None else stream, end)


def print_text(text: str, stream: TextIO | None = None, end: str = "\n") -> None:
    """Print a text of several lines, each escaped, to `stream`: sys.stdout if it is None. Raises
    OSError."""
    lines = "\n".join(map(escape, text.split("\n")))
    _print(lines, sys.stdout if stream is None else stream, end)


def _print(text: str, stream: TextIO, end: str) -> None:
    """As print(); an OSError names the stream, which may be a file on a full disk."""
    try:
        print(text, file=stream, end=end, flush=True)
    except OSError as error:
        error.filename = error.filename or getattr(stream, "name", None)
        raise
