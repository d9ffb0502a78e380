"""How a program ends: one line and an exit code for what is told, a traceback for our faults."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from bert_paddle.errors import BertPaddleError

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def told_in_one_line(debug: bool | None = None) -> Iterator[None]:
    """Turn what is raised inside into SystemExit with the exit code of the contract.

    debug: print tracebacks too; None looks for --debug on the command line, since a mistaken
    command line has no parsed flags yet.
    """
    if debug is None:
        debug = any(word in ("--debug", "--debug=1", "--debug=true") for word in sys.argv)
    try:
        yield
    except BertPaddleError as error:
        _end(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        _end("interrupted; checkpoints written so far are whole", 130, debug)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); nothing can be said, least of all at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno in _DISK:
            place = f" ({error.filename})" if error.filename else ""
            _end(
                f"the disk is full{place}: {error.strerror}; free some space and go on with "
                "--resume_from_checkpoint auto",
                1,
                debug,
            )
        raise


def _end(text: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print("error: " + " ".join(text.split("\n")), file=sys.stderr, flush=True)
    sys.exit(code)
