"""The report in a real browser: no horizontal scrolling, legible in light and dark mode."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import run_folders

from bert_paddle.report import build

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
pytestmark = pytest.mark.skipif(not BROWSER, reason="no Chromium (apt-get install chromium)")

# A browser window cannot be as narrow as a phone: the page is measured in an iframe.
PROBE = """<!DOCTYPE html><title>waiting</title>
<iframe id="f" style="width: {width}px; height: 900px; border: 0" srcdoc="{page}"></iframe>
<script>
document.getElementById("f").onload = event => {{
  const page = event.target.contentDocument, root = page.documentElement;
  const beyond = [...page.querySelectorAll("body *")].filter(part =>
    !part.closest(".wide") && part.getBoundingClientRect().right > root.clientWidth + 1);
  const text = page.querySelector("figure svg text");
  document.title = JSON.stringify({{
    width: root.clientWidth, needed: root.scrollWidth, beyond: beyond.map(p => p.outerHTML),
    drawn: page.querySelectorAll("figure svg").length,
    text: text.getBoundingClientRect().height,
    ink: getComputedStyle(text).fill, paper: getComputedStyle(page.body).backgroundColor,
  }});
}};
</script>"""


def headless(tmp_path: Path, *flags: str) -> str:
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", profile]
    completed = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=240)
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def measured(tmp_path: Path, page: str, width: int, *flags: str) -> dict:
    """The browser's measurements of a page in a window of that width."""
    import json

    # The page's security policy would forbid the scripts of the surrounding frame too.
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(width=width, page=html.escape(page)))
    dumped = headless(tmp_path, "--dump-dom", "--window-size=1600,1000", *flags, probe.as_uri())
    title = re.search("<title>(.*?)</title>", dumped, re.S)
    assert title is not None, dumped[:500]
    return json.loads(html.unescape(title[1]))


def brightness(color: str) -> float:
    """0 to 255 of `rgb(r, g, b)`."""
    return sum(map(int, re.findall(r"\d+", color)[:3])) / 3


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """Pages with content that is hard to fit: words without a break, long names, wide tables."""
    base = tmp_path_factory.mktemp("pages")
    long = "Donaudampfschiff" * 30
    one, other = base / "one", base / ("a_folder_with_a_long_name_" * 4)
    run_folders.write_run(one, model=f"folder/{long}", machine=long)
    settings = {"vocab_file": f"/{long}", "output_dir": long, "learning_rate": 1e-5}
    run_folders.write_run(other, settings=settings, given=["vocab_file"])
    rows = [run_folders.prediction(0, "no", "yes", 0.9, text=long)]
    run_folders.write_lines(one / "dev_predictions.jsonl", rows)
    epoch = {"kind": "epoch", "step": 5, "epoch": 1, **{f"metric_{i}": 0.5 for i in range(12)}}
    run_folders.write_lines(one / "metrics.jsonl", [*run_folders.records(), epoch])
    build.write_reports([one, other], base / "both.html")
    return {
        "one": build.write_run_report(one).read_text(),
        "several": (base / "both.html").read_text(),
    }


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", ["one", "several"])
def test_the_page_fits_its_window(tmp_path, pages, kind, width):
    page = measured(tmp_path, pages[kind], width)
    assert page["width"] == width
    assert page["needed"] <= width and not page["beyond"]
    assert page["drawn"] >= 4
    assert page["text"] >= 9  # pixels: legible without zooming


def test_pictures_are_legible_in_light_and_dark(tmp_path, pages):
    light = measured(tmp_path, pages["one"], 390)
    dark = measured(tmp_path, pages["one"], 390, "--blink-settings=preferredColorScheme=0")
    assert brightness(light["paper"]) - brightness(light["ink"]) > 150
    assert brightness(dark["ink"]) - brightness(dark["paper"]) > 150


def test_the_page_renders_under_its_own_policy(tmp_path, pages):
    """A style that the security policy forbids would leave black on white."""
    import numpy as np
    from PIL import Image

    page, shot = tmp_path / "page.html", tmp_path / "shot.png"
    page.write_text(pages["one"])
    dark = "--blink-settings=preferredColorScheme=0"
    headless(tmp_path, f"--screenshot={shot}", "--window-size=800,900", dark, page.as_uri())
    pixels = np.asarray(Image.open(shot).convert("L"))
    assert np.median(pixels) < 60 and pixels.max() > 200
