"""Progress over rows: a line now and then in a log, a bar on a terminal."""

import io

import pytest

from bert_paddle.common import row_progress
from bert_paddle.common.run_log import RunLog


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def no_delay(monkeypatch):
    monkeypatch.setattr(row_progress, "SECONDS_BETWEEN_LINES", 0.0)


def test_a_log_gets_lines(no_delay):
    out, err = io.StringIO(), io.StringIO()
    with RunLog(stdout=out, stderr=err).row_progress("evaluation", 6499) as show_rows:
        for rows in (0, 320, 6400):
            show_rows(rows)
    assert err.getvalue() == "evaluation: 320 of 6,499 rows\nevaluation: 6,400 of 6,499 rows\n"
    assert out.getvalue() == ""


def test_a_short_phase_prints_nothing():
    err = io.StringIO()
    with RunLog(stderr=err).row_progress("evaluation", 64) as show_rows:
        show_rows(32)
    assert err.getvalue() == ""


def test_only_the_main_process_prints(no_delay):
    err = io.StringIO()
    with RunLog(active=False, stderr=err).row_progress("evaluation", 64) as show_rows:
        show_rows(32)
    assert err.getvalue() == ""


def test_a_terminal_gets_a_bar_that_is_removed_also_by_an_error(no_delay):
    err = Terminal()
    with (
        pytest.raises(KeyboardInterrupt),
        RunLog(stderr=err).row_progress("prediction (test.tsv)", 64) as show_rows,
    ):
        show_rows(32)
        raise KeyboardInterrupt
    assert "prediction (test.tsv)" in err.getvalue() and "\n" not in err.getvalue()
    assert err.getvalue().rsplit("\r", 2)[1].strip() == ""
