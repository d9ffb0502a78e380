"""Signals that control training: stop after the current step, or save and continue."""

import contextlib
import os
import signal
from collections.abc import Iterator
from types import FrameType

# By name: ranks exchange received signals as counts by name.
STOP = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
SAVE = {"SIGUSR1": signal.SIGUSR1}


class SignalRequests:
    """Received signals that training has not acted on yet."""

    def __init__(self) -> None:
        self._pending: dict[str, int] = {}

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """A signal handler. A second stop signal ends the process immediately."""
        name = signal.Signals(number).name
        if name in STOP and any(pending in STOP for pending in self._pending):
            os._exit(128 + number)
        self._pending[name] = 1

    def poll(self) -> dict[str, int]:
        """The pending signals as {name: 1}, to be summed over processes. A save request is returned
        once, a stop request by every call."""
        pending = dict(self._pending)
        self._pending = {name: count for name, count in pending.items() if name in STOP}
        return pending

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Install the handlers inside the block, in the main thread."""
        previous = {}
        for number in (STOP | SAVE).values():
            if number == signal.SIGINT and signal.getsignal(number) is signal.SIG_IGN:
                continue  # a rank of a job: the parent receives Ctrl-C and forwards it
            with contextlib.suppress(ValueError):  # not the main thread: keep the handlers
                previous[number] = signal.signal(number, self.handle)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def ignore_until_training() -> None:
    """Ignore SIGUSR1, which requests a checkpoint, until training installs its handlers."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
