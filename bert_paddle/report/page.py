"""Render the page from its template.

jinja2 escapes all values except the pictures, in which matplotlib has already escaped the texts.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bert_paddle import __version__
from bert_paddle.report import (
    curves,
    data_rows,
    figures,
    label_table,
    plots,
    reading,
    seed_means,
    tables,
)
from bert_paddle.report.figures import Picture
from bert_paddle.report.run_data import RunData

TEMPLATE = "page.html.jinja"
_UNBROKEN = r"--[a-z_0-9]+|\b\d[\d.]*e-\d+"  # flags, and numbers such as 2e-05
_LIGHT = {"ink": "#1f2328", "line": "#d5d9e0"}
_DARK_SERIES = (
    "#62b4f2",
    "#ff9a5c",
    "#00ffaf",
    "#ffdd26",
    "#857dff",
    "#dd5761",
    "#c0dfef",
    "#a07599",
)
_DARK = {"ink": "#e6e8eb", "line": "#3a404a"}


@dataclass(frozen=True)
class RenderedPicture:
    """A picture in the page. id: unique in the page; svg: the <svg> element, marked as not to be
    escaped."""

    id: str
    title: str
    note: str
    svg: Any


@functools.cache
def template_environment(folder: Path | None = None) -> Any:
    """The jinja2 environment of the pages, which keeps compiled templates. folder: one with further
    templates."""
    import jinja2

    own = Path(__file__).parent
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, own] if folder else own),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style_variables() -> dict[str, Any]:
    """The colours that style.css.jinja declares, for light and dark mode."""
    from markupsafe import Markup

    return {
        "light": Markup(_css_variables(_LIGHT, figures.PRINT_PALETTE.series)),
        "dark": Markup(_css_variables(_DARK, _DARK_SERIES)),
    }


def render(runs: Sequence[RunData]) -> tuple[str, list[Picture]]:
    """Render the page of one run, or the page that compares several. Returns its HTML and its
    pictures: first those that show all runs together, then those of each run."""
    from markupsafe import Markup

    all_pictures: list[Picture] = []

    def draw(pictures: Sequence[Picture], salt: str) -> list[RenderedPicture]:
        """Render the pictures, and add them to all_pictures."""
        all_pictures.extend(pictures)
        return [
            RenderedPicture(
                f"{salt}-{i}",
                picture.title,
                picture.note,
                Markup(figures.render_svg(picture, f"{salt}-{i}")),
            )
            for i, picture in enumerate(pictures)
        ]

    shared = draw(curves.pictures(runs), "all")
    per_run = [(run, draw(plots.pictures(run), f"{i}")) for i, run in enumerate(runs)]
    text = (
        template_environment()
        .get_template(TEMPLATE)
        .render(
            runs=per_run,
            shared=shared,
            tables=tables,
            reading=reading,
            data_rows=data_rows,
            label_table=label_table,
            seed_means=seed_means,
            title=_title(runs),
            version=__version__,
            now=datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
            series=len(figures.PRINT_PALETTE.series),
            unbroken=_unbroken_flags,
            dashes=("none", "7 4", "2 3", "7 3 2 3"),  # the same styles as curves.DASHES
            **style_variables(),
        )
    )
    return text, all_pictures


def _unbroken_flags(text: str) -> Any:
    """A text, escaped, in which no line break falls within a flag's name or a number."""
    from markupsafe import Markup, escape

    return Markup(re.sub(_UNBROKEN, r"<code>\g<0></code>", str(escape(text))))


def _title(runs: Sequence[RunData]) -> str:
    """Task and model of one run; for several, their tasks and number."""
    if len(runs) > 1:
        tasks = list(dict.fromkeys(run.task for run in runs))
        return f"{', '.join(tasks[:3])}: {len(runs)} runs compared"
    model = str(runs[0].run_info.get("model") or "")
    return " · ".join(filter(None, (runs[0].task, Path(model).name)))


def _css_variables(colors: dict[str, str], series: Sequence[str]) -> str:
    """CSS declarations of the named colours and of the series."""
    named = colors | {f"series-{i}": color for i, color in enumerate(series)}
    return " ".join(f"--{name}: {color};" for name, color in named.items())
