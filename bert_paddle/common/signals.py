"""Signals: a stop signal ends the program where it is, or in training after the current step;
SIGUSR1 makes training save a checkpoint and continue.

Handlers are installed by `error_exit.exit_with_one_line` for a whole program. While `deferred`, a
stop signal is only recorded, so that all ranks can act on it together: see `collectives`.
"""

import contextlib
import os
import select
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from bert_paddle.common import runtime


def _by_name(*names: str) -> dict[str, int]:
    """The signals of these names: not all on Windows, where the program says what to do."""
    return {name: getattr(signal, name) for name in names if hasattr(signal, name)}


# By name: ranks exchange received signals as counts by name.
STOP, SAVE = _by_name("SIGTERM", "SIGINT", "SIGHUP"), _by_name("SIGUSR1")
# One request can arrive several times: a service manager signals every process of a job, whose
# parent forwards it; Paddle's launcher sends SIGTERM to each rank three times within a second.
_REPEAT_SECONDS, _REPEAT_SECONDS_OF_A_RANK = 1.0, 5.0
# Time for the handler to run in the main thread, before a thread ends the process.
_HANDLER_SECONDS = 2.0
DEFAULT_STATUS = (
    "stopped; the files written so far are complete, run the same command again for the rest"
)


class StopSignal(KeyboardInterrupt):
    """A stop signal, raised in the main thread. name: "SIGTERM", "SIGINT" or "SIGHUP"."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name

    @property
    def number(self) -> int:
        """The signal's number."""
        return STOP[self.name]


class SignalRequests:
    """Received signals that the program has not acted on yet.

    status: for the error line: what is saved, and how to resume.
    """

    def __init__(self) -> None:
        self._pending: dict[str, int] = {}
        self._stopped_at = 0.0  # time of the first stop signal
        self._installed = self._deferred = 0  # nesting depths
        self.status = DEFAULT_STATUS

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """A signal handler. Unless deferred, a stop signal raises StopSignal. A second one ends the
        process immediately."""
        name = signal.Signals(number).name
        if name == "SIGHUP":
            _drop_lost_terminal()
        if name in SAVE:
            self._pending[name] = 1
        elif self.pending_stop() is None:
            self._pending[name], self._stopped_at = 1, time.monotonic()
            if not self._deferred:
                raise StopSignal(name)
        elif not is_repeated(name, self._stopped_at):
            line = f"error: {name}: a second signal, ended immediately; checkpoints are complete\n"
            with contextlib.suppress(OSError):
                os.write(2, line.encode())
            os._exit(128 + number)

    def poll(self) -> dict[str, int]:
        """The pending signals as {name: 1}, to be summed over processes. A save request is returned
        once, a stop request by every call."""
        pending = dict(self._pending)
        for name in SAVE:
            if name in pending:
                del self._pending[name]
        return pending

    def pending_stop(self) -> str | None:
        """The name of the stop signal that this process has received, or None."""
        # A copy in one step: the handler may add another signal while this runs.
        return next((name for name in list(self._pending) if name in STOP), None)

    @property
    def are_deferred(self) -> bool:
        """Whether stop signals are only recorded at present."""
        return self._deferred > 0

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle stop signals inside the block, in the main thread. When the outermost block ends,
        its requests and its status are forgotten."""
        previous = {}
        for number in handled_stop_signals():
            with contextlib.suppress(ValueError):  # not the main thread: keep the handlers
                previous[number] = signal.signal(number, self.handle)
        self._installed += 1
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._installed -= 1
            if not self._installed:
                self._pending, self.status = {}, DEFAULT_STATUS

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Record stop and save requests inside the block, instead of raising StopSignal."""
        with self.installed():
            previous = None
            with contextlib.suppress(ValueError):
                previous = signal.signal(signal.SIGUSR1, self.handle)
            self._deferred += 1
            try:
                yield
            finally:
                self._deferred -= 1
                if previous is not None:
                    signal.signal(signal.SIGUSR1, previous)

    @contextlib.contextmanager
    def ending_in_thread(self, on_stop: Callable[[str], None]) -> Iterator[None]:
        """For a block of C++ code that may wait for minutes, in which Python runs no handlers: a
        thread calls `on_stop`, which is to end the process, with the error line."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        left = threading.Event()

        def watch() -> None:
            for number in iter(lambda: ord(os.read(reader, 1) or b"\0"), 0):
                name = signal.Signals(number).name
                if name in STOP and not left.wait(_HANDLER_SECONDS):
                    on_stop(f"{name}: {self.status}")
            os.close(reader)

        previous = None
        with contextlib.suppress(ValueError):  # not the main thread
            previous = signal.set_wakeup_fd(writer)
        threading.Thread(target=watch, daemon=True, name="stop signals").start()
        try:
            yield
        finally:
            left.set()
            if previous is not None:
                signal.set_wakeup_fd(previous)
            os.close(writer)


# Signals go to the whole process, so there is one of these.
requests = SignalRequests()


def handled_stop_signals() -> list[int]:
    """The numbers of the stop signals to install handlers for: not those that whoever started the
    process has it ignore (nohup; a rank of a job, whose parent receives Ctrl-C and forwards it)."""
    return [
        number
        for number in STOP.values()
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    ]


def is_repeated(name: str, first: float) -> bool:
    """Whether a stop signal is a copy of the one received at time.monotonic() `first`. Ctrl-C
    pressed again never is."""
    window = _REPEAT_SECONDS_OF_A_RANK if runtime.is_launched() else _REPEAT_SECONDS
    return name != "SIGINT" and time.monotonic() - first < window


def _drop_lost_terminal() -> None:
    """Send stdout and stderr to /dev/null if they are a terminal that is gone: an error on a log
    line must not prevent the save."""
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            poll = select.poll()
            poll.register(stream, 0)  # POLLHUP is always reported
            if stat.S_ISCHR(os.fstat(stream).st_mode) and poll.poll(0):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def exit_code_of(message: str) -> int | None:
    """The exit code for a message that begins with a stop signal's name and a colon, else None."""
    name = message.partition(":")[0]
    return 128 + STOP[name] if name in STOP else None


def ignore_until_training() -> None:
    """Ignore SIGUSR1, which requests a checkpoint, until training installs its handlers."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
