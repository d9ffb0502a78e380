"""Writing in the background, one piece of work at a time, while training goes on."""

import threading
from collections.abc import Callable


class BackgroundWriter:
    """One thread that writes. What goes wrong there is raised at the next `start` or `wait`."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin `work` in the background, after the work before it has ended."""
        self.wait()
        # Not a daemon: a program that ends meanwhile waits for the file to be whole.
        self._thread = threading.Thread(target=self._run, args=(work,), name="saver")
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written any more; raise what went wrong."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # told in the thread that trains
            self._error = error
