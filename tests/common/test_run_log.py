"""The log format is frozen; records survive a crash, and a resume removes later ones."""

import io
import json

import pytest

from bert_paddle.common import run_log


def test_lines_are_frozen():
    assert run_log.train_line(996, 0, 996, 0.248909, 5.0712) == (
        "global step 996, epoch: 0, batch: 996, loss: 0.248909, speed: 5.07 step/s"
    )
    assert run_log.eval_line(0.083172, [("accu", 0.920872)], []) == (
        "eval loss: 0.083172, accu: 0.920872"
    )
    assert run_log.eval_line(0.5, [("accu", 0.25), ("f1", 0.5)], [("dev", "matched")]) == (
        "eval loss: 0.500000, accu: 0.250000, f1: 0.500000, dev: matched"
    )


def test_lines_go_to_stdout_and_notes_to_stderr():
    out, err = io.StringIO(), io.StringIO()
    run_log.RunLog(stdout=out, stderr=err).line("a")
    run_log.RunLog(stdout=out, stderr=err).warning("b")
    run_log.RunLog(active=False, stdout=out, stderr=err).line("c")
    assert (out.getvalue(), err.getvalue()) == ("a\n", "warning: b\n")


def test_records_beyond_the_step_and_a_truncated_line_are_removed(tmp_path):
    path = tmp_path / run_log.METRICS_FILE
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    log = run_log.RunLog()
    log.write_metrics_to(tmp_path, 2)
    log.log_metrics("train", 3, loss=float("nan"))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
        {"kind": "train", "step": 3, "loss": None},
    ]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"step": 2, "lo\xffss": 1}',
        b"[" * 100_000,
        b'{"step": -5}',
        b'{"step": true}',
        b'{"step": 1%s}' % (b"0" * 400),
        b"\0\0\0",
    ],
    ids=["bad byte", "deep", "negative", "boolean", "huge", "zeros"],
)
def test_a_resume_removes_damaged_lines_and_names_them(tmp_path, damage):
    path = tmp_path / run_log.METRICS_FILE
    path.write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 3}\n')
    err = io.StringIO()
    run_log.RunLog(stderr=err).write_metrics_to(tmp_path, 3)
    assert path.read_text() == '{"step": 1}\n{"step": 3}\n'
    assert err.getvalue() == (f"warning: {path}: removed what is not a record of a run: line 2\n")


def test_a_new_run_removes_old_records(tmp_path):
    (tmp_path / run_log.METRICS_FILE).write_text('{"step": 1}\n')
    run_log.RunLog().write_metrics_to(tmp_path, 0)
    assert run_log.read_metrics(tmp_path) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_on_a_terminal_shows_loss_speed_and_remaining_time(monkeypatch):
    seconds = iter([10.0, 10.0, 10.1, 12.0, 12.0])
    monkeypatch.setattr(run_log.time, "monotonic", lambda: next(seconds))
    calls = []

    def get_status():
        calls.append(1)
        return 0.5, 12.25

    terminal = Terminal()
    progress = run_log.Progress(terminal)
    for step in (1, 2, 3):
        progress.show(step, 4, get_status)
        progress.bar.refresh()
    text = terminal.getvalue()
    assert "loss 0.5000, 12.2 samples/s" in text and "3/4" in text and "<" in text
    assert len(calls) == 2  # at most one a second: it may synchronize with the GPU
    monkeypatch.undo()
    progress.show(4, 4, get_status)
    assert progress.bar is None


def test_without_a_terminal_there_is_no_bar_and_no_status_call():
    err = io.StringIO()
    progress = run_log.Progress(err)
    progress.show(1, 4, lambda: 1 / 0)
    assert err.getvalue() == ""
