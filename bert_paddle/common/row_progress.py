"""Progress over the rows of an evaluation, a prediction or an encoding."""

import time
from collections.abc import Callable
from typing import Any, TextIO

from bert_paddle.common.printed_lines import escape

SECONDS_BETWEEN_LINES = 30.0


class RowProgress:
    """A bar on a terminal; elsewhere a line now and then, so that a log shows that the program is
    at work. Phases that are soon over print nothing."""

    def __init__(
        self, name: str, total: int, terminal: TextIO | None, print_line: Callable[[str], None]
    ):
        """name: of the phase; total: number of rows. terminal: where to draw the bar, or None for
        lines."""
        self.name, self.total, self.print_line = name, total, print_line
        self.bar: Any = None
        if terminal is not None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=escape(name), file=terminal, unit="row", leave=False)
        self.printed_at = time.monotonic()

    def show(self, rows: int) -> None:
        """Show that `rows` of the rows are done."""
        if self.bar is not None:
            self.bar.update(rows - self.bar.n)
        elif 0 < rows and time.monotonic() - self.printed_at >= SECONDS_BETWEEN_LINES:
            self.print_line(f"{self.name}: {rows:,} of {self.total:,} rows")
            self.printed_at = time.monotonic()

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()
