"""Figures as they are kept: a PNG on white, and an SVG whose colours are the page's own.

matplotlib draws each picture twice. In the SVG, stand-in colours become CSS variables, so that it
is legible on a light and on a dark page alike. Text is never taken for formulas.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bert_paddle.common import atomic_files

WIDTH, HEIGHT = 3.7, 2.6  # inches; less than a phone's width, so that text is no smaller there
_DPI = 200


@dataclass(frozen=True)
class Ink:
    """Colours to draw with. series: of lines and points, in order."""

    text: str
    faint: str
    series: tuple[str, ...]
    paper: str

    def line(self, index: int) -> str:
        """The colour of a series; they begin again when there are more series than colours."""
        return self.series[index % len(self.series)]


PRINT = Ink(
    text="#1f2328",
    faint="#c9ced6",
    series=("#0067a5", "#c2410c", "#00795c", "#9d2f8f", "#8a6d00", "#5b5bd6", "#b3002d", "#4d6b7a"),
    paper="#ffffff",
)
# Stand-ins, replaced by the CSS variable of the same place in the SVG's text.
_STAND_INS = {"#010201": "--ink", "#010202": "--line"}
_STAND_INS |= {f"#0103{i:02d}": f"--series-{i}" for i in range(len(PRINT.series))}
PAGE = Ink(
    text="#010201",
    faint="#010202",
    series=tuple(f"#0103{i:02d}" for i in range(len(PRINT.series))),
    paper="none",
)


@dataclass(frozen=True)
class Picture:
    """A picture of a report. name: of its file; title and note: in words; draw: puts it on axes."""

    name: str
    title: str
    note: str
    draw: Callable[[Any, Ink], None]
    square: bool = False


def png(picture: Picture) -> bytes:
    """The picture with its title as a PNG on white."""
    with _quiet():
        figure = _figure(picture, PRINT)
        figure.axes[0].set_title(picture.title, fontsize=11, color=PRINT.text)
        kept = io.BytesIO()
        figure.savefig(kept, format="png", dpi=_DPI, metadata={"Software": None})
    return kept.getvalue()


def svg(picture: Picture, salt: str) -> str:
    """The picture as an <svg> element for a page that defines --ink, --line and --series-N.
    salt: goes into the names of its parts, so that two pictures on a page have none in common."""
    with _quiet(salt):
        figure = _figure(picture, PAGE)
        kept = io.StringIO()
        figure.savefig(kept, format="svg", dpi=_DPI, metadata={"Date": None})
    text = kept.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # the same names would come in every picture
    # The size is the page's to choose; the view box stays.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for stand_in, variable in _STAND_INS.items():
        text = text.replace(stand_in, f"var({variable})")
    return text


def write_png(picture: Picture, folder: Path) -> Path:
    """Write `folder`/<name>.png in one step; returns its path."""
    path = folder / f"{picture.name}.png"
    beside = path.with_name(f".{path.name}{atomic_files.PART}")
    try:
        beside.write_bytes(png(picture))
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)  # a full disk is not left fuller
        raise
    return path


def _figure(picture: Picture, ink: Ink) -> Any:
    from matplotlib.figure import Figure

    size = (WIDTH, WIDTH * 0.8) if picture.square else (WIDTH, HEIGHT)
    figure = Figure(figsize=size, layout="constrained", facecolor=ink.paper)
    axes = figure.add_subplot(facecolor="none")
    picture.draw(axes, ink)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(ink.faint)
    axes.tick_params(labelcolor=ink.text, labelsize=9, color=ink.faint)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=ink.text, fontsize=10)
    legend = axes.get_legend()
    if legend is not None:
        legend.get_frame().set(facecolor="none", edgecolor="none")
        for words in legend.get_texts():
            words.set(color=ink.text, fontsize=9)
    return figure


@contextmanager
def _quiet(salt: str = "") -> Iterator[None]:
    """Settings of matplotlib for the block alone. A class name in a script that its own font has
    not is drawn as boxes in the PNG; the page has the reader's fonts."""
    import matplotlib

    settings: Any = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": salt or None}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def thinned(xs: list[float], ys: list[float], most: int = 400) -> tuple[list[float], list[float]]:
    """At most `most` points: each the mean of as many neighbours as that takes."""
    size = -(-len(xs) // most)
    if size <= 1:
        return xs, ys
    edges = np.arange(0, len(xs), size)
    counts = np.diff([*edges, len(xs)])
    means = [(np.add.reduceat(np.array(values), edges) / counts).tolist() for values in (xs, ys)]
    return means[0], means[1]
