"""The README as a package page shows it; all else is in pyproject.toml.

A package page has no repository beside it, so relative pictures and links lead nowhere there. Where
BERT_PADDLE_URL names the repository's files (https://HOST/OWNER/NAME/raw/BRANCH), they are made
absolute; without it pictures are left out and links become plain text.
"""

import os
import re
from pathlib import Path

from setuptools import setup

_PICTURE_OR_LINK = re.compile(r"(!?)\[([^]]+)\]\((?![a-z]+:)([^)#]*)(#[^)]*)?\)")


def page_readme(text: str, url: str | None) -> str:
    """`text` with no relative address left: absolute below `url`, or taken out."""

    def absolute(found: re.Match[str]) -> str:
        picture, words, path, anchor = found.groups()
        if not path:  # a heading of the same page
            return found.group()
        if url:
            return f"{picture}[{words}]({url.rstrip('/')}/{path}{anchor or ''})"
        return "" if picture else words

    return _PICTURE_OR_LINK.sub(absolute, text)


if __name__ == "__main__":
    readme = (Path(__file__).parent / "README.md").read_text("utf-8")
    setup(
        long_description=page_readme(readme, os.environ.get("BERT_PADDLE_URL")),
        long_description_content_type="text/markdown",
    )
