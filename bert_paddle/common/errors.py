"""Exception types. Imports nothing, so that every module can import it.

A `UserError` is a mistake in the user's flags, files or data: one line, exit code 2. A `RunError`
is a failure while running (a full disk, a dead process, a non-finite loss): one line, exit code 1.
Any other exception is a bug and keeps its traceback.
"""


class BertPaddleError(Exception):
    """Base of the errors printed as one line: what is wrong, where, and what to do."""

    exit_code = 1


class UserError(BertPaddleError):
    """A mistake in the user's flags, files or data."""

    exit_code = 2


class FlagError(UserError):
    """Wrong flags; contains all problems of a command line."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__("; ".join(problems))


class DataError(UserError):
    """A data file that is missing or malformed; names `path:line` if a line is wrong."""


class WeightsError(UserError):
    """A model folder, configuration, vocabulary or weight file that cannot be used."""


class OutputError(UserError):
    """An output folder that cannot be used, or a checkpoint that the run cannot resume from."""


class RunError(BertPaddleError):
    """A failure while running; nothing already written is lost."""


class Interrupted(BertPaddleError):
    """A signal ended the run; the exit code is 128 + the signal's number."""

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number
