"""Writing files in a background thread, one job at a time, while training continues."""

import threading
from collections.abc import Callable


class BackgroundWriter:
    """Runs one write job at a time in a thread. The next `start` or `wait` raises its error."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, job: Callable[[], None]) -> None:
        """Wait for the previous job, raising its error; then start `job` in the background."""
        self.wait()
        # Not a daemon: before it exits, the interpreter waits until the file is complete.
        self._thread = threading.Thread(target=self._run, args=(job,), name="background-writer")
        self._thread.start()

    def wait(self) -> None:
        """Wait until the current job has finished; raise its error."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # re-raised by the next `start` or `wait`
            self._error = error
