"""Render pictures with matplotlib: a PNG on white, and an SVG in the colours of the page.

The SVG is drawn in placeholder colours, which are then replaced by CSS variables, so that it is
legible in light and dark mode. "$" in a text does not start a formula.
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

WIDTH, HEIGHT = 3.7, 2.6  # inches; below a phone's width, so that text is not scaled down there
_DPI = 200
_TITLE_CHARACTERS = 34  # of a line of a title, in a picture of WIDTH
# Of a text in a picture. Matplotlib lays out every line: 100,000 characters would take minutes.
_MAX_CHARACTERS = 300


@dataclass(frozen=True)
class Palette:
    """Colours to draw with. series: for lines and points, in order; muted: for grid and axes."""

    text: str
    muted: str
    series: tuple[str, ...]
    background: str

    def series_color(self, index: int) -> str:
        """The colour of a series; repeats when there are more series than colours."""
        return self.series[index % len(self.series)]


# The series differ for all kinds of colour vision, also in dark mode (page.py): the tests simulate
# these by Machado et al. 2009.
PRINT_PALETTE = Palette(
    text="#1f2328",
    muted="#c9ced6",
    series=("#0067a5", "#cf5a00", "#cb07ff", "#720000", "#aa886e", "#1f0089", "#7b3752", "#31003e"),
    background="#ffffff",
)
# The placeholder colours, and the CSS variables that replace them in the SVG.
_CSS_VARIABLES = {"#010201": "--ink", "#010202": "--line"}
_CSS_VARIABLES |= {f"#0103{i:02d}": f"--series-{i}" for i in range(len(PRINT_PALETTE.series))}
PAGE_PALETTE = Palette(
    text="#010201",
    muted="#010202",
    series=tuple(f"#0103{i:02d}" for i in range(len(PRINT_PALETTE.series))),
    background="none",
)


@dataclass(frozen=True)
class Picture:
    """A picture in a report. name: the file name without .png; note: a second line of the caption;
    draw: draws it on matplotlib axes in the colours of a palette."""

    name: str
    title: str
    note: str
    draw: Callable[[Any, Palette], None]
    square: bool = False


def render_png(picture: Picture) -> bytes:
    """The picture with its title as a PNG on white."""
    with _matplotlib_settings():
        figure = _figure(picture, PRINT_PALETTE)
        title = wrap(picture.title, _TITLE_CHARACTERS)
        figure.axes[0].set_title(title, fontsize=11, color=PRINT_PALETTE.text)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def render_svg(picture: Picture, salt: str) -> str:
    """The picture as an <svg> element for a page that defines --ink, --line and --series-N.
    salt: a text that no other picture on the page has, to make the element ids differ."""
    with _matplotlib_settings(salt):
        figure = _figure(picture, PAGE_PALETTE)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", dpi=_DPI, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # group ids would occur in every picture
    # The page sets the size; the view box, which is kept, gives the proportions.
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    for placeholder, variable in _CSS_VARIABLES.items():
        text = text.replace(placeholder, f"var({variable})")
    return text


def wrap(text: str, width: int) -> str:
    """A text in lines of at most `width` characters, broken at blanks, else at "_", "-", "." or
    "/", else anywhere; nothing but what is above _MAX_CHARACTERS is left out."""
    if len(text) > _MAX_CHARACTERS:
        text = text[:_MAX_CHARACTERS] + "..."
    lines = [""]
    for part in re.findall(r"[^\s_./-]*[\s_./-]*", text):
        while part:
            if len((lines[-1] + part).rstrip()) <= width:
                lines[-1] += part
                break
            if lines[-1]:
                lines.append("")
            else:
                lines[-1], part = part[:width], part[width:]
    return "\n".join(line.rstrip() for line in lines)


def write_png(picture: Picture, folder: Path) -> Path:
    """Write `folder`/<name>.png atomically; returns its path."""
    path = folder / f"{picture.name}.png"
    atomic_files.write_bytes(path, render_png(picture))
    return path


def _figure(picture: Picture, palette: Palette) -> Any:
    """The picture as a matplotlib Figure."""
    from matplotlib.figure import Figure

    size = (WIDTH, WIDTH * 0.8) if picture.square else (WIDTH, HEIGHT)
    figure = Figure(figsize=size, layout="constrained", facecolor=palette.background)
    axes = figure.add_subplot(facecolor="none")
    picture.draw(axes, palette)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(palette.muted)
    axes.tick_params(labelcolor=palette.text, labelsize=9, color=palette.muted)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=palette.text, fontsize=10)
    legend = axes.get_legend()
    if legend is not None:
        legend.get_frame().set(facecolor="none", edgecolor="none")
        for label in legend.get_texts():
            label.set(color=palette.text, fontsize=9)
    return figure


@contextmanager
def _matplotlib_settings(salt: str = "") -> Iterator[None]:
    """Apply matplotlib settings in the block, and suppress its warnings about characters that its
    font lacks. They appear as boxes in the PNG, but not on the page, which uses browser fonts."""
    import matplotlib

    settings: Any = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": salt or None}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def downsample(
    xs: list[float], ys: list[float], limit: int = 400
) -> tuple[list[float], list[float]]:
    """Reduce a curve to at most `limit` points, each the mean of consecutive points."""
    size = -(-len(xs) // limit)  # points per mean, rounded up
    if size <= 1:
        return xs, ys
    starts = np.arange(0, len(xs), size)
    counts = np.diff([*starts, len(xs)])
    means = [(np.add.reduceat(np.array(values), starts) / counts).tolist() for values in (xs, ys)]
    return means[0], means[1]
