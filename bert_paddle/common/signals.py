"""What signals ask of a training: to stop after the step under way, or to save and go on."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

STOP = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
SAVE = {"SIGUSR1": signal.SIGUSR1}


class SignalRequests:
    """The signals that have come and are not answered yet, by name."""

    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}

    def hear(self, number: int, frame: FrameType | None = None) -> None:
        """A signal handler. A second demand to stop ends the process at once."""
        name = signal.Signals(number).name
        if name in STOP and any(earlier in STOP for earlier in self._waiting):
            os._exit(128 + number)
        self._waiting[name] = 1

    def counts(self) -> dict[str, int]:
        """What is asked, as counts that can be summed over processes. A save is asked for once;
        a demand to stop stands."""
        asked = dict(self._waiting)
        self._waiting = {name: one for name, one in asked.items() if name in STOP}
        return asked

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Take the signals' place inside the block, in the main thread."""
        before = {}
        for number in (STOP | SAVE).values():
            if number == signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
                continue  # a process of a job: the parent hears Ctrl-C and passes it on
            with contextlib.suppress(ValueError):  # not the main thread: signals stay as they are
                before[number] = signal.signal(number, self.hear)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def ignore_until_training() -> None:
    """SIGUSR1 asks for a checkpoint; before there is a training to save, it does nothing."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
