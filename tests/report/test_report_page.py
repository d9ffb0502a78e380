"""The page: escaped, self-contained, for one run and for several; and its picture files."""

import json
import re
from html.parser import HTMLParser

import pytest
import run_folders
from run_folders import plain_pictures  # noqa: F401

from bert_paddle.cli import report
from bert_paddle.common.errors import OutputError
from bert_paddle.report import build

EVIL = "</svg></style><script>alert(1)</script><img src=x onerror=alert(1)>&quot; $\\frac{1}{0}$"


class Parts(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def test_all_values_are_escaped(tmp_path):
    """Sentences, labels, task, flags, versions, names of sets and results, a lone surrogate. Text
    is not parsed as formulas."""
    labels = [EVIL, "yes"]
    folder = run_folders.write_run(
        tmp_path / "a<b>run & co",
        task=EVIL,
        labels=labels,
        model=f"m/{EVIL}",
        settings={"learning_rate": EVIL, f"flag{EVIL}": EVIL},
        versions={EVIL: EVIL},
        machine=EVIL + "\ud800",
    )
    rows = [run_folders.prediction(0, EVIL, "yes", 0.9, text=f"<b>{EVIL}")]
    run_folders.write_lines(folder / "dev_predictions.jsonl", rows)
    run_folders.write_lines(folder / "test_predictions_<script>.jsonl", rows)
    records = run_folders.records() + [{"kind": "eval", "step": 12, f"a{EVIL}": 0.5, "dev": EVIL}]
    run_folders.write_lines(folder / "metrics.jsonl", records)
    results = {f"eval_{EVIL}": EVIL, "eval_accuracy": EVIL, "test_<script>": EVIL}
    (folder / "all_results.json").write_text(json.dumps(results))
    build.write_run_report(folder)
    other = run_folders.write_run(tmp_path / "b")
    build.write_reports([folder, other], tmp_path / "both.html")
    for page in (folder / "report.html", tmp_path / "both.html"):
        parts = Parts(page.read_text())
        assert not {"script", "img", "iframe"} & set(parts.tags)
        assert not [a for a in parts.attributes if a[1].startswith("on")]
        assert f"<b>{EVIL}" in parts.text
        assert page.read_text().count("<style>") == 1
        assert "&lt;/svg&gt;" in page.read_text()


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    """The page of a run."""
    folder = run_folders.write_run(tmp_path_factory.mktemp("page") / "a")
    return build.write_run_report(folder).read_text()


def test_nothing_is_loaded_from_outside(text):
    names = {"src", "href", "xlink:href", "action", "data"}
    links = [value for _, name, value in Parts(text).attributes if name in names]
    assert all(value.startswith(("#", "data:")) for value in links)
    assert "url(http" not in text and "@import" not in text
    assert "default-src 'none'" in text


def test_svg_ids_are_unique_and_references_resolve(tmp_path):
    folders = [run_folders.write_run(tmp_path / name) for name in "ab"]
    build.write_reports(folders, tmp_path / "both.html")
    parts = Parts((tmp_path / "both.html").read_text())
    ids = [value for _, name, value in parts.attributes if name == "id"]
    used = {v[1:] for _, _, v in parts.attributes if v.startswith("#")}
    used |= set(re.findall(r"url\(#([^)]+)\)", (tmp_path / "both.html").read_text()))
    assert used <= set(ids) and len(ids) == len(set(ids))


def test_colours_follow_the_page(text):
    assert "var(--ink)" in text and "prefers-color-scheme: dark" in text
    assert "#0102" not in text and "#0103" not in text  # placeholders


def test_the_page_shows_results_and_settings(text):
    text = Parts(text).text
    for expected in ("MRPC", "0.7512", "0.6134", "2e-05", "12,345", "a processor", "1 min 15 s"):
        assert expected in text, expected
    for title in ("Loss", "Metrics", "Learning rate", "Throughput", "Confusion matrix", "Lengths"):
        assert title in text, title


def test_pictures_are_enlarged_without_a_script(text):
    boxes = re.findall(r'<input type="checkbox" class="zoom" id="([^"]+)"', text)
    assert len(boxes) == text.count("<figure") > 4
    assert all(f'<label for="{box}"' in text for box in boxes)
    assert ".zoom:checked + label" in text and "<script" not in text


@pytest.mark.usefixtures("plain_pictures")
def test_epochs_are_a_table(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    epoch = {"kind": "epoch", "step": 5, "epoch": 1, "train_loss": 0.4321, "train_seconds": 61.0}
    run_folders.write_lines(folder / "metrics.jsonl", [*run_folders.records(), epoch])
    text = Parts(build.write_run_report(folder).read_text()).text
    assert "0.4321" in text and "1 min 1 s" in text


def test_pictures_of_an_earlier_report_are_deleted_and_others_kept(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    build.write_run_report(folder)
    expected = {"loss", "metrics", "learning_rate", "throughput", "lengths", "confusion"}
    (folder / "pictures/mine.png").touch()
    assert {p.stem for p in (folder / "pictures").iterdir()} == expected | {"mine"}
    (folder / "dev_predictions.jsonl").unlink()
    build.write_run_report(folder)
    assert {p.stem for p in (folder / "pictures").iterdir()} == (expected | {"mine"}) - {
        "confusion"
    }
    assert (folder / "pictures/loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("plain_pictures")
def test_several_runs_compared(tmp_path, capsys):
    settings = {"learning_rate": 3e-5, "seed": 42, "output_dir": "x"}
    run_folders.write_run(tmp_path / "s/lr_2")
    run_folders.write_run(tmp_path / "s/lr_3", settings=settings)
    report.main([str(tmp_path / "s")])
    assert capsys.readouterr().out == f"report: {tmp_path / 's/comparison.html'}\n"
    parts = Parts((tmp_path / "s/comparison.html").read_text())
    start, end = parts.text.index("Settings that differ"), parts.text.index("Results")
    differing = parts.text[start:end]
    assert "learning_rate" in differing and "2e-05" in differing and "3e-05" in differing
    assert "seed" not in differing and "output_dir" not in differing
    assert "lr_2" in parts.text and "lr_3" in parts.text
    assert not (tmp_path / "s/lr_2/report.html").exists()


@pytest.mark.usefixtures("plain_pictures")
def test_a_run_given_twice_counts_once(tmp_path, capsys):
    folder = run_folders.write_run(tmp_path / "a")
    report.main([str(folder), f"{folder}/"])
    assert capsys.readouterr().out == f"report: {folder / 'report.html'}\n"


@pytest.mark.parametrize(
    ("output", "message"), [(".", "is a folder"), ("no/x.html", "no such folder")]
)
def test_unwritable_page_is_an_error(tmp_path, output, message):
    folder = run_folders.write_run(tmp_path / "a")
    with pytest.raises(OutputError, match=message):
        report.main([str(folder), "-o", str(tmp_path / output)])


def test_tiles_and_results_have_the_intervals(tmp_path):
    folder = run_folders.write_run(tmp_path / "a")
    results = json.loads((folder / "all_results.json").read_text())
    results |= {"eval_accuracy_ci95": [0.70123, 0.80456], "eval_f1_ci95": "damaged"}
    results |= {"eval_accuracy_mm": 0.5, "eval_accuracy_ci95_mm": [0.4, 0.6]}
    (folder / "all_results.json").write_text(json.dumps(results))
    text = build.write_run_report(folder).read_text()
    assert "<dd>0.7512<span>95 %: 0.7012 to 0.8046</span></dd>" in text
    assert "<dd>0.5000<span>95 %: 0.4000 to 0.6000</span></dd>" in text
    assert "<dd>0.6134</dd>" in text
    assert "accuracy, dev set, 95 % interval" in text
    assert "accuracy, dev set, mismatched, 95 % interval" in text
