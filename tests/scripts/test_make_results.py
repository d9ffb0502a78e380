"""make_results.py: tables from invented runs, written only between the markers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_results.py"
BEGIN, END = "<!-- results: begin (scripts/make_results.py) -->", "<!-- results: end -->"


def rewrite(runs: Path, to: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), str(runs), "--to", str(to)]
    return subprocess.run(command, capture_output=True, text=True)


def write_run(runs: Path, task: str, log: str = "", **results: object) -> None:
    folder = runs / "small" / task
    folder.mkdir(parents=True)
    (folder / "all_results.json").write_text(json.dumps(results))
    os.utime(folder / "all_results.json", (86400 * 365.25 * 50, 86400 * 365.25 * 50))
    if log:
        folder.with_name(f"{task}.log").write_text(log)


def rows(text: str, first: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith(f"| {first} |")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.fixture
def table(tmp_path) -> str:
    runs = tmp_path / "runs"
    write_run(
        runs,
        "MRPC",
        "# command: python -u run_glue.py --old\n# machine: old\nglobal step 1\n"
        "# command: python -u run_glue.py --task_name MRPC\n# machine: CPU X, 2 core(s)\n",
        train_samples=3668,
        eval_samples=408,
        eval_accuracy=0.85784,
        eval_f1=0.9,
        best_step=230,
        best_metric=0.88,
        train_runtime=3725.0,
    )
    write_run(runs, "QNLI", train_samples=27711, eval_samples=5463, eval_accuracy=0.9)
    write_run(runs, "SST-2", train_samples=1600, data="demo", eval_accuracy=1.0)
    write_run(
        runs, "MNLI", eval_accuracy=0.8, eval_accuracy_mm=0.81, eval_samples=9, best_step=None
    )
    write_run(runs, "STS-B", eval_pearson="nan")
    done = rewrite(runs, tmp_path / "docs" / "RESULTS.md")
    assert (done.returncode, done.stderr) == (0, "")
    return (tmp_path / "docs" / "RESULTS.md").read_text()


def test_scores_are_percentages_next_to_published_ones(table):
    head, (scores, details) = rows(table, "task")[0], rows(table, "MRPC")
    assert scores[:4] == [
        "MRPC",
        "3,668 rows, official",
        "accuracy / F1",
        "**85.78 / 90.00**",
    ]
    published = dict(zip(head[4:], scores[4:], strict=True))
    assert published["bert-base-uncased (HF example, write-up)"] == "85.78 / 90.00"
    assert published["MiniLM-L6-H384 (Microsoft)"] == "88.9"
    assert published["bert-base-uncased (PaddleNLP example)"] == "–"
    assert details == [
        "MRPC",
        "step 230: 88.00 (mean of the two)",
        "1 h 02 min",
        "2020-01-01",
        "CPU X, 2 core(s)",
    ]


def test_only_the_last_command_of_a_log_counts(table):
    assert "run_glue.py --task_name MRPC" in table and "--old" not in table


def test_subsets_and_demo_sets_are_marked(table):
    assert rows(table, "QNLI")[0][1] == "27,711 rows: **subset**, official has 104,743"
    assert rows(table, "SST-2")[0][1] == "demo set: no GLUE result"


def test_mnli_shows_both_dev_sets_and_missing_values_are_dashes(table):
    assert rows(table, "MNLI")[0][3] == "**80.00 / 81.00**"
    assert rows(table, "MNLI")[0][1] == "–"
    assert rows(table, "STS-B")[0][3] == "**– / –**"
    assert rows(table, "STS-B")[1][1:3] == ["–", "–"]


def test_all_rows_of_a_table_have_the_same_number_of_cells(table):
    width = 0
    for line in table.splitlines():
        width = 0 if not line.startswith("|") else width or line.count(" | ")
        assert line.count(" | ") == width


def test_text_outside_the_markers_is_kept_and_rewriting_is_idempotent(tmp_path):
    runs, document = tmp_path / "runs", tmp_path / "RESULTS.md"
    write_run(runs, "RTE", eval_accuracy=0.6)
    document.write_text(f"# Title\n\nbefore\n{BEGIN}\nold table\n{END}\nafter\n")
    assert rewrite(runs, document).returncode == 0
    first = document.read_text()
    assert first.startswith(f"# Title\n\nbefore\n{BEGIN}\n") and first.endswith(f"{END}\nafter\n")
    assert "old table" not in first and "60.00" in first
    rewrite(runs, document)
    assert document.read_text() == first


def test_a_file_without_markers_is_not_changed(tmp_path):
    (tmp_path / "runs").mkdir()
    document = tmp_path / "RESULTS.md"
    for text in ("mine", f"{END}\n{BEGIN}\n"):
        document.write_text(text)
        done = rewrite(tmp_path / "runs", document)
        assert done.returncode == 2 and done.stderr.startswith("error: ")
        assert document.read_text() == text


def test_an_unreadable_results_file_is_reported_and_skipped(tmp_path):
    runs, document = tmp_path / "runs", tmp_path / "RESULTS.md"
    write_run(runs, "RTE", eval_accuracy=0.6)
    write_run(runs, "WNLI")
    (runs / "small" / "WNLI" / "all_results.json").write_text('{"eval_acc')
    done = rewrite(runs, document)
    assert done.returncode == 0 and "WNLI" in done.stderr
    assert rows(document.read_text(), "RTE") and not rows(document.read_text(), "WNLI")
