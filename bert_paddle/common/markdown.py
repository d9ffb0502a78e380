"""Markdown: texts of files and users as a table's cells, headings and code, shown as they are.

Line ends become spaces, and what would control a terminal that shows the page is escaped.
"""

import re
from collections.abc import Sequence
from typing import Any

from bert_paddle.common import printed_lines

# Characters with a meaning in Markdown; the last two alternatives prevent automatic links.
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&$]|:(?=//)|(?<=www)\.)")


def one_line(text: str) -> str:
    """The text in one line, without control characters."""
    return printed_lines.escape(" ".join(text.split()))


def escape(text: str) -> str:
    """The text so that Markdown shows it literally, in one line."""
    return _SPECIAL.sub(r"\\\1", one_line(text))


def escape_cell(text: str) -> str:
    """A text that may have Markdown's emphasis and code as the content of a table cell: one line,
    with | and < escaped."""
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """The text as code within a line. Its own backticks become apostrophes."""
    return f"`{one_line(text).replace('`', chr(39))}`"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; the cells are escaped, so that they show literally."""
    return _join(header, [[escape(str(cell)) for cell in row] for row in rows])


def formatted_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are escaped by `escape_cell`."""
    return _join([*map(escape_cell, header)], [[*map(escape_cell, row)] for row in rows])


def _join(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(header), ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
