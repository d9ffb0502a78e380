"""How errors end a program: one line and an exit code; for bugs, a traceback."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bert_paddle.common.errors import BertPaddleError, OutputError

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEMPORARY_NAME = re.compile(r"(?:^|(?<=/))\.([^/]+)\.\d+\.part$")  # of atomic_files.write_text
_ACCESS_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTDIR)
SYSTEM_ERRNOS = (*_DISK_FULL, *_ACCESS_ERRORS)  # of an OSError that gets one line


@contextmanager
def exit_with_one_line(
    debug: bool | None = None, report: Callable[[str, int], None] | None = None
) -> Iterator[None]:
    """Turn expected errors into one line on stderr and SystemExit with the documented exit code.

    debug: print tracebacks too; None looks for --debug on the command line, since a wrong command
    line has no parsed flags. report: called with the line and the exit code instead of printing
    (in the processes of a job, whose errors the parent prints once).
    """
    if debug is None:
        debug = _debug_requested(sys.argv)
    try:
        yield
    except BrokenPipeError:
        # The reader has closed the pipe (`| head`): keep Python from flushing to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (BertPaddleError, KeyboardInterrupt, OSError) as error:
        line, code = _message_and_code(error)
        if debug:
            traceback.print_exc()
        (report or _print_error)(line, code)
        sys.exit(code)


@contextmanager
def output_errors(target: str, way_out: str) -> Iterator[None]:
    """Turn a failed write into OutputError, naming the flag or file `target`. A full disk is not a
    mistake of the user: its OSError passes through."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise
        raise OutputError(f"{target} cannot be written ({error.strerror}): {way_out}") from None


def _debug_requested(argv: Sequence[str]) -> bool:
    """The --debug switch, read without parsing the other flags."""
    requested = False
    for argument, following in zip(argv, [*argv[1:], "--"], strict=True):
        if argument == "--debug" or argument.startswith("--debug="):
            value = argument.partition("=")[2] or ("1" if following.startswith("--") else following)
            requested = value.lower() not in ("0", "false", "no", "off")
    return requested


def _message_and_code(error: BaseException) -> tuple[str, int]:
    """The message of an error, and the exit code; raises unexpected errors again."""
    if isinstance(error, BertPaddleError):
        return _printable(str(error)), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; the files written so far are complete", 130
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        place = f" ({_target_path(error)})" if error.filename else ""
        return (
            f"the disk is full{place}: {error.strerror}; free some space and start again "
            "(resume a training run with --resume_from_checkpoint auto)",
            1,
        )
    if isinstance(error, OSError) and error.errno in _ACCESS_ERRORS and error.filename:
        return f"{_target_path(error)}: {error.strerror}; fix this and run again", 1
    raise error


def _target_path(error: OSError) -> str:
    """The file of an error; for a temporary file of an atomic write, the file to be replaced."""
    return _TEMPORARY_NAME.sub(r"\1", os.fsdecode(error.filename))


def _printable(text: str) -> str:
    """The text in one line, with control characters escaped."""
    return "".join(c if c.isprintable() else " " if c.isspace() else repr(c)[1:-1] for c in text)


def _print_error(line: str, code: int) -> None:
    print(f"error: {line}", file=sys.stderr, flush=True)
