"""Background writing: one job at a time; errors are raised in the calling thread."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bert_paddle.common.background_writer import BackgroundWriter


def test_a_job_starts_after_the_previous_one():
    writer, begin, order = BackgroundWriter(), threading.Event(), []

    def first():
        begin.wait(10)
        order.append("first")

    writer.start(first)
    assert order == []  # start has returned while the job is still running
    threading.Timer(0.05, begin.set).start()
    writer.start(lambda: order.append("second"))
    assert order[0] == "first"
    writer.wait()
    assert order == ["first", "second"]


def test_an_error_is_raised_once_and_prevents_the_next_job():
    writer, done = BackgroundWriter(), []

    def fail():
        raise OSError(28, "No space left on device")

    writer.start(fail)
    with pytest.raises(OSError, match="No space left"):
        writer.start(lambda: done.append(1))
    assert not done
    writer.wait()  # the error was raised already
    writer.start(lambda: done.append(2))
    writer.wait()
    assert done == [2]


def test_waiting_without_a_job_returns():
    BackgroundWriter().wait()


def test_a_job_is_finished_before_the_interpreter_ends(tmp_path):
    script = (
        "import sys, time; from pathlib import Path\n"
        "from bert_paddle.common.background_writer import BackgroundWriter\n"
        "BackgroundWriter().start(lambda: (time.sleep(0.5), Path(sys.argv[1]).touch()))\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "made")], cwd=root, check=True)
    assert (tmp_path / "made").exists()
