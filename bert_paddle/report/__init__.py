"""report.html and pictures/ of runs, made from the plain files in their folders."""

from pathlib import Path


def leave(run: Path) -> Path:
    """Write the report of one run into its own folder; returns the page's path."""
    from bert_paddle.report.build import leave as write

    return write(run)
