"""Writing in the background: one at a time, and what goes wrong is told to the one who asked."""

import threading

import pytest

from bert_paddle.common.background_writer import BackgroundWriter


def test_the_next_piece_waits_for_the_one_before():
    saver, begin, order = BackgroundWriter(), threading.Event(), []

    def first():
        begin.wait(10)
        order.append("first")

    saver.start(first)
    assert order == []  # start came back while the work is still under way
    threading.Timer(0.05, begin.set).start()
    saver.start(lambda: order.append("second"))
    assert order[0] == "first"
    saver.wait()
    assert order == ["first", "second"]


def test_an_error_is_raised_once_and_stops_what_comes_after():
    saver, done = BackgroundWriter(), []

    def broken():
        raise OSError(28, "No space left on device")

    saver.start(broken)
    with pytest.raises(OSError, match="No space left"):
        saver.start(lambda: done.append(1))
    assert not done
    saver.wait()  # told already
    saver.start(lambda: done.append(2))
    saver.wait()
    assert done == [2]


def test_waiting_for_nothing_returns():
    BackgroundWriter().wait()
