"""What files contain reaches the terminal escaped, whatever prints it."""

import ast
import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from bert_paddle.common import atomic_files, error_exit, printed_lines, run_log
from bert_paddle.common.errors import UserError
from bert_paddle.common.row_progress import RowProgress

PACKAGE = Path(__file__).parents[2] / "bert_paddle"
HOSTILE = "a\x1b[2Jb\x07\x9b31m\u202egnp\u2066\nerror: forged\r\x7f\ud800"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain: café 中文 \U0001f600", None),
        ("a\tb", None),
        ("می\u200cخواهم \ue000", None),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x9b\x7f\x00", r"\x9b\x7f\x00"),
        ("\u202e\u2066\u200f\ufeff\u200b", r"\u202e\u2066\u200f\ufeff\u200b"),
        ("a\nb\r\n\x85\u2028", "a b    "),
        ("\ud800", r"\ud800"),
    ],
)
def test_escape(text, expected):
    assert printed_lines.escape(text) == (text if expected is None else expected)


def check_clean(text: str) -> None:
    assert "forged" in text
    for line in text.splitlines():
        assert line.isprintable() and not line.startswith("error: forged")


@pytest.mark.parametrize("method", ["line", "note", "warning"])
def test_log_lines(method):
    out = io.StringIO()
    getattr(run_log.RunLog(stdout=out, stderr=out), method)(f"data: {HOSTILE}")
    check_clean(out.getvalue())


def test_progress_bar():
    terminal = io.StringIO()
    progress = RowProgress(HOSTILE, 3, terminal, print)
    progress.show(1)
    progress.close()
    assert "forged" in terminal.getvalue()
    assert not set(terminal.getvalue()) & set("\x1b\x07\x9b\u202e\x7f\n")


def test_every_module_prints_through_this_one():
    """Apart from fixed texts, and from output that escapes by itself."""
    calls = {}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls[path.relative_to(PACKAGE).as_posix()] = sum(
            ast.unparse(node.func) in ("print", "sys.stderr.write", "sys.stdout.write")
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
        )
    found = {name: count for name, count in calls.items() if count}
    assert found == {
        "common/printed_lines.py": 1,
        "__main__.py": 2,
        "cli/completion.py": 1,
        "cli/predict.py": 1,
    }


def test_a_full_disk_under_the_output_is_told_by_its_name():
    full = open("/dev/full", "w", encoding="utf-8")  # flushed, and so closed, with an error
    with pytest.raises(OSError) as caught:
        printed_lines.print_line("text", full)
    assert caught.value.filename == "/dev/full"
    with contextlib.suppress(OSError):
        full.close()


def test_names_in_a_manifest(tmp_path):
    name = "\x1b]0;pwned\x07\u202egnp.x"
    folder = tiny.write_model(tmp_path / "model")
    files = {
        n: {"bytes": (folder / n).stat().st_size, "sha256": atomic_files.sha256(folder / n)}
        for n in ("config.json", "model.safetensors")
    }
    files[name] = {"bytes": 1, "sha256": "0"}
    atomic_files.write_json(folder / "manifest.json", {"version": 1, "files": files})
    command = [sys.executable, "-m", "bert_paddle", "predict", str(folder), "text"]
    result = subprocess.run(command, capture_output=True, cwd=PACKAGE.parent)
    text = result.stderr.decode()
    assert "\\x1b]0;pwned\\x07\\u202egnp.x is missing" in text
    assert not set(text) & set("\x1b\x07\u202e"), text


def test_json_of_predict_escapes_in_its_own_way():
    from bert_paddle.cli import predict
    from bert_paddle.glue.predictor import Prediction

    fields = {"label": "a\x9b\u202e", "probabilities": {"a\x9b\u202e": 1.0}, "score": None}
    row = predict._as_json(predict.Input("t\x7f", None, ""), Prediction(**fields), -1)
    assert row.isprintable()
    assert json.loads(row)["label"] == "a\x9b\u202e"


def test_a_deleted_working_directory_is_told_and_long_names_are_cut(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended, error_exit.exit_with_one_line(debug=False):
        raise UserError("no column " + "n" * 100_000)
    expected = f"error: no column {'n' * 400}...(100,000 characters)\n"
    assert (ended.value.code, capsys.readouterr().err) == (2, expected)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit) as ended, error_exit.exit_with_one_line(debug=False):
        pass
    assert ended.value.code == 2
    assert "the working directory has been deleted: change to" in capsys.readouterr().err
