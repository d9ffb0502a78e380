"""How errors end a program: one line and an exit code; for bugs, a traceback."""

import errno
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from bert_paddle.common import signals
from bert_paddle.common.errors import BertPaddleError, Interrupted, OutputError, UserError
from bert_paddle.common.memory_limit import memory_errors
from bert_paddle.common.printed_lines import print_line, shorten_words

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# As atomic_files.write_text names its temporary files.
_TEMPORARY_NAME = re.compile(r"(?:^|(?<=/))\.([^/]+)\.\d+\.part$")
_PATH_ERRORS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR),
    *(errno.ELOOP, errno.ENAMETOOLONG, errno.EBUSY, errno.ETXTBSY),
)
# Of disks, network file systems and limits: not always about one file.
_DEVICE_ERRORS = (
    *(errno.EIO, errno.ENXIO, errno.ENODEV),
    # Linux only.
    *(getattr(errno, name) for name in ("EREMOTEIO", "EUCLEAN") if hasattr(errno, name)),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.ENOLCK, errno.EHOSTDOWN, errno.ENOTCONN),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)
# An OSError with one of these is reported in one line; any other one is a bug.
SYSTEM_ERRNOS = (*_DISK_FULL, *_PATH_ERRORS, *_DEVICE_ERRORS)


@contextmanager
def exit_with_one_line(
    debug: bool | None = None, report: Callable[[str, int], None] | None = None
) -> Iterator[None]:
    """Turn expected errors, and stop signals, into one line on stderr and SystemExit with the
    documented exit code.

    debug: print tracebacks too; None: if --debug is on the command line, which may not be parsed
    yet. report: called with the line and the exit code instead of printing the line (in a spawned
    process, whose parent prints one error for all).
    """
    if debug is None:
        debug = _debug_requested(sys.argv)
    try:
        _check_platform()
        _check_working_directory()
        with signals.requests.installed():
            try:
                with memory_errors():
                    yield
            except signals.StopSignal as stop:
                # Its message is forgotten when the block ends.
                message = f"{stop.name}: {signals.requests.status}"
                raise Interrupted(message, stop.number) from stop
    except BrokenPipeError:
        # The reader has closed the pipe (`| head`): keep Python from flushing to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # 128 + SIGPIPE, as a shell reports it
    except (BertPaddleError, KeyboardInterrupt, OSError) as error:
        message, code = _message_and_code(error)
        line = shorten_words(message)
        if debug:
            traceback.print_exc()
        (report or _print_error)(line, code)
        sys.exit(code)


@contextmanager
def output_errors(target: str, way_out: str) -> Iterator[None]:
    """Turn an OSError in the block into an OutputError. target: the flag or file that could not be
    written; way_out: what to do instead. A full disk is not the user's mistake: its OSError passes
    through."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            raise
        raise OutputError(f"{target} cannot be written ({error.strerror}): {way_out}") from None


@contextmanager
def disk_full_names(folder: str) -> Iterator[None]:
    """Add `folder` to the error of a full disk in the block that names no file, as that of a
    write does."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL and error.filename is None:
            error.filename = folder
        raise


def _check_platform() -> None:
    """Raise UserError on Windows, which has none of the signals and locks that runs rely on."""
    if sys.platform == "win32":
        raise UserError(
            "bert_paddle runs on Linux and macOS: on Windows, install it in WSL2 (wsl --install)"
        )


def _check_working_directory() -> None:
    """Raise UserError if it has been deleted: no relative path, and not even an import, works."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError(
            "the working directory has been deleted: change to another one (cd) and start again"
        ) from None


def _debug_requested(argv: Sequence[str]) -> bool:
    """Whether --debug is set, determined without parsing the other flags."""
    requested = False
    # "--" stands for the argument after the last: a --debug at the end has no value.
    for argument, following in zip(argv, [*argv[1:], "--"], strict=True):
        if argument == "--debug" or argument.startswith("--debug="):
            value = argument.partition("=")[2] or ("1" if following.startswith("--") else following)
            requested = value.lower() not in ("0", "false", "no", "off")
    return requested


def _message_and_code(error: BaseException) -> tuple[str, int]:
    """The message of an error, and the exit code; re-raises unexpected errors."""
    if isinstance(error, BertPaddleError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):  # not in the main thread
        return f"SIGINT: {signals.DEFAULT_STATUS}", 130
    if isinstance(error, OSError) and is_disk_full(error):
        place = f" ({target_path(error)})" if error.filename else ""
        return (
            f"the disk is full{place}: {error.strerror}; free some space and start again "
            "(resume a training run with --resume_from_checkpoint auto)",
            1,
        )
    if isinstance(error, OSError) and error.errno in SYSTEM_ERRNOS and error.filename:
        return f"{target_path(error)}: {error.strerror}; {_way_out(error)}", 1
    if isinstance(error, OSError) and error.errno in _DEVICE_ERRORS:
        return f"{error.strerror}; {_way_out(error)}", 1
    raise error


def _way_out(error: OSError) -> str:
    if error.errno == errno.EMFILE:
        return "allow more with ulimit -n 1024, and run again"
    return "fix this and run again"


def is_disk_full(error: OSError) -> bool:
    """Whether there was no room for a file: the disk, a quota or a limit on file sizes is full."""
    return error.errno in _DISK_FULL


def target_path(error: OSError) -> str:
    """The file that an error is about; for a temporary file of an atomic write, the final file."""
    return _TEMPORARY_NAME.sub(r"\1", os.fsdecode(error.filename))


def _print_error(line: str, code: int) -> None:
    with suppress(OSError):  # the terminal is gone, as after a SIGHUP
        print_line(f"error: {line}")
