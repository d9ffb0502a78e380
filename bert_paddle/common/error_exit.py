"""How a program ends: one line and an exit code for what is told, a traceback for our faults."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from bert_paddle.common.errors import BertPaddleError, OutputError

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BESIDE = re.compile(r"(?:^|(?<=/))\.([^/]+)\.\d+\.part$")  # as files.write_text names it
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTDIR)
SYSTEM_ERRNOS = (*_DISK, *_REFUSED)  # of an OSError that ends a program in one line


@contextmanager
def exit_with_one_line(
    debug: bool | None = None, tell: Callable[[str, int], None] | None = None
) -> Iterator[None]:
    """Turn what is raised inside into SystemExit with the exit code of the contract.

    debug: print tracebacks too; None looks for --debug on the command line, since a mistaken
    command line has no parsed flags yet. tell: is given the line and the exit code in place of
    stderr (a process of a job, whose errors are told once).
    """
    if debug is None:
        debug = _debug_asked(sys.argv)
    try:
        yield
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); nothing can be said, least of all at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (BertPaddleError, KeyboardInterrupt, OSError) as error:
        line, code = _line(error)
        if debug:
            traceback.print_exc()
        (tell or _print)(line, code)
        sys.exit(code)


@contextmanager
def output_errors(what: str, way_out: str) -> Iterator[None]:
    """Turn a refused writing inside into OutputError, naming the flag or file `what`; a disk that
    is full is no mistake of the user's, and its OSError stays."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK:
            raise
        raise OutputError(f"{what} cannot be written ({error.strerror}): {way_out}") from None


def _debug_asked(argv: Sequence[str]) -> bool:
    """The --debug switch, read before (or without) the parsing of the other flags."""
    asked = False
    for word, following in zip(argv, [*argv[1:], "--"], strict=True):
        if word == "--debug" or word.startswith("--debug="):
            value = word.partition("=")[2] or ("1" if following.startswith("--") else following)
            asked = value.lower() not in ("0", "false", "no", "off")
    return asked


def _line(error: BaseException) -> tuple[str, int]:
    """What is said of an error, and its exit code; raises it again when it is a fault of ours."""
    if isinstance(error, BertPaddleError):
        return _plain(str(error)), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; what was written so far is whole", 130
    if isinstance(error, OSError) and error.errno in _DISK:
        place = f" ({_named(error)})" if error.filename else ""
        return (
            f"the disk is full{place}: {error.strerror}; free some space and start again "
            "(a training goes on with --resume_from_checkpoint auto)",
            1,
        )
    if isinstance(error, OSError) and error.errno in _REFUSED and error.filename:
        return f"{_named(error)}: {error.strerror}; see to it and run again", 1
    raise error


def _named(error: OSError) -> str:
    """The file of an error: where it was being built beside, the one that was to be written."""
    return _BESIDE.sub(r"\1", os.fsdecode(error.filename))


def _plain(text: str) -> str:
    """The text in one line, with what a terminal would obey written out."""
    return "".join(c if c.isprintable() else " " if c.isspace() else repr(c)[1:-1] for c in text)


def _print(line: str, code: int) -> None:
    print(f"error: {line}", file=sys.stderr, flush=True)
