"""The log lines are a contract; records survive a crash and are cut back by a resume."""

import io
import json

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


def test_lines_go_out_and_notes_go_beside():
    out, err = io.StringIO(), io.StringIO()
    run_log.RunLog(out=out, err=err).line("a")
    run_log.RunLog(out=out, err=err).warning("b")
    run_log.RunLog(active=False, out=out, err=err).line("c")
    assert (out.getvalue(), err.getvalue()) == ("a\n", "warning: b\n")


def test_records_are_cut_back_to_the_step_and_a_torn_line_is_left_out(tmp_path):
    path = tmp_path / run_log.METRICS_FILE
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    writer = run_log.RunLog()
    writer.keep_records(tmp_path, 2)
    writer.record("train", 3, loss=float("nan"))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
        {"kind": "train", "step": 3, "loss": None},
    ]


def test_a_new_run_begins_without_old_records(tmp_path):
    (tmp_path / run_log.METRICS_FILE).write_text('{"step": 1}\n')
    run_log.RunLog().keep_records(tmp_path, 0)
    assert run_log.read_records(tmp_path) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_has_loss_speed_and_time_left(monkeypatch):
    seconds = iter([10.0, 10.0, 10.1, 12.0, 12.0])
    monkeypatch.setattr(run_log.time, "monotonic", lambda: next(seconds))
    looks = []

    def look():
        looks.append(1)
        return 0.5, 12.25

    terminal = Terminal()
    progress = run_log.Progress(terminal)
    for step in (1, 2, 3):
        progress.show(step, 4, look)
        progress.bar.refresh()
    text = terminal.getvalue()
    assert "loss 0.5000, 12.2 samples/s" in text and "3/4" in text and "<" in text
    assert len(looks) == 2  # at most one a second: it may wait for a GPU
    monkeypatch.undo()
    progress.show(4, 4, look)
    assert progress.bar is None


def test_no_bar_and_no_look_elsewhere():
    err = io.StringIO()
    progress = run_log.Progress(err)
    progress.show(1, 4, lambda: 1 / 0)
    assert err.getvalue() == ""
